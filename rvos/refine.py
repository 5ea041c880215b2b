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
from rvos.masks import (
    Mask,
    Track,
    bounding_box,
    decode,
    encode,
    overlap_fractions,
    union,
)

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


# ------------------------------------------------------------------------------- other rules


@dataclass(frozen=True)
class InstanceVote(Vote):
    """The vote taken for each instance by itself: C_sel holds the instances that are in C_t in more
    than half of a window's frames.

    It can select a set that no single frame had. Source: the paper's vote per label instead of per
    set (majority voting with binary relevance, Tsoumakas and Katakis 2007).
    """

    def __call__(self, candidates: Candidates) -> Refinement:
        combinations = candidates.combinations(self.tau)

        def select(start: int, stop: int) -> Combination:
            counts = Counter(i for combination in combinations[start:stop] for i in combination)
            return tuple(sorted(i for i, n in counts.items() if 2 * n > stop - start))

        spans = _windows(len(combinations), self.window)
        return _refine(candidates, combinations, [(*span, select(*span)) for span in spans])


@dataclass(frozen=True)
class WeightedVote(Vote):
    """The vote in which a clear frame counts for more than an ambiguous one.

    A frame's vote for its C_t weighs the mean of f_i^t over i in C_t; its vote for the empty set
    weighs 1 - max_i f_i^t (1 without instances). The largest sum wins, ties go to the combination
    that occurs first. Source: weighted voting (Dietterich 2000, section 2), weights from the
    paper's f.
    """

    def __call__(self, candidates: Candidates) -> Refinement:
        combinations = candidates.combinations(self.tau)
        weights = [
            float(f[list(c)].mean()) if c else 1 - float(f.max(initial=0))
            for f, c in zip(candidates.fractions, combinations, strict=True)
        ]

        def select(start: int, stop: int) -> Combination:
            sums: dict[Combination, float] = {}
            for t in range(start, stop):
                sums[combinations[t]] = sums.get(combinations[t], 0.0) + weights[t]
            return max(sums, key=sums.__getitem__)

        spans = _windows(len(combinations), self.window)
        return _refine(candidates, combinations, [(*span, select(*span)) for span in spans])


@dataclass(frozen=True)
class WholeVideo:
    """The paper's vote with one window as long as the video."""

    tau: float  # 0 <= tau < 1

    def __post_init__(self) -> None:
        Vote(window=1, tau=self.tau)  # checks tau

    def __call__(self, candidates: Candidates) -> Refinement:
        return Vote(window=max(1, len(candidates.coarse)), tau=self.tau)(candidates)


