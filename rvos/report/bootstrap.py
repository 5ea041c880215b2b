"""Intervals for mean scores: how much they would move with other videos of the same kind.

Expressions of one video share its frames and objects, so whole videos are resampled, with
replacement (cluster bootstrap; percentile intervals, Efron and Tibshirani 1993, chapter 13). A
difference of two runs is resampled as such: both sides see the same videos (paired).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from numpy.typing import ArrayLike

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

    `videos` names each expression's video, in the order of the values given to `interval`.
    """

    def __init__(self, videos: Sequence[str], *, resamples: int, confidence: float, seed: int):
        settings = SimpleNamespace(resamples=resamples, confidence=confidence)
        require(settings, "", resamples=whole(1), confidence=real(above=0, below=1))
        names, self._video_idx = np.unique(list(videos), return_inverse=True)  # (E,)
        self.num_videos = len(names)
        rng = np.random.default_rng(seed)
        even = np.full(self.num_videos, 1 / self.num_videos)
        draws = rng.multinomial(self.num_videos, even, size=resamples)  # (R, V) times drawn
        self._draws = draws.astype(np.float64)
        self._sizes = self._draws @ np.bincount(self._video_idx)  # (R,) expressions drawn
        tail = (1 - confidence) / 2
        self._quantiles = (tail, 1 - tail)

    def interval(self, values: ArrayLike) -> Interval:
        """Mean over expressions of `values` (E,), and its interval."""
        array = np.asarray(values, np.float64)
        sums = np.bincount(self._video_idx, weights=array, minlength=self.num_videos)  # (V,)
        low, high = np.quantile(self._draws @ sums / self._sizes, self._quantiles)
        return Interval(float(array.mean()), float(low), float(high))
