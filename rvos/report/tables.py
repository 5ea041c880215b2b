"""Scores -> metrics.json, per_expression.csv, ablation.csv, rules.csv, and tables to read."""

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from rvos.masks import write_bytes, write_json
from rvos.refine import Rule
from rvos.report.bootstrap import Bootstrap
from rvos.score.ablation import COARSE, REFINED
from rvos.score.evaluate import ExpressionResult
from rvos.score.measures import Summary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """The scores of a split under one rule: what ablation.csv and rules.csv are made of."""

    label: str
    settings: dict[str, Any]  # the rule's own fields
    summary: Summary
    frames_kept_coarse: int
    sha256: str  # of the masks, as in data/README.md

    def values(self, columns: Sequence[str]) -> list[Any]:
        """The values of some columns of a table; None for a setting that the rule lacks."""
        known = {
            **self.settings,
            "rule": self.label,
            **self.summary.as_dict(),
            "frames_kept_coarse": self.frames_kept_coarse,
            "sha256": self.sha256,
        }
        return [known.get(column) for column in columns]


def make_rows(
    results: Sequence[ExpressionResult],
    rules: Mapping[str, Rule],
    hexdigests: Mapping[str, str],
) -> dict[str, Row]:
    """One row per label, in the order of `rules`, which are those that gave the results."""
    return {
        label: Row(
            label,
            _fields_of(rule),
            summary_of(results, label),
            sum(r.scores[label].frames_kept_coarse for r in results),
            hexdigests[label],
        )
        for label, rule in rules.items()
    }


def _fields_of(rule: Rule) -> dict[str, Any]:
    if not is_dataclass(rule):
        return {}
    return {field.name: getattr(rule, field.name) for field in fields(rule)}


def summary_of(results: Sequence[ExpressionResult], label: str) -> Summary:
    """The mean scores of one label."""
    scores = [r.scores[label] for r in results]
    return Summary.of([s.J for s in scores], [s.F for s in scores])


def metrics(
    results: Sequence[ExpressionResult],
    *,
    split: str,
    refine: dict[str, Any],
    num_scored_as_empty: int,
) -> dict[str, Any]:
    """The content of metrics.json; scores in 0..1. `refine` is the config of the run's rule."""
    refined, coarse = summary_of(results, REFINED), summary_of(results, COARSE)
    extra: dict[str, Any] = {name: _mean(name, results) for name in results[0].extra}
    extra["frames_kept_coarse"] = sum(r.refined.frames_kept_coarse for r in results)
    extra["frames_scored_as_empty"] = num_scored_as_empty
    return {
        **refined.as_dict(),
        "num_expressions": len(results),
        "num_frames": sum(r.num_frames for r in results),
        "split": split,
        "coarse": coarse.as_dict(),
        "refine": {key: value for key, value in refine.items() if key != "_target_"},
        "extra": extra,
    }


def _mean(metric: str, results: Sequence[ExpressionResult]) -> float | None:
    """The mean of an entry of `score.extra`; None, with a warning, where a value is no number."""
    wrong = [r for r in results if not np.isfinite(r.extra[metric])]
    if not wrong:
        return float(np.mean([r.extra[metric] for r in results]))
    log.warning(
        "score.extra.%s: no mean, it is not a number for %d of %d expressions, the first is "
        "expression %s of video %s",
        *(metric, len(wrong), len(results), wrong[0].expression_id, wrong[0].video),
    )
    return None


_SCORES = ["J", "F", "J&F"]
_RESULT = [*_SCORES, "frames_kept_coarse", "sha256"]


