"""What the page's explorer needs of one video: who may vote for whom, and what each vote scores.

The page decides in the browser, by the rules named here. It needs f_i^t only as the number of the
grid's thresholds below it, which gives the decisions of every threshold exactly, and J and F of the
combinations that some rule of the grid selects in a frame.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from rvos.masks import Mask
from rvos.refine import (
    Candidates,
    CoarseScore,
    Combination,
    DetectorScore,
    InstanceVote,
    NoPresence,
    PresenceRule,
    ShareOfFrames,
    SlidingVote,
    Vote,
    WholeVideo,
    WindowRule,
)
from rvos.score.ablation import COARSE, Expression
from rvos.score.measures import FrameScores
from rvos.settings import preset

log = logging.getLogger(__name__)
Shown = dict[str | Combination, dict[str, list[Any]]]  # J, F and empty frames by what is shown
UNIT = 100_000  # scores are whole numbers of this part of 1


@dataclass(frozen=True)
class Explorer:
    """The grid of which the page knows every score."""

    windows: tuple[int, ...]  # frames, ascending
    taus: tuple[float, ...]  # ascending
    presence: PresenceRule | None  # on top of every rule

    @classmethod
    def of(
        cls,
        asked: bool | None,
        ablation: Mapping[str, Any],
        refine: Mapping[str, Any],
        presence: PresenceRule | NoPresence,
    ) -> "Explorer | None":
        """The grid of a run's settings, with its own window and threshold; None for no explorer.

        `asked` is `report.explorer`: None takes the ablation's grid where there is one, True also
        without that of conf/ablation/grid.yaml.
        """
        if not (bool(ablation["windows"]) if asked is None else asked):
            return None
        if refine.get("agree") is not None:
            log.info("report.explorer: left out, for the page cannot decide by refine.agree")
            return None
        if type(presence) not in (NoPresence, CoarseScore, DetectorScore, ShareOfFrames):
            log.info(
                "report.explorer: left out, for presence=%s is a rule that the page lacks",
                presence.name,
            )
            return None
        grid = ablation if ablation["windows"] else preset("ablation", "grid")
        windows, taus = (
            tuple(sorted({*grid[f"{key}s"], *([] if refine.get(key) is None else [refine[key]])}))
            for key in ("window", "tau")
        )
        return cls(windows, taus, None if isinstance(presence, NoPresence) else presence)

    def rules(self) -> list[WindowRule | WholeVideo]:
        """All rules of the grid: the vote, the sliding vote, the vote per instance, the video."""
        kinds: tuple[type[Vote | InstanceVote], ...] = Vote, SlidingVote, InstanceVote
        grid = product(kinds, self.windows, self.taus)
        return [*(kind(window, tau) for kind, window, tau in grid), *map(WholeVideo, self.taus)]


class VideoExplorer:
    """The combinations that occur in one video, and their scores, frame by frame."""

    def __init__(self, grid: Explorer, expressions: Sequence[Expression]):
        self.grid, self.expressions = grid, expressions
        rules = grid.rules()
        self._selected = [_selected(e.candidates, rules) for e in expressions]
        self._shown: list[Shown] = [{} for _ in expressions]

    def look(self, t: int, scores: FrameScores) -> None:
        """Score all that a rule of the grid may show in frame t."""
        rows = zip(self.expressions, self._selected, self._shown, strict=True)
        for expression, selected, shown in rows:
            candidates = expression.candidates
            masks: dict[str | Combination, Mask] = {COARSE: candidates.coarse[t]}
            masks |= {c: candidates.masklets.union(t, c) for c in selected[t]}
            if self.grid.presence is not None:
                masks["nothing"] = None
            for name, mask in masks.items():
                if name not in shown:
                    nowhere: list[Any] = [None] * len(expression.truth)
                    shown[name] = {"J": nowhere, "F": list(nowhere), "empty": []}
                J, F = scores(expression.truth[t], mask)
                shown[name]["J"][t], shown[name]["F"][t] = round(UNIT * J), round(UNIT * F)
                if mask is None:
                    shown[name]["empty"].append(t)

    def content(self, num_targets: Mapping[str, int]) -> dict[str, Any]:
        """The content of `explorer/<video>.json.gz`; `num_targets` is by expression_id."""
        presence, taus = self.grid.presence, np.array(self.grid.taus)
        expressions = {}
        for expression, shown in zip(self.expressions, self._shown, strict=True):
            candidates = expression.candidates
            above = candidates.fractions[..., None] > taus  # (T, O, taus)
            expressions[expression.expression_id] = {
                "targets": num_targets[expression.expression_id],
                "ranks": above.sum(-1).T.tolist(),  # (O, T)
                "presence": candidates.confidence.get(presence.name) if presence else None,
                "combinations": [
                    {"members": name, **scores}
                    for name, scores in shown.items()
                    if not isinstance(name, str)
                ],
                **{name: scores for name, scores in shown.items() if isinstance(name, str)},
            }
        return {
            "unit": UNIT,
            "windows": self.grid.windows,
            "taus": self.grid.taus,
            "presence": presence and {"name": presence.name, "threshold": presence.threshold},
            "expressions": expressions,
        }


def _selected(
    candidates: Candidates, rules: Sequence[WindowRule | WholeVideo]
) -> list[list[Combination]]:
    """The combinations that some rule selects in each frame; the empty one is not among them."""
    frames: list[dict[Combination, None]] = [{} for _ in candidates.coarse]
    for rule in rules:
        for start, stop, selected in rule.spans(candidates):
            if selected:
                for combinations in frames[start:stop]:
                    combinations[selected] = None
    return [list(combinations) for combinations in frames]
