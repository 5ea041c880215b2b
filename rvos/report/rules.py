"""Scores of the rules that an ablation lists by name -> rules.csv."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from rvos.refine import Rule
from rvos.report.tables import write_csv
from rvos.score.evaluate import ExpressionResult
from rvos.score.measures import Summary

_HEADER = ["rule", "window", "tau", "box_ratio", "J", "F", "J&F", "frames_kept_coarse", "sha256"]


def write_rules(
    folder: Path,
    results: Sequence[ExpressionResult],
    rules: Mapping[str, Rule],
    hexdigests: Sequence[str],
    *,
    first: int,
) -> list[list[Any]]:
    """One row per rule, which are returned; `first` is the position of the first rule among the
    results' cells.

    `hexdigests` are those of the coarse masks and of all cells, as `Hashes` gives them.
    """
    rows = []
    for i, (name, rule) in enumerate(rules.items(), start=first):
        scores = Summary.of([r.cells[i][0] for r in results], [r.cells[i][1] for r in results])
        kept = sum(r.cells[i][2] for r in results)
        settings = [getattr(rule, key, None) for key in ("window", "tau", "box_ratio")]
        rows.append([name, *settings, *scores.as_dict().values(), kept, hexdigests[1 + i]])
    write_csv(folder / "rules.csv", _HEADER, rows)
    return rows


def print_rules(console: Console, rows: Sequence[Sequence[Any]]) -> None:
    """J, F and J&F of each rule, in percent."""
    table = Table(title="Rules (percent)", box=box.SIMPLE, pad_edge=False)
    for column in _HEADER[:7]:
        table.add_column(column, justify="left" if column == "rule" else "right")
    for name, *settings, J, F, JF, _, _ in rows:
        shown = ("" if value is None else f"{value:g}" for value in settings)
        table.add_row(name, *shown, *(f"{100 * score:.2f}" for score in (J, F, JF)))
    console.print(table)