@dataclass(frozen=True)
class SlidingVote(Vote):
    """The vote in overlapping windows: each frame follows the window of which it is the middle.

    Frame t takes the most frequent C of frames t - (W - 1) // 2 .. t + W // 2, cut at the ends of
    the video; ties go to the one that occurs first. Neighbouring frames with the same C_sel are
    one span of `Refinement.windows`. Source: a mode filter over time, stride 1.
    """

    def __call__(self, candidates: Candidates) -> Refinement:
        combinations = candidates.combinations(self.tau)
        spans: list[tuple[int, int, Combination]] = []
        for t in range(len(combinations)):
            first = max(0, t - (self.window - 1) // 2)
            counts = Counter(combinations[first : t + self.window // 2 + 1])
            selected = max(counts, key=counts.__getitem__)
            start = spans.pop()[0] if spans and spans[-1][2] == selected else t
            spans.append((start, t + 1, selected))
        return _refine(candidates, combinations, spans)


@dataclass(frozen=True)
class PixelMajority(Vote):
    """Pixels on which two of three agree: the coarse mask u^t, the union of the frame's own C_t,
    and the union of its window's C_sel (the paper's vote).

    A window with an empty C_sel keeps its coarse masks. Source: vote-rule decision fusion per pixel
    (Heckemann et al. 2006, NeuroImage 33), with these three as the voters.
    """

    def __call__(self, candidates: Candidates) -> Refinement:
        voted = super().__call__(candidates)
        track: Track = []
        for window in voted.windows:
            for t in range(window.start, window.stop):
                own = candidates.masklets.union(t, voted.combinations[t])
                voters = (candidates.coarse[t], own, voted.track[t])
                track.append(candidates.coarse[t] if window.kept_coarse else _majority(voters))
        return Refinement(track, voted.combinations, voted.windows)


@dataclass(frozen=True)
class ConditionalFusion(Vote):
    """The voted masks s alone, or s united with the coarse masks u where s looks incomplete.

    If in more than half of the video's frames the box of s^t has less than `box_ratio` of the area
    of the box of u^t, every frame becomes the union of both; frames that the vote left coarse have
    equal boxes. Source: conditional mask fusion of
    ReferDINO-Plus (arXiv 2503.23509, there between SAM 2's and ReferDINO's masks).
    """

    box_ratio: float  # 0 < box_ratio <= 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.box_ratio, int | float) or not 0 < self.box_ratio <= 1:
            raise InputError(
                f"refine.box_ratio: expected a number with 0 < box_ratio <= 1, got "
                f"{self.box_ratio!r}"
            )

    def __call__(self, candidates: Candidates) -> Refinement:
        voted = super().__call__(candidates)
        pairs = list(zip(voted.track, candidates.coarse, strict=True))
        small = sum(_box_area(s) < self.box_ratio * _box_area(u) for s, u in pairs)
        if 2 * small <= len(pairs):
            return voted
        return Refinement([union(pair) for pair in pairs], voted.combinations, voted.windows)


def _windows(num_frames: int, window: int) -> list[tuple[int, int]]:
    """(start, stop) of windows from frame 0; the last may be shorter."""
    return [(start, min(start + window, num_frames)) for start in range(0, num_frames, window)]


def _refine(
    candidates: Candidates,
    combinations: tuple[Combination, ...],
    spans: Sequence[tuple[int, int, Combination]],
) -> Refinement:
    """Spans (start, stop, C_sel) applied as the paper does: an empty C_sel keeps the coarse masks,
    any other replaces them by the union of its masklets."""
    track: Track = []
    for start, stop, selected in spans:
        for t in range(start, stop):
            mask = candidates.masklets.union(t, selected) if selected else candidates.coarse[t]
            track.append(mask)
    windows = tuple(Window(*span, kept_coarse=not span[2]) for span in spans)
    return Refinement(track, combinations, windows)


def _majority(masks: Sequence[Mask]) -> Mask:
    """Pixels that are in more than half of the masks."""
    present = [decode(mask) for mask in masks if mask is not None]
    if 2 * len(present) <= len(masks):
        return None
    pixels = 2 * np.sum(present, axis=0) > len(masks)  # (H, W)
    return encode(pixels) if pixels.any() else None


def _box_area(mask: Mask) -> int:
    """Pixels of a mask's bounding box; 0 for an empty mask."""
    box = bounding_box(mask)
    return (box[2] - box[0]) * (box[3] - box[1]) if box else 0


RULES: dict[str, type[Rule]] = {
    "vote": Vote,
    "none": KeepCoarse,
    "instance_vote": InstanceVote,
    "weighted_vote": WeightedVote,
    "whole_video": WholeVideo,
    "sliding_vote": SlidingVote,
    "pixel_majority": PixelMajority,
    "conditional_fusion": ConditionalFusion,
}


def make_rule(name: str, **settings: Any) -> Rule:
    """The rule that conf/refine/<name>.yaml describes; settings that it has no use for are null."""
    if name not in RULES:
        raise InputError(f"refine: expected one of {', '.join(RULES)}, got {name!r}")
    fields = RULES[name].__dataclass_fields__  # type: ignore[attr-defined]
    return RULES[name](**{key: value for key, value in settings.items() if key in fields})
