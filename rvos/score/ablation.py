"""Many refinement rules over one video in one pass: the W x tau grid of a rule, or a single run.

Overlap fractions are computed once per expression, unions once per (noun, frame, combination),
J and F once per distinct pair of masks of a frame. Rule by rule the numbers are those of running
each rule alone. Rules have labels; what is said of a rule is found under its label.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from rvos.errors import InputError
from rvos.masks import Track
from rvos.refine import Candidates, KeepCoarse, Refinement, Rule
from rvos.score.measures import FrameScores, Scores
from rvos.score.trivial import TRIVIAL
from rvos.settings import Checks, Count, Different, Part, Share, checked, make

COARSE = "coarse"  # the label of the coarse masks as they are
REFINED = "refined"  # the label of the run's own rule


@checked(kw_only=True)
class Grids:
    """The lists of conf/ablation over which a run is scored."""

    windows: Different[Count] = ()
    taus: Different[Part] = ()
    thresholds: Different[Share] = ()
    agrees: Different[Share | None] = ()


def grid(
    windows: Sequence[int], taus: Sequence[float], rule: Rule | None, *, name: str = ""
) -> dict[str, Rule]:
    """The run's rule with other windows and thresholds, by label ("window=15 tau=0.8").

    `name` is that of the rule; `rule` None has wrong settings itself and gets no cells. Raises
    SettingsError that names every wrong list of `ablation.windows` and `ablation.taus`, and for a
    rule without window and tau.
    """
    with Checks() as check:
        check(make, Grids, "ablation", {"windows": windows, "taus": taus})
        if bool(windows) != bool(taus):
            check.problems.append(
                "ablation: expected both ablation.windows and ablation.taus, or neither; got "
                f"windows={windows}, taus={taus}"
            )
        if windows and rule is not None and not (hasattr(rule, "window") and hasattr(rule, "tau")):
            check.problems.append(
                "ablation: the grid is over refine.window and refine.tau; expected a rule that has "
                f"both, such as refine=vote, got refine={name or type(rule).__name__}"
            )
    if rule is None:
        return {}
    # replace() takes any dataclass, a user's too, which `Rule` does not say
    changed: Callable[..., Rule] = replace
    return {
        f"window={window} tau={tau}": changed(rule, window=window, tau=tau)
        for window, tau in product(windows, taus)
    }


def agrees(values: Sequence[float | None], rule: Rule | None, *, name: str = "") -> dict[str, Rule]:
    """The run's rule with other values of its guard, by label ("agree=0.3"); None is without it.

    Raises SettingsError that names every wrong value of `ablation.agrees`, and for a rule without a
    guard.
    """
    with Checks() as check:
        check(make, Grids, "ablation", {"agrees": values})
        if values and rule is not None and not hasattr(rule, "agree"):
            check.problems.append(
                "ablation.agrees: they are those of refine.agree; expected a rule with windows, "
                f"such as refine=vote, got refine={name or type(rule).__name__}"
            )
    changed: Callable[..., Rule] = replace
    return {} if rule is None else {f"agree={v}": changed(rule, agree=v) for v in values}


def thresholds(values: Sequence[float], presence: str) -> list[float]:
    """`ablation.thresholds`, of the presence rule of that name.

    Raises SettingsError if a value is wrong or stands there twice, and for `presence=none`.
    """
    with Checks() as check:
        check(make, Grids, "ablation", {"thresholds": values})
        if values and presence == "none":
            check.problems.append(
                "ablation.thresholds: they are those of a presence rule; expected presence="
                "coarse_score or detector_score or share_of_frames, got none"
            )
    return list(values)


def labelled(rule: Rule, *others: Mapping[str, Rule]) -> dict[str, Rule]:
    """All rules of a run by label: COARSE, REFINED (the run's own rule), and the others.

    The others are the cells of a grid and the rules that are scored with them. Raises InputError
    when two rules have the same label.
    """
    rules: dict[str, Rule] = {COARSE: KeepCoarse(), REFINED: rule}
    for mapping in others:
        if taken := sorted((rules.keys() | {*TRIVIAL}) & mapping.keys()):
            raise InputError(f"ablation.rules: another rule has this name: {', '.join(taken)}")
        rules.update(mapping)
    return rules


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


def score_rules(
    expressions: Sequence[Expression],
    rules: Mapping[str, Rule],
    look: Callable[[int, FrameScores], None] | None = None,
) -> list[dict[str, Scored]]:
    """Refine and score all expressions of one video by all rules: [expression][label].

    `look` is called with each frame and its scores, while these are known.
    """
    refined = [[rule(e.candidates) for rule in rules.values()] for e in expressions]
    num_frames = len(expressions[0].truth) if expressions else 0
    J = np.empty((len(expressions), len(rules), num_frames))
    F = np.empty_like(J)
    for t in range(num_frames):
        scores = FrameScores()  # forgets the frame's contours when the frame is done
        for e, expression in enumerate(expressions):
            for r, refinement in enumerate(refined[e]):
                J[e, r, t], F[e, r, t] = scores(expression.truth[t], refinement.track[t])
        if look is not None:
            look(t, scores)
    return [
        {
            label: Scored(refinement, J[e, r], F[e, r])
            for r, (label, refinement) in enumerate(zip(rules, row, strict=True))
        }
        for e, row in enumerate(refined)
    ]


@dataclass(frozen=True)
class Fingerprint:
    """The masks of several rules for one expression as lines of text, equal lines stored once.

    The lines of a label are `lines[i] for i in index[label]`: `video/expression_id/frame:counts`,
    one per frame, `-` for an empty mask.
    """

    lines: list[bytes]
    index: Annotated[dict[str, list[int]], Field(alias="of")]

    @classmethod
    def of(cls, prefix: str, frames: Sequence[str], tracks: Mapping[str, Track]) -> "Fingerprint":
        positions: dict[tuple[str, str], int] = {}
        lines: list[bytes] = []
        index = {}
        for label, track in tracks.items():
            row = []
            for frame, mask in zip(frames, track, strict=True):
                counts = "-" if mask is None else mask["counts"]
                if (frame, counts) not in positions:
                    positions[frame, counts] = len(lines)
                    lines.append(f"{prefix}/{frame}:{counts}\n".encode())
                row.append(positions[frame, counts])
            index[label] = row
        return cls(lines, index)


class Hashes:
    """SHA-256 of each label's masks over a split, fed expression by expression in split order."""

    def __init__(self) -> None:
        self._hashes: dict[str, Any] = defaultdict(hashlib.sha256)

    def update(self, fingerprint: Fingerprint) -> None:
        for label, row in fingerprint.index.items():
            self._hashes[label].update(b"".join([fingerprint.lines[i] for i in row]))

    def hexdigests(self) -> dict[str, str]:
        """{label: hex SHA-256}."""
        return {label: digest.hexdigest() for label, digest in self._hashes.items()}
