"""What a rule chooses from, and what it returns.

A rule is a callable `rule(candidates) -> Refinement`, a frozen dataclass whose fields are its
settings. `vote.py` has the paper's; `alternatives.py` has others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from rvos.errors import MaskError
from rvos.masks import Mask, Track, area, check_together, overlap_fractions, union

Combination = tuple[int, ...]  # positions of masklets in their list, ascending
Span = tuple[int, int, Combination]  # C_sel of the frames start .. stop - 1


@dataclass(frozen=True)
class Window:
    """What a rule decided for the frames start .. stop - 1."""

    start: int
    stop: int
    selected: Combination  # C_sel
    kept_coarse: bool  # C_sel is empty, or the guard kept the coarse masks
    agreement: float | None = None  # median IoU with the coarse masks, if the guard asked for it


@dataclass(frozen=True)
class Presence:
    """What a presence rule decided for the whole expression."""

    value: float  # compared with the rule's threshold
    present: bool  # False: every mask is empty


@dataclass(frozen=True)
class Refinement:
    """The refined masks of one expression, and the decisions that led to them."""

    track: Track  # one mask per frame
    combinations: tuple[Combination, ...]  # C_t per frame
    windows: tuple[Window, ...]
    presence: Presence | None = None  # None: no presence rule was asked

    @property
    def frames_kept_coarse(self) -> int:
        """Frames of windows whose C_sel was empty, or whose coarse masks the guard kept."""
        return sum(w.stop - w.start for w in self.windows if w.kept_coarse)


class Masklets:
    """The instances of one (video, noun). Each union of them is computed once and kept.

    Raises MaskError where they are no masks, or not of the same frames.
    """

    def __init__(self, tracks: Sequence[Track]):
        if tracks is None:
            raise MaskError("masklets: expected a list with one track per masklet, got None")
        self.tracks = list(tracks)  # O tracks of T masks
        check_together({f"masklet {i}": track for i, track in enumerate(self.tracks)})
        self.tracks = [_without_empty(track) for track in self.tracks]
        self._unions: dict[tuple[int, Combination], Mask] = {}

    def union(self, frame_idx: int, selected: Combination) -> Mask:
        """Pixels of any of the selected instances in one frame."""
        key = (frame_idx, selected)
        if key not in self._unions:
            self._unions[key] = union(self.tracks[i][frame_idx] for i in selected)
        return self._unions[key]


class Candidates:
    """What a rule chooses from for one expression: its coarse track, the masklets of its noun.

    `confidence` is that of the models, in 0..1, by the name of the presence rule that reads it.
    `video` and `expression_id` are for rules that know something of the expression from elsewhere.
    Raises MaskError where the coarse track has no masks, or not of the masklets' frames.
    """

    def __init__(
        self,
        coarse: Track,
        masklets: Masklets,
        confidence: Mapping[str, float] | None = None,
        *,
        video: str = "",
        expression_id: str = "",
    ):
        first = {f"masklet {i}": track for i, track in enumerate(masklets.tracks[:1])}
        check_together({"coarse masks": coarse} | first)
        self.coarse = _without_empty(coarse)
        self.masklets = masklets
        self.confidence = confidence or {}
        self.video, self.expression_id = video, expression_id
        self._combinations: dict[float, tuple[Combination, ...]] = {}
        self._ious: dict[tuple[int, str], float] = {}

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
            above = self.fractions > tau  # (T, O)
            keys = [row.tobytes() for row in above]
            rows = dict(zip(keys, above, strict=True))
            # Equal sets are one object, which is quick to compare.
            known = {key: tuple(np.flatnonzero(row).tolist()) for key, row in rows.items()}
            self._combinations[tau] = tuple(known[key] for key in keys)
        return self._combinations[tau]

    def iou(self, frame_idx: int, mask: Mask) -> float | None:
        """IoU of a mask and the frame's coarse mask at full resolution; None if both are empty."""
        coarse = self.coarse[frame_idx]
        if mask is None or coarse is None:
            return None if mask is coarse else 0.0
        key = (frame_idx, mask["counts"])
        if key not in self._ious:
            self._ious[key] = float(coco.iou([mask], [coarse], [0])[0, 0])
        return self._ious[key]


def _without_empty(track: Track) -> Track:
    """The track with None for masks of area 0, which mean the same."""
    return [mask if area(mask) else None for mask in track]


class Rule(Protocol):
    """A refinement rule: the candidates of one expression -> its refined masks."""

    def __call__(self, candidates: Candidates) -> Refinement: ...


def apply_spans(candidates: Candidates, tau: float, spans: Sequence[Span]) -> Refinement:
    """Apply spans as the paper applies its windows.

    Where C_sel is empty, the coarse masks stay; elsewhere every frame becomes the union of its
    masklets, even where that is empty.
    """
    track: Track = []
    for start, stop, selected in spans:
        if selected:
            track += [candidates.masklets.union(t, selected) for t in range(start, stop)]
        else:
            track += candidates.coarse[start:stop]
    windows = tuple(Window(*span, kept_coarse=not span[2]) for span in spans)
    return Refinement(track, candidates.combinations(tau), windows)
