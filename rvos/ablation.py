"""Many refinement rules over one video in one pass: the whole W x tau grid, or a single run.

Overlap fractions are computed once per expression, unions once per (noun, frame, combination),
J and F once per distinct pair of masks of a frame. Cell by cell the numbers are those of running
each cell alone.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from rvos import InputError
from rvos.masks import Track
from rvos.refine import Candidates, Refinement, Rule, Vote
from rvos.score import FrameScores, Scores


def grid(windows: Sequence[int], taus: Sequence[float]) -> list[Vote]:
    """The cells of an ablation, window by window; raises InputError for values out of range."""
    if bool(windows) != bool(taus):
        raise InputError(
            "ablation: expected both ablation.windows and ablation.taus, or neither; got "
            f"windows={list(windows)}, taus={list(taus)}"
        )
    return [Vote(window=window, tau=tau) for window, tau in product(windows, taus)]


@dataclass(frozen=True)
class Expression:
    """What is to be refined and scored: one expression's ground truth, coarse track, masklets."""

    expression_id: str
    noun: str
    truth: Track
    candidates: Candidates


@dataclass(frozen=True)
class Scored:
    """One rule's masks of one expression, and their scores per frame, each (T,) in 0..1."""

    refinement: Refinement
    J: Scores
    F: Scores


def score_rules(expressions: Sequence[Expression], rules: Sequence[Rule]) -> list[list[Scored]]:
    """Refine and score all expressions of one video by all rules: [expression][rule]."""
    refined = [[rule(e.candidates) for rule in rules] for e in expressions]
    num_frames = len(expressions[0].truth) if expressions else 0
    J = np.empty((len(expressions), len(rules), num_frames))
    F = np.empty_like(J)
    for t in range(num_frames):
        scores = FrameScores()  # forgets the frame's contours when the frame is done
        for e, expression in enumerate(expressions):
            for r, refinement in enumerate(refined[e]):
                J[e, r, t], F[e, r, t] = scores(expression.truth[t], refinement.track[t])
    return [
        [Scored(refinement, J[e, r], F[e, r]) for r, refinement in enumerate(row)]
        for e, row in enumerate(refined)
    ]


@dataclass(frozen=True)
class Fingerprint:
    """The masks of several rules for one expression as lines of text, equal lines stored once.

    Rule r's lines are `lines[i] for i in index[r]`: `video/expression_id/frame:counts`, one per
    frame, `-` for an empty mask.
    """

    lines: list[bytes]
    index: list[list[int]]

    @classmethod
    def of(cls, prefix: str, frames: Sequence[str], tracks: Iterable[Track]) -> "Fingerprint":
        positions: dict[tuple[str, str], int] = {}
        lines: list[bytes] = []
        index = []
        for track in tracks:
            row = []
            for frame, mask in zip(frames, track, strict=True):
                counts = "-" if mask is None else mask["counts"]
                if (frame, counts) not in positions:
                    positions[frame, counts] = len(lines)
                    lines.append(f"{prefix}/{frame}:{counts}\n".encode())
                row.append(positions[frame, counts])
            index.append(row)
        return cls(lines, index)


class Hashes:
    """SHA-256 of each rule's masks over a split, fed expression by expression in split order."""

    def __init__(self, num_rules: int):
        self._hashes = [hashlib.sha256() for _ in range(num_rules)]

    def update(self, fingerprint: Fingerprint) -> None:
        for digest, row in zip(self._hashes, fingerprint.index, strict=True):
            digest.update(b"".join([fingerprint.lines[i] for i in row]))

    def hexdigests(self) -> list[str]:
        return [digest.hexdigest() for digest in self._hashes]
