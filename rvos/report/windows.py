"""What the window is worth at one threshold: the grid's scores over W, with paired intervals.

Each window's J&F is compared with that of the coarse masks and with that of the grid's shortest
window, video by video (`bootstrap.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rvos.refine import Rule
from rvos.report.bootstrap import Bootstrap, Interval
from rvos.report.rows import fields_of
from rvos.score.ablation import COARSE
from rvos.score.results import Results


@dataclass(frozen=True)
class WindowRow:
    """One window of the grid; scores in 0..1."""

    window: int  # frames
    tau: float
    JF: float
    over_coarse: Interval  # the change of J&F
    over_shortest: Interval


def make_windows(
    results: Results,
    rules: Mapping[str, Rule],
    cells: Sequence[str],
    tau: float | None,
    **bootstrap: Any,
) -> list[WindowRow]:
    """One row per window of the grid at `tau`, ascending; none for fewer than two.

    `bootstrap`: the settings of `Bootstrap`.
    """
    settings = [(fields_of(rules[label]), label) for label in cells]
    at = sorted((cell["window"], label) for cell, label in settings if cell["tau"] == tau)
    if tau is None or len(at) < 2:
        return []
    over = Bootstrap.of_units(results.units[""], **bootstrap)
    coarse, shortest = (results.unit_scores(label, "J&F") for label in (COARSE, at[0][1]))
    rows = []
    for window, label in at:
        values = results.unit_scores(label, "J&F")
        changes = over.interval(values - coarse), over.interval(values - shortest)
        rows.append(WindowRow(window, tau, over.interval(values).mean, *changes))
    return rows