def write_tables(
    folder: Path,
    content: dict[str, Any],
    results: Sequence[ExpressionResult],
    *,
    ablation: Sequence[Row] = (),
    rules: Sequence[Row] = (),
) -> None:
    """per_expression.csv; ablation.csv and rules.csv where there are rows; last metrics.json.

    The rows of `ablation` are that of the coarse masks and one per cell of the grid.
    """
    header = ["video", "expression_id", "expression", "noun", "num_frames"]
    header += [*_SCORES, *(f"coarse_{score}" for score in _SCORES)]
    rows = [
        [getattr(r, key) for key in header[:5]]
        + [value for s in (r.refined, r.coarse) for value in (s.J, s.F, s.JF)]
        for r in results
    ]
    write_csv(folder / "per_expression.csv", header, rows)
    if ablation:
        columns = ["window", "tau", *_RESULT]
        write_csv(folder / "ablation.csv", columns, [row.values(columns) for row in ablation])
    if rules:
        columns = ["rule", *_settings_of(rules), *_RESULT]
        write_csv(folder / "rules.csv", columns, [row.values(columns) for row in rules])
    write_json(folder / "metrics.json", content)


def _settings_of(rows: Sequence[Row]) -> list[str]:
    """Columns of rules.csv: settings of our rules, then those of others."""
    found = [key for row in rows for key in row.settings if key not in ("rule", *_RESULT)]
    return list(dict.fromkeys(["window", "tau", "box_ratio", *found]))


def print_metrics(
    console: Console,
    content: dict[str, Any],
    results: Sequence[ExpressionResult],
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> None:
    """Coarse and refined scores, and their paired difference with its interval over videos."""
    count = f"{content['num_expressions']} expressions, {content['num_frames']} expression-frames"
    table = Table(title=f"{content['split']}: {count} (percent)", box=box.SIMPLE, pad_edge=False)
    for column in ("masks", "J", "F", "J&F"):
        table.add_column(column, justify="left" if column == "masks" else "right")
    rule = dict(content["refine"])
    setting = [str(rule.pop("name")), *(f"{k} {v}" for k, v in rule.items() if v is not None)]
    for name, scores in (("coarse", content["coarse"]), (", ".join(setting), content)):
        table.add_row(name, *(_percent(scores[key]) for key in ("J", "F", "J&F")))
    bootstrap = Bootstrap(
        [r.video for r in results], resamples=resamples, confidence=confidence, seed=seed
    )
    pairs = [(r.refined, r.coarse) for r in results]
    changes = np.array([(a.J - b.J, a.F - b.F) for a, b in pairs])  # (E, 2) J, F
    intervals = [bootstrap.interval(c) for c in (*changes.T, changes.mean(1))]
    table.add_row("change", *(f"{100 * i.mean:+.2f}" for i in intervals))
    span = (f"{100 * i.low:+.2f}..{100 * i.high:+.2f}" for i in intervals)
    table.add_row(f"  {100 * confidence:g} % over {bootstrap.num_videos} videos", *span)
    console.print(table)


def print_ablation(console: Console, ablation: Sequence[Row]) -> None:
    """J&F of every cell, windows down and thresholds across; the best cell is marked."""
    coarse, *cells = ablation
    best = max(cells, key=lambda row: row.summary.JF)
    by_setting = {(row.settings["window"], row.settings["tau"]): row for row in cells}
    taus = list(dict.fromkeys(tau for _, tau in by_setting))
    title = f"J&F by window and tau (percent); coarse {_percent(coarse.summary.JF)}"
    table = Table(title=title, box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column("window", justify="right")
    for tau in taus:
        table.add_column(f"{tau:g}", justify="right")
    for window in dict.fromkeys(window for window, _ in by_setting):
        line = [by_setting[window, tau] for tau in taus]
        marks = [f"[bold]{_percent(c.summary.JF)}{'*' * (c is best)}" for c in line]
        table.add_row(str(window), *marks)
    console.print(table)


def print_rules(console: Console, rules: Sequence[Row]) -> None:
    """Settings, J, F and J&F of each rule, in percent."""
    settings = _settings_of(rules)
    table = Table(title="Rules (percent)", box=box.SIMPLE, pad_edge=False)
    for column in ("rule", *settings, *_SCORES):
        table.add_column(column, justify="left" if column == "rule" else "right")
    for row in rules:
        shown = (_short(value) for value in row.values(settings))
        table.add_row(row.label, *shown, *map(_percent, row.values(_SCORES)))
    console.print(table)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _percent(score: float) -> str:
    return f"{100 * score:.2f}"


def write_csv(path: Path, header: list[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table whole or not at all; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())
