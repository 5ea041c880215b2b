"""What the window is worth at one threshold: the grid's scores over W, with paired intervals.

Each window's J&F is compared with that of the coarse masks and with that of the grid's shortest
window, video by video (`bootstrap.py`). The table is windows.csv.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from rvos.refine import Rule
from rvos.report.bootstrap import Bootstrap
from rvos.report.tables import fields_of
from rvos.score.ablation import COARSE
from rvos.score.results import Results

COLUMNS = ("window", "tau", "J&F") + tuple(
    f"over_{other}{end}" for other in ("coarse", "shortest") for end in ("", "_low", "_high")
)


def make_windows(
    results: Results,
    rules: Mapping[str, Rule],
    cells: Sequence[str],
    tau: float | None,
    **bootstrap: Any,
) -> list[dict[str, Any]]:
    """One row per window of the grid at `tau`, by `COLUMNS`, in 0..1; none for fewer than two.

    `bootstrap`: the settings of `Bootstrap`.
    """
    found = [(fields_of(rules[label]), label) for label in cells]
    at = sorted((cell["window"], label) for cell, label in found if cell["tau"] == tau)
    if len(at) < 2:
        return []
    units = results.units[""]
    over = Bootstrap([u.video for u in units], [u.group for u in units], **bootstrap)

    def scores(label: str) -> NDArray[np.float64]:  # (U,)
        return np.array([(u.scores[label]["J"] + u.scores[label]["F"]) / 2 for u in units])

    others = scores(COARSE), scores(at[0][1])
    rows = []
    for window, label in at:
        values = scores(label)
        row = [window, tau, over.interval(values).mean]
        for other in others:
            change = over.interval(values - other)
            row += [change.mean, change.low, change.high]
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def print_windows(console: Console, rows: Sequence[Mapping[str, Any]], confidence: float) -> None:
    """The table, in percent."""
    shortest = f"over W = {rows[0]['window']}"
    title = f"J&F by window at tau {rows[0]['tau']} (percent; {100 * confidence:g} % intervals)"
    table = Table(title=title, title_justify="left")
    for column in ("window", "J&F", "over coarse", shortest):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        changes = [
            "{:+.2f}  {:+.2f} .. {:+.2f}".format(
                *(100 * row[f"over_{other}{end}"] for end in ("", "_low", "_high"))
            )
            for other in ("coarse", "shortest")
        ]
        table.add_row(str(row["window"]), f"{100 * row['J&F']:.2f}", *changes)
    console.print(table)
