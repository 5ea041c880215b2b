"""Intervals for mean scores: how much they would move with other videos of the same kind.

Expressions of one video share its frames and objects, so whole videos are resampled, with
replacement (cluster bootstrap; percentile intervals, Efron and Tibshirani 1993, chapter 13). A
difference of two runs is resampled as such: both sides see the same videos (paired).
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rvos.score.protocols import Unit
from rvos.settings import Count, Inside, checked


@dataclass(frozen=True)
class Interval:
    """A mean over expressions and its interval, in the unit of the values."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


class Bootstrap:
    """Resamples of a split's videos, the same for everything that is compared.

    `videos` names the video of each value given to `interval`, `groups` its group: the mean is that
    over groups of their means. Without groups it is the mean over all.
    """

    @checked
    def __init__(
        self,
        videos: Sequence[str],
        groups: Sequence[str] | None = None,
        *,
        resamples: Count,
        confidence: Inside,
        seed: int,
    ):
        names, video_idx = np.unique(list(videos), return_inverse=True)  # (E,)
        self.num_videos = len(names)
        self._draws = _draws(self.num_videos, resamples, seed)
        self._video_idx = video_idx
        _, group_idx = np.unique(list(groups or [""] * len(videos)), return_inverse=True)
        self._groups = []  # positions of a group's values, their videos, (R,) values drawn
        for group in range(group_idx.max() + 1):
            self._groups.append(self._group(np.flatnonzero(group_idx == group)))
        tail = (1 - confidence) / 2
        self._quantiles = (tail, 1 - tail)

    @classmethod
    def of_units(cls, units: Sequence[Unit], **settings: Any) -> "Bootstrap":
        """For a value of each of these units of a protocol."""
        return cls([unit.video for unit in units], [unit.group for unit in units], **settings)

    def _group(self, members: NDArray[np.intp]) -> tuple[Any, Any, Any]:
        video_idx = self._video_idx[members]
        counts = np.bincount(video_idx, minlength=self.num_videos)  # (V,)
        return members, video_idx, self._drawn(counts)

    def _drawn(self, of_videos: NDArray[Any]) -> NDArray[np.float64]:
        """Sums of one number per video (V,) over each resample (R,)."""
        return np.concatenate([block.astype(np.float64) @ of_videos for block in self._draws])

    def among(self, members: ArrayLike) -> "Bootstrap":
        """The same resamples for some of the values, by their positions, without groups."""
        some = copy(self)
        some._groups = [self._group(np.asarray(members))]
        return some

    def interval(self, values: ArrayLike) -> Interval:
        """The mean of `values` (E,), and its interval."""
        return self.around(*self.resampled(values))

    def around(self, mean: float, resampled: NDArray[np.float64]) -> Interval:
        """The interval of a score and its values in the resamples (R,)."""
        low, high = np.nanquantile(resampled, self._quantiles)
        return Interval(float(mean), float(low), float(high))

    def resampled(self, values: ArrayLike) -> tuple[float, NDArray[np.float64]]:
        """The mean of `values` (E,), and that of each resample, (R,).

        A resample that has none of the values is NaN, which `around` leaves out.
        """
        array = np.asarray(values, np.float64)
        means, resampled = [], []
        for members, video_idx, sizes in self._groups:
            group = array[members]
            sums = np.bincount(video_idx, weights=group, minlength=self.num_videos)  # (V,)
            drawn = self._drawn(sums)  # (R,)
            resampled.append(
                np.divide(drawn, sizes, out=np.full_like(drawn, np.nan), where=sizes > 0)
            )
            means.append(group.mean())
        # A group of few videos may be missing in a resample, which is then the mean of the others.
        drawn = np.array(resampled)  # (groups, R)
        drawn_once = ~np.isnan(drawn).all(0)
        whole = np.full(drawn.shape[1], np.nan)
        whole[drawn_once] = np.nanmean(drawn[:, drawn_once], 0)
        return float(np.mean(means)), whole


def _draws(num_videos: int, resamples: int, seed: int) -> list[NDArray[np.unsignedinteger[Any]]]:
    """How often each resample has each video: blocks of (up to 1,000, V), in as few bytes as fit.

    Blocks, because as one array of floats 10,000 resamples of MeViS v2 train take 0.3 GB.
    """
    rng = np.random.default_rng(seed)
    even = np.full(num_videos, 1 / num_videos)
    sizes = [1000] * (resamples // 1000) + [resamples % 1000] * (resamples % 1000 > 0)
    kind = np.min_scalar_type(num_videos)
    return [rng.multinomial(num_videos, even, size=size).astype(kind) for size in sizes]
