"""Intervals for mean scores: how much they would move with other videos of the same kind.

Expressions of one video share its frames and objects, so whole videos are resampled, with
replacement (cluster bootstrap; percentile intervals, Efron and Tibshirani 1993, chapter 13). A
difference of two runs is resampled as such: both sides see the same videos (paired).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rvos import real, require, whole


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

    def __init__(
        self,
        videos: Sequence[str],
        groups: Sequence[str] | None = None,
        *,
        resamples: int,
        confidence: float,
        seed: int,
    ):
        settings = SimpleNamespace(resamples=resamples, confidence=confidence)
        require(settings, "", resamples=whole(1), confidence=real(above=0, below=1))
        names, video_idx = np.unique(list(videos), return_inverse=True)  # (E,)
        self._video_idx = video_idx
        self.num_videos = len(names)
        rng = np.random.default_rng(seed)
        even = np.full(self.num_videos, 1 / self.num_videos)
        draws = rng.multinomial(self.num_videos, even, size=resamples)  # (R, V) times drawn
        self._draws = draws.astype(np.float64)
        _, group_idx = np.unique(list(groups or [""] * len(videos)), return_inverse=True)
        self._groups = []  # positions of a group's values, their videos, (R,) values drawn
        for group in range(group_idx.max() + 1):
            members = np.flatnonzero(group_idx == group)
            counts = np.bincount(video_idx[members], minlength=self.num_videos)  # (V,)
            self._groups.append((members, video_idx[members], self._draws @ counts))
        tail = (1 - confidence) / 2
        self._quantiles = (tail, 1 - tail)

    def interval(self, values: ArrayLike) -> Interval:
        """The mean of `values` (E,), and its interval."""
        return self.around(*self.resampled(values))

    def around(self, mean: float, resampled: NDArray[np.float64]) -> Interval:
        """The interval of a score and its values in the resamples (R,)."""
        low, high = np.nanquantile(resampled, self._quantiles)
        return Interval(float(mean), float(low), float(high))

    def resampled(
        self, values: ArrayLike, counted: ArrayLike | None = None
    ) -> tuple[float, NDArray[np.float64]]:
        """The mean of `values` (E,), and that of each resample, (R,).

        `counted` (E,) bool: the values that the mean is over; a resample without any of them is
        NaN, which `around` leaves out. It is for means without groups.
        """
        array = np.asarray(values, np.float64)
        if counted is not None:
            weights = np.asarray(counted, np.float64)
            of_videos = [
                np.bincount(self._video_idx, weights=w, minlength=self.num_videos)  # (V,)
                for w in (array * weights, weights)
            ]
            totals, counts = (self._draws @ w for w in of_videos)  # (R,)
            missing = np.full_like(totals, np.nan)
            resampled = np.divide(totals, counts, out=missing, where=counts > 0)
            return float(array[weights > 0].mean()), resampled
        means, drawn_means = [], []
        for members, video_idx, sizes in self._groups:
            of_group = array[members]
            sums = np.bincount(video_idx, weights=of_group, minlength=self.num_videos)  # (V,)
            drawn = self._draws @ sums  # (R,)
            drawn_means.append(
                np.divide(drawn, sizes, out=np.full_like(drawn, np.nan), where=sizes > 0)
            )
            means.append(of_group.mean())
        # A group of few videos may be missing in a resample, which is then the mean of the others.
        return float(np.mean(means)), np.nanmean(drawn_means, axis=0)
