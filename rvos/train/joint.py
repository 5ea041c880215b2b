"""Several datasets -> one set of training clips: `data.sources`.

The clips of a joint training are numbered through all sources, so that the sampler shuffles, shares
out and resumes them as those of one dataset.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from rvos.train.clips import ClipDataset, Sample
from rvos.train.settings import Source as Source  # its name in conf/


def share_out(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """`total` clips in the ratio of the weights; those left over go to the largest remainders."""
    exact = {name: total * weight / sum(weights.values()) for name, weight in weights.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_rest = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_rest[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


class JointClips(Dataset[Sample]):
    """The clips of several datasets by (epoch, index); an index alone means epoch 0.

    An epoch has as many clips as all sources together. Without weights these are each clip once. A
    source whose weight gives it fewer clips than it has shows others in each epoch; one that gets
    more shows its clips several times, augmented anew.
    """

    def __init__(
        self, sources: Mapping[str, ClipDataset], weights: Mapping[str, float | None], *, seed: int
    ):
        self.sources, self.seed = dict(sources), seed
        sizes = {name: len(clips) for name, clips in sources.items()}
        ratio = {name: weights[name] or size for name, size in sizes.items()}
        self.counts = share_out(sum(sizes.values()), ratio)  # clips of each source in an epoch
        self._names = list(self.sources)
        self._ends = list(accumulate(self.counts.values()))

    def __len__(self) -> int:
        return self._ends[-1]

    def clip(self, epoch: int, index: int) -> tuple[str, int]:
        """What clip `index` of an epoch is: the name of its source, its number there."""
        place = int(np.searchsorted(self._ends, index, side="right"))
        name = self._names[place]
        rank = index - (self._ends[place] - self.counts[name])
        size = len(self.sources[name])
        passes, number = divmod(rank, size)
        if passes == self.counts[name] // size:  # the last pass does not show them all
            number = int(_order(self.seed, epoch, place, size)[number])
        return name, number

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        name, number = self.clip(epoch, index)
        sample = self.sources[name].draw(np.random.default_rng([self.seed, epoch, index]), number)
        video, expression_id = sample.identity
        return replace(sample, identity=(f"{name}/{video}", expression_id))

    def largest_size(self) -> tuple[int, int]:
        """As `ClipDataset.largest_size`, of all sources."""
        heights, widths = zip(*(c.largest_size() for c in self.sources.values()), strict=True)
        return max(heights), max(widths)

    @property
    def texts(self) -> list[str]:
        """All expressions."""
        return [text for clips in self.sources.values() for text in clips.texts]

    @property
    def meta_sha256(self) -> dict[str, str]:
        """What identifies the expressions of each source."""
        return {name: clips.meta_sha256 for name, clips in self.sources.items()}


@lru_cache(maxsize=16)
def _order(seed: int, epoch: int, source: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch, source, 1]).permutation(size)
