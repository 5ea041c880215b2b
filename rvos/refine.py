"""Coarse masks + masklets -> refined masks.

A rule is a callable `rule(candidates) -> Refinement`, a frozen dataclass whose fields are its
settings. `Vote` is the paper's; other rules stand beside it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rvos import InputError
from rvos.masks import Mask, Track, overlap_fractions, union

Combination = tuple[int, ...]  # positions of masklets in their list, ascending


@dataclass(frozen=True)
class Window:
    """What a rule decided for the frames start .. stop - 1."""

    start: int
    stop: int
    selected: Combination  # C_sel
    kept_coarse: bool


@dataclass(frozen=True)
class Refinement:
    track: Track  # one mask per frame
    combinations: tuple[Combination, ...]  # C_t per frame
    windows: tuple[Window, ...]

    @property
    def frames_kept_coarse(self) -> int:
        return sum(w.stop - w.start for w in self.windows if w.kept_coarse)


class Masklets:
    """The instances of one (video, noun). Their unions are made once, whatever asks for them."""

    def __init__(self, tracks: Sequence[Track]):
        self.tracks = list(tracks)  # O tracks of T masks
        self._unions: dict[tuple[int, Combination], Mask] = {}

    def union(self, frame_idx: int, selected: Combination) -> Mask:
        key = (frame_idx, selected)
        if key not in self._unions:
            self._unions[key] = union(self.tracks[i][frame_idx] for i in selected)
        return self._unions[key]


class Candidates:
    """What a rule chooses from for one expression: its coarse track, the masklets of its noun."""

    def __init__(self, coarse: Track, masklets: Masklets):
        self.coarse = coarse
        self.masklets = masklets
        self._combinations: dict[float, tuple[Combination, ...]] = {}

    @cached_property
    def fractions(self) -> NDArray[np.float64]:
        """f_i^t = |v_i and u| / |v_i|, (T, O) in 0..1; 0 where the instance is absent."""
        tracks = self.masklets.tracks
        return np.array(
            [overlap_fractions([v[t] for v in tracks], u) for t, u in enumerate(self.coarse)]
        ).reshape(len(self.coarse), len(tracks))

    def combinations(self, tau: float) -> tuple[Combination, ...]:
        """C_t = {i : f_i^t > tau} for each frame."""
        if tau not in self._combinations:
            self._combinations[tau] = tuple(
                tuple(np.flatnonzero(above).tolist()) for above in self.fractions > tau
            )
        return self._combinations[tau]


class Rule(Protocol):
    def __call__(self, candidates: Candidates) -> Refinement: ...


@dataclass(frozen=True)
class Vote:
    """The paper's rule: the combination that most frames of a window agree on replaces them.

    Instance i belongs to C_t if f_i^t > tau. Windows of `window` frames start at frame 0, the last
    may be shorter. C_sel is the window's most frequent C_t: the empty set counts like any other,
    ties go to the one that occurs first. If C_sel is empty the window keeps its coarse masks, else
    every frame becomes the union of C_sel's masklets, even where it is empty.
    """

    window: int  # frames
    tau: float  # 0 <= tau < 1

    def __post_init__(self) -> None:
        if isinstance(self.window, bool) or not isinstance(self.window, int) or self.window < 1:
            raise InputError(
                f"refine.window: expected a whole number of frames >= 1, got {self.window!r}"
            )
        if not isinstance(self.tau, int | float) or not 0 <= self.tau < 1:  # false for NaN too
            raise InputError(f"refine.tau: expected a number with 0 <= tau < 1, got {self.tau!r}")

    def __call__(self, candidates: Candidates) -> Refinement:
        coarse, masklets = candidates.coarse, candidates.masklets
        combinations = candidates.combinations(self.tau)
        windows = []
        track: Track = []
        for start in range(0, len(coarse), self.window):
            stop = min(start + self.window, len(coarse))
            # Counter keeps the order of first occurrence, and max takes the first of equals.
            counts = Counter(combinations[start:stop])
            selected = max(counts, key=counts.__getitem__)
            windows.append(Window(start, stop, selected, kept_coarse=not selected))
            if selected:
                track += [masklets.union(t, selected) for t in range(start, stop)]
            else:
                track += coarse[start:stop]
        return Refinement(track, combinations, tuple(windows))


@dataclass(frozen=True)
class KeepCoarse:
    """`refine=none`: the coarse masks as they are."""

    def __call__(self, candidates: Candidates) -> Refinement:
        num_frames = len(candidates.coarse)
        whole = Window(0, num_frames, selected=(), kept_coarse=True)
        return Refinement(candidates.coarse, ((),) * num_frames, (whole,))


RULES: dict[str, type[Rule]] = {"vote": Vote, "none": KeepCoarse}


def make_rule(name: str, **settings: Any) -> Rule:
    """The rule that conf/refine/<name>.yaml describes; settings that it has no use for are null."""
    if name not in RULES:
        raise InputError(f"refine: expected one of {', '.join(RULES)}, got {name!r}")
    fields = RULES[name].__dataclass_fields__  # type: ignore[attr-defined]
    return RULES[name](**{key: value for key, value in settings.items() if key in fields})
