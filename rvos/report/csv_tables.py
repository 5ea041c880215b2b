"""The tables of a run as CSV files, for people and spreadsheets: rvos does not read them back."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rvos.masks import write_bytes
from rvos.report.metrics import Metrics
from rvos.report.rows import Row
from rvos.score.ablation import COARSE, REFINED
from rvos.score.protocols import mean_of
from rvos.score.results import Results

SCORES = ("J", "F", "J&F")
PRESENCE = ("threshold", "N-acc", "T-acc", "J&F_all", "J&F_target", "Final_all", "Final_target")
_BOTH = [f"{kind}{score}" for kind in ("", "coarse_") for score in SCORES]


class Table(NamedTuple):
    """A table of scores in 0..1; None is an empty cell."""

    columns: list[str]
    rows: list[list[Any]]


def write_tables(folder: Path, metrics: Metrics, results: Results) -> None:
    """The CSV files, and metrics.json as the last."""
    for name, table in tables_of(metrics, results).items():
        write_csv(folder / f"{name}.csv", table)
    metrics.write(folder)


def tables_of(metrics: Metrics, results: Results) -> dict[str, Table]:
    """The tables that the run has, by name.

    `units` is there where the protocol's mean goes over something else than expressions. N-acc,
    T-acc and Final are columns where there are expressions without target.
    """
    tables = {"per_expression": _expressions(results)}
    if not results.averages_expressions:
        tables["units"] = _units(results)
    given = [*SCORES, "frames_kept_coarse", "sha256"]
    if metrics.refined.n_acc is not None:
        given += ["N-acc", "T-acc", "Final_all", "Final_target"]
    rule = metrics.refine["name"]
    if metrics.ablation:
        columns = ["window", "tau", *given]
        rules = ["none" if row.label == COARSE else rule for row in metrics.ablation]
        rows = [[*r.values(columns), of] for r, of in zip(metrics.ablation, rules, strict=True)]
        tables["ablation"] = Table([*columns, "rule"], rows)
    if metrics.rules:
        columns = [*settings_of(metrics.rules), *given]
        rows = [[row.label, *row.values(columns)] for row in metrics.rules]
        tables["rules"] = Table(["rule", *columns], rows)
    if metrics.thresholds:
        columns = [*PRESENCE, "rule", "presence"]
        rows = [
            [*row.values(PRESENCE), rule, *row.values(["presence"])] for row in metrics.thresholds
        ]
        tables["presence"] = Table(columns, rows)
    if metrics.agrees:
        columns = ["agree", *given]
        rows = [[*row.values(columns), rule] for row in metrics.agrees]
        tables["agree"] = Table([*columns, "rule"], rows)
    if metrics.windows:
        tables["windows"] = _windows(metrics, rule)
    return tables


def settings_of(rules: Sequence[Row]) -> list[str]:
    """The columns of settings: those of our rules, then those of others."""
    scores = {"rule", *SCORES, "frames_kept_coarse", "sha256"}
    others = [key for row in rules for key in row.settings if key not in scores]
    return list(dict.fromkeys(["window", "tau", "box_ratio", "agree", *others]))


def _expressions(results: Results) -> Table:
    facts = ["video", "expression_id", "expression", "noun", "num_frames"]
    kinds = ["num_targets", *(["type"] if any(r.type for r in results.expressions) else [])]
    rows = [
        [getattr(r, key) for key in facts]
        + [score for s in (r.refined, r.coarse) for score in (s.J, s.F, s.JF)]
        + [getattr(r, key) for key in kinds]
        + [int(r.refined.says_nothing), int(r.coarse.says_nothing)]
        for r in results.expressions
    ]
    return Table([*facts, *_BOTH, *kinds, "says_nothing", "coarse_says_nothing"], rows)


def _units(results: Results) -> Table:
    names = [*SCORES, *results.summary(REFINED).more]
    scores = [f"{kind}{name}" for kind in ("", "coarse_") for name in names]
    rows = []
    for unit in results.units[""]:
        both = (mean_of([unit], label).as_dict() for label in (REFINED, COARSE))
        values = [means.get(name) for means in both for name in names]
        rows.append([unit.video, unit.group, unit.name, *values])
    return Table(["video", "group", "unit", *scores], rows)


def _windows(metrics: Metrics, rule: str) -> Table:
    columns = ["window", "tau", "J&F"]
    columns += [f"over_{o}{end}" for o in ("coarse", "shortest") for end in ("", "_low", "_high")]
    rows = [
        [row.window, row.tau, row.JF]
        + [v for i in (row.over_coarse, row.over_shortest) for v in (i.mean, i.low, i.high)]
        + [rule]
        for row in metrics.windows
    ]
    return Table([*columns, "rule"], rows)


def write_csv(path: Path, table: Table) -> None:
    """Write a table whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text)  # its \r\n has a field with \r alone in quotes, too
    for row in (table.columns, *table.rows):
        writer.writerow(row)
        text.seek(text.tell() - len("\r\n"))
        text.truncate()
        text.write("\n")
    write_bytes(path, text.getvalue().encode())
