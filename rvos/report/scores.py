"""A run -> what its page shows of scores: headline, heat map, curves, rows, further metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rvos.report.bootstrap import Bootstrap, Interval
from rvos.report.csv_tables import SCORES
from rvos.report.details import Details
from rvos.report.metrics import MaskScores, Metrics
from rvos.report.rows import Row, best_threshold
from rvos.report.run import Run
from rvos.score.ablation import COARSE, REFINED
from rvos.score.measures import COUNTS
from rvos.score.results import ExpressionResult, RuleScores

HIGHLIGHTS = 4  # gains and losses shown above the table


@dataclass(frozen=True)
class HeadlineRow:
    """One line of the table of scores."""

    label: str
    kind: Literal["coarse", "refined", "compared", "oracle", "trivial", "difference"]
    scores: dict[str, Interval]  # by J, F, J&F; in 0..1


def headline(
    run: Run, oracle: Run | None, others: Mapping[str, Run], bootstrap: Bootstrap
) -> list[HeadlineRow]:
    """Coarse, refined, other runs, oracle, trivial answers, and last the paired change."""

    def row(label: str, kind: Any, values: Mapping[str, NDArray[np.float64]]) -> HeadlineRow:
        return HeadlineRow(label, kind, {k: bootstrap.interval(v) for k, v in values.items()})

    def scores(run: Run, label: str) -> dict[str, NDArray[np.float64]]:
        return {score: run.unit_scores(label, score) for score in SCORES}

    coarse, refined = scores(run, COARSE), scores(run, REFINED)
    rows = [row("Coarse", "coarse", coarse), row("Refined", "refined", refined)]
    for label, other in others.items():
        rows.append(row(label.capitalize(), "compared", scores(other, REFINED)))
    if oracle is not None:
        rows.append(row("Oracle (perfect masklets)", "oracle", scores(oracle, REFINED)))
    for name in run.metrics.trivial:
        rows.append(row(name.capitalize(), "trivial", scores(run, name)))
    change = {score: refined[score] - coarse[score] for score in SCORES}
    return [*rows, row("Change", "difference", change)]


def heat_map(metrics: Metrics, setting: Mapping[str, Any]) -> dict[str, Any] | None:
    """Cells of the grid by window and tau; None without an ablation.

    `shade` is -1..1 around the coarse masks' J&F; `setting`, the rule of the page's run, is
    `chosen`.
    """
    if not metrics.ablation:
        return None
    coarse, cells = metrics.ablation[0].summary.JF, [_scores(row) for row in metrics.cells]
    same_rule = setting["name"] == metrics.refine["name"]
    reach = max(abs(cell["J&F"] - coarse) for cell in cells) or 1.0
    best = max(cells, key=lambda cell: cell["J&F"])
    for cell in cells:
        cell["shade"] = (cell["J&F"] - coarse) / reach
        cell["best"] = cell is best
        cell["paper"] = all(cell[key] == value for key, value in PAPER.items())
        cell["chosen"] = same_rule and all(
            setting.get(key) == cell[key] for key in ("window", "tau")
        )
    taus = list(dict.fromkeys(cell["tau"] for cell in cells))
    windows = list(dict.fromkeys(cell["window"] for cell in cells))
    by_setting = {(cell["window"], cell["tau"]): cell for cell in cells}
    grid = [(window, [by_setting.get((window, tau)) for tau in taus]) for window in windows]
    return {"taus": taus, "rows": grid, "coarse": coarse, "best": best}


PAPER = {"window": 15, "tau": 0.8}  # section 3 of the paper


def _scores(row: Row) -> dict[str, Any]:
    """The settings of a row and its scores by the names of the tables."""
    return {**row.settings, **row.summary.as_dict(), **row.answers}


def curve(rows: Sequence[Any], values: Sequence[Interval], base: float) -> dict[str, Any] | None:
    """A value per row as an SVG curve with its interval, 0..100 wide and 60 high; None without.

    `base` is the height of the dashed line.
    """
    if not rows:
        return None
    low, high = min(base, *(v.low for v in values)), max(base, *(v.high for v in values))

    def y(value: float) -> float:
        return round((high - value) * 60 / max(high - low, 1e-9), 2)

    step = 100 / max(len(rows) - 1, 1)
    marks = [
        {"row": row, "x": round(i * step, 2), "y": y(value.mean)}
        | {"top": y(value.high), "bottom": y(value.low)}
        for i, (row, value) in enumerate(zip(rows, values, strict=True))
    ]
    points = " ".join(f"{mark['x']},{mark['y']}" for mark in marks)
    return {"marks": marks, "points": points, "base": y(base), "low": low, "high": high}


def window_curve(metrics: Metrics) -> dict[str, Any] | None:
    """What each window changes over the shortest one."""
    return curve(metrics.windows, [row.over_shortest for row in metrics.windows], 0.0)


def agree_curve(metrics: Metrics) -> dict[str, Any] | None:
    """J&F by value of the guard, above and below that of the coarse masks."""
    values = [Interval(*[row.summary.JF] * 3) for row in metrics.agrees]
    return curve(metrics.agrees, values, metrics.coarse.summary.JF)


CURVES = ("N-acc", "T-acc", "J&F_target", "Final_target")  # of the answers of a row


def presence_curve(metrics: Metrics) -> dict[str, Any] | None:
    """The scores of the presence rule over its thresholds, as SVG points; None without.

    x is 100 thresholds, y goes down from 100 percent; a score that is not defined has no curve.
    """
    if not metrics.thresholds:
        return None
    rows = [_scores(row) for row in in_order(metrics.thresholds)]
    best = best_threshold(metrics.thresholds)
    return {
        **(metrics.presence or {}),
        "rows": rows,
        "best": best and next(r for r in rows if r["threshold"] == best.settings["threshold"]),
        "curves": {
            score: " ".join(
                f"{100 * row['threshold']:.2f},{100 - 100 * row[score]:.2f}" for row in rows
            )
            for score in CURVES
            if rows[0][score] is not None
        },
    }


def in_order(thresholds: Sequence[Row]) -> list[Row]:
    """The rows with ascending thresholds."""
    return sorted(thresholds, key=lambda row: row.settings["threshold"])


def answers_of(scores: MaskScores) -> dict[str, float]:
    """N-acc, T-acc, Final, and J&F of slices by name, where they are defined."""
    slices = {name: means for name, means in scores.slices.items() if name != "all"}
    counts = {means["num_expressions"] for means in slices.values()} - {0}
    values = scores.answered()
    for name, means in slices.items():
        if len(counts) > 1 and means["J&F"] is not None:
            values[f"J&F, {name.replace('_', ' ')}"] = means["J&F"]
    return values


_SHARES = {  # shown in percent, with what the page says beside the label
    **dict.fromkeys(("J_recall", "F_recall", "J_decay", "F_decay", "tIoU", "vIoU"), ""),
    "JF_volume": " (our formula; that of arXiv 2610.02946 could not be read)",
}


def extras_of(extra: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, value as text) of further metrics."""
    return [
        (
            key.replace("_", " ") + _SHARES.get(key, ""),
            f"{100 * value:.2f}" if key in _SHARES else f"{value:.4g}",
        )
        for key, value in extra.items()
        if key not in COUNTS and value is not None
    ]


def settings_of(row: Row) -> dict[str, Any]:
    """The settings of a rule as the page names them."""
    return {"τ" if k == "tau" else k.replace("_", " "): v for k, v in row.settings.items()}


def table_row(
    result: ExpressionResult, before: RuleScores, after: RuleScores, *, pictured: bool
) -> dict[str, Any]:
    """A row of the page's table of expressions."""
    facts = ("video", "expression_id", "expression", "noun", "num_frames")
    return {name: getattr(result, name) for name in facts} | {
        "before": before,
        "after": after,
        "difference": after.JF - before.JF,
        "pictured": pictured,
    }


def rows_of(run: Run, order: Sequence[int], details: Details) -> list[dict[str, Any]]:
    """Table rows, those that changed most first."""
    results = [(run.expressions[i], run.identities[i]) for i in order]
    return [
        table_row(r, r.coarse, r.refined, pictured="strip" in details[identity])
        for r, identity in results
    ]


def highlights(run: Run, order: Sequence[int], sign: int) -> list[int]:
    """Positions in the table of the first few expressions that changed in the direction of sign."""
    differences = run.JF(REFINED) - run.JF(COARSE)
    return [row for row, i in enumerate(order) if sign * differences[i] > 0][:HIGHLIGHTS]
