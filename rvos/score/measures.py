"""Masks + ground truth -> J, F, J&F, exactly as MeViS scores them. No torch.

Conventions (henghuiding/MeViS, tools/eval_mevis.py and tools/metrics.py):
- All frames of a video count, the first and the last included.
- Both masks empty: J = 1. Neither has a boundary pixel: F = 1; only one has: F = 0. A mask that
  fills the frame has no boundary.
- Boundary pixels match within ceil(0.008 * frame diagonal) pixels (`contour.py`).
- The ground truth of an expression is the union of its annotations.
- Scores are averaged over the frames of an expression, then over expressions; J&F = (J + F) / 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rvos.masks import Mask, Track, area, check_together
from rvos.score.contour import Contour, contour_of, in_common

Scores = NDArray[np.float64]


class FrameScores:
    """J and F of masks of one frame; each distinct mask's contour and each pair is done once.

    Masks are in canonical form (`masks.canonical`), so that equal masks have equal counts.
    """

    def __init__(self, known: dict[tuple[str, str], tuple[float, float]] | None = None) -> None:
        """`known`: scores of pairs by the counts of their masks; what is new is added there."""
        self._contours: dict[str, Contour] = {}
        self._pairs = {} if known is None else known

    def __call__(self, truth: Mask, prediction: Mask) -> tuple[float, float]:
        """(J, F), each in 0..1."""
        key = (_counts(truth), _counts(prediction))
        if key not in self._pairs:
            self._pairs[key] = j_and_f_of(self._contour(truth), self._contour(prediction))
        return self._pairs[key]

    def _contour(self, mask: Mask) -> Contour:
        counts = _counts(mask)
        if counts not in self._contours:
            self._contours[counts] = contour_of(mask)
        return self._contours[counts]


def _counts(mask: Mask) -> str:
    return "" if mask is None else mask["counts"]


def j_and_f_of(truth: Contour, prediction: Contour) -> tuple[float, float]:
    """(J, F) of two contours of one frame size and one tolerance, each in 0..1."""
    shared, recalled, precise = in_common(truth, prediction)
    either = truth.area + prediction.area - shared
    J = shared / either if either else 1.0
    return J, f_of(recalled, truth.num_pixels, precise, prediction.num_pixels)


def f_of(recalled: int, num_true: int, precise: int, num_predicted: int) -> float:
    """F, 0..1, of the boundary pixels: how many of the true and of the predicted ones match."""
    if not num_true or not num_predicted:
        return float(num_true == num_predicted)
    precision, recall = precise / num_predicted, recalled / num_true
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def score_track(truth: Track, prediction: Track) -> tuple[Scores, Scores]:
    """J and F of every frame, each (T,) in 0..1; tracks are canonical.

    Raises MaskError where they are no masks, or not of the same frames.
    """
    check_together({"ground truth": truth, "prediction": prediction})
    pairs = [FrameScores()(g, p) for g, p in zip(truth, prediction, strict=True)]
    return np.array([j for j, _ in pairs]), np.array([f for _, f in pairs])


@dataclass(frozen=True)
class Summary:
    """Means over expressions, in 0..1."""

    J: float
    F: float
    more: dict[str, float] = field(default_factory=dict)  # what a protocol measures beside them

    @property
    def JF(self) -> float:
        return (self.J + self.F) / 2

    @classmethod
    def of(cls, J: Sequence[float], F: Sequence[float]) -> "Summary":
        """From the per-expression means."""
        return cls(float(np.mean(J)), float(np.mean(F)))

    def as_dict(self) -> dict[str, float]:
        return {"J": self.J, "F": self.F, "J&F": self.JF, **self.more}


# ---------------------------------------------------------------------------- further metrics


class Metric(Protocol):
    """A number for one expression; metrics.json has its mean over all expressions.

    `truth` and `prediction` are the T ground-truth and refined masks, `J` and `F` their scores per
    frame, each (T,) in 0..1.
    """

    def __call__(self, truth: Track, prediction: Track, J: Scores, F: Scores) -> float: ...


@dataclass(frozen=True)
class Recall:
    """Share of frames whose score, J or F, is above 0.5 (DAVIS); 0..1."""

    of: Literal["J", "F"]

    def __call__(self, truth: Track, prediction: Track, J: Scores, F: Scores) -> float:
        return recall(J if self.of == "J" else F)


@dataclass(frozen=True)
class Decay:
    """How much J or F falls from the first quarter of the frames to the last (DAVIS); -1..1."""

    of: Literal["J", "F"]

    def __call__(self, truth: Track, prediction: Track, J: Scores, F: Scores) -> float:
        return decay(J if self.of == "J" else F)


def tIoU(truth: Track, prediction: Track, J: Scores, F: Scores) -> float:
    """Overlap in time of truth and prediction, 0..1: see `temporal_ious`."""
    return temporal_ious(truth, prediction, J)[0]


def vIoU(truth: Track, prediction: Track, J: Scores, F: Scores) -> float:
    """Overlap in time of truth and prediction, weighed by J, 0..1: see `temporal_ious`."""
    return temporal_ious(truth, prediction, J)[1]


def recall(values: Scores) -> float:
    """Share of frames whose value is above 0.5 (DAVIS)."""
    return float(np.mean(values > 0.5))


def decay(values: Scores) -> float:
    """Mean of the first quarter of the frames minus mean of the last; 0 below four frames.

    Quarters as DAVIS cuts them (davis2017-evaluation, davis2017/utils.py), with indices wide
    enough for more than 256 frames.
    """
    if len(values) < 4:
        return 0.0
    ids = (np.round(np.linspace(1, len(values), 5) + 1e-10) - 1).astype(np.int64)
    return float(values[ids[0] : ids[1] + 1].mean() - values[ids[3] : ids[4] + 1].mean())


def temporal_ious(truth: Track, prediction: Track, J: Scores) -> tuple[float, float]:
    """(tIoU, vIoU): overlap of the frames with truth and with prediction, alone and times J.

    With g, p the frames where truth and prediction are non-empty: tIoU = |g and p| / |g or p|,
    vIoU = sum of J over g and p / |g or p|; 1 where the union is empty.
    """
    g = np.array([area(mask) > 0 for mask in truth])
    p = np.array([area(mask) > 0 for mask in prediction])
    either = int((g | p).sum())
    if either == 0:
        return 1.0, 1.0
    return float((g & p).sum() / either), float(J[g & p].sum() / either)


# Entries that metrics.json's "extra" has in any case.
COUNTS = ("frames_kept_coarse", "frames_scored_as_empty")
