"""A run's tables -> what the report shows of scores: headline, heat map, rows, further metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rvos.report.bootstrap import Bootstrap, Interval
from rvos.report.details import Details
from rvos.report.run import SCORES, Run
from rvos.report.tables import best_threshold, slices_shown
from rvos.score.measures import COUNTS

HIGHLIGHTS = 4  # gains and losses shown above the table


@dataclass(frozen=True)
class HeadlineRow:
    """One line of the table of scores."""

    label: str
    kind: Literal["coarse", "refined", "compared", "oracle", "difference"]
    scores: dict[str, Interval]  # by J, F, J&F; in 0..1


def headline(
    run: Run, oracle: Run | None, others: Mapping[str, Run], bootstrap: Bootstrap
) -> list[HeadlineRow]:
    """Coarse, refined, other runs, oracle, and last the paired change, each with intervals."""

    def row(label: str, kind: Any, values: Mapping[str, Any]) -> HeadlineRow:
        return HeadlineRow(label, kind, {k: bootstrap.interval(v) for k, v in values.items()})

    coarse = {score: run.unit_scores(f"coarse_{score}") for score in SCORES}
    refined = {score: run.unit_scores(score) for score in SCORES}
    rows = [row("Coarse", "coarse", coarse), row("Refined", "refined", refined)]
    for label, other in others.items():
        values = {score: other.unit_scores(score) for score in SCORES}
        rows.append(row(label.capitalize(), "compared", values))
    if oracle is not None:
        rows.append(row("Oracle", "oracle", {score: oracle.unit_scores(score) for score in SCORES}))
    change = {score: refined[score] - coarse[score] for score in SCORES}
    return [*rows, row("Change", "difference", change)]


def heat_map(run: Run, setting: Mapping[str, Any]) -> dict[str, Any] | None:
    """Cells of ablation.csv by window and tau; None without an ablation.

    `shade` is -1..1 around the coarse masks' J&F; `setting`, the rule of the page's run, is
    `chosen`.
    """
    cells = [dict(row) for row in run.ablation if row["window"] is not None]
    if not cells:
        return None
    coarse = next(row["J&F"] for row in run.ablation if row["window"] is None)
    same_rule = setting["name"] == run.metrics["refine"]["name"]
    reach = max(abs(cell["J&F"] - coarse) for cell in cells) or 1.0
    best = max(cells, key=lambda cell: cell["J&F"])
    for cell in cells:
        cell["shade"] = (cell["J&F"] - coarse) / reach
        cell["best"] = cell is best
        cell["paper"] = all(cell[key] == value for key, value in PAPER.items())
        cell["chosen"] = same_rule and all(setting[key] == cell[key] for key in ("window", "tau"))
    taus = list(dict.fromkeys(cell["tau"] for cell in cells))
    windows = list(dict.fromkeys(cell["window"] for cell in cells))
    by_setting = {(cell["window"], cell["tau"]): cell for cell in cells}
    grid = [(window, [by_setting.get((window, tau)) for tau in taus]) for window in windows]
    return {"taus": taus, "rows": grid, "coarse": coarse, "best": best}


PAPER = {"window": 15, "tau": 0.8}  # section 3 of the paper


def window_curve(run: Run) -> dict[str, Any] | None:
    """windows.csv as an SVG curve: what each window changes over the shortest one, in points.

    x is 0..100, one step per window; y goes down from 60. None without a table.
    """
    rows = run.windows
    if not rows:
        return None
    ends = [100 * row[f"over_shortest_{end}"] for row in rows for end in ("low", "high")]
    low, high = min(0.0, *ends), max(0.0, *ends)
    scale = 60 / max(high - low, 1e-9)

    def y(points: float) -> float:
        return round((high - points) * scale, 2)

    marks = [
        {
            **row,
            "x": round(100 * i / (len(rows) - 1), 2),
            **{at: y(100 * row[f"over_shortest{at}"]) for at in ("", "_low", "_high")},
        }
        for i, row in enumerate(rows)
    ]
    points = " ".join(f"{mark['x']},{mark['']}" for mark in marks)
    return {"marks": marks, "points": points, "zero": y(0), "low": low, "high": high}


CURVES = ("N-acc", "T-acc", "J&F_target", "Final_target")  # columns of presence.csv


def presence_curve(run: Run) -> dict[str, Any] | None:
    """The scores of presence.csv over its thresholds, as SVG points; None without a table.

    x is 100 thresholds, y goes down from 100 percent; a score that is not defined has no curve.
    """
    rows = sorted(run.presence, key=lambda row: row["threshold"])
    if not rows:
        return None
    best = best_threshold([(row["threshold"], row) for row in rows])
    return {
        **run.metrics["presence"],
        "rows": rows,
        "best": next((row for row in rows if row["threshold"] == best), None),
        "curves": {
            score: " ".join(
                f"{100 * row['threshold']:.2f},{100 - 100 * row[score]:.2f}" for row in rows
            )
            for score in CURVES
            if rows[0][score] is not None
        },
    }


def answers_of(metrics: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(name, value in 0..1) of N-acc, T-acc, Final, and J&F of slices, where they are defined.

    `metrics` is the content of metrics.json, or its `coarse`; older releases had none of them.
    """
    final = metrics.get("Final", {})
    found = [(key, metrics.get(key)) for key in ("N-acc", "T-acc")]
    found += [(f"Final ({name})", value) for name, value in final.items()]
    if metrics.get("N-acc") is None:
        found = []
    slices = {k: s for k, s in metrics.get("slices", {}).items() if k != "all"}
    several = len({s["num_expressions"] for s in slices.values() if s["num_expressions"]}) > 1
    found += [(f"J&F, {k.replace('_', ' ')}", s["J&F"]) for k, s in slices.items() if several]
    return [(name, value) for name, value in found if value is not None]


def kinds(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Coarse and refined scores of the kinds of expressions, and of a protocol's other means."""
    coarse = dict(slices_shown(metrics["coarse"] | {"num_expressions": metrics["num_expressions"]}))
    return [
        {"name": name.replace("_", " "), "refined": refined, "coarse": coarse[name]}
        for name, refined in slices_shown(metrics)
    ]


def answered(metrics: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(name, coarse, refined) of N-acc, T-acc and Final, where there are no-target expressions."""
    coarse = dict(answers_of(metrics["coarse"]))
    found = answers_of(metrics)
    return [(name, coarse[name], value) for name, value in found if not name.startswith("J&F")]


_SHARES = ("J_recall", "F_recall", "J_decay", "F_decay", "tIoU", "vIoU")  # shown in percent


def extras_of(extra: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, value as text) of further metrics."""
    return [
        (key.replace("_", " "), f"{100 * value:.2f}" if key in _SHARES else f"{value:.4g}")
        for key, value in extra.items()
        if key not in COUNTS and value is not None
    ]


def settings_of(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a row of rules.csv: the columns between the rule's name and its scores."""
    columns = list(rule)
    settings = columns[columns.index("rule") + 1 : columns.index("J")]
    return {"τ" if k == "tau" else k.replace("_", " "): rule[k] for k in settings}


def rows_of(run: Run, order: Sequence[int], details: Details) -> list[dict[str, Any]]:
    """Table rows, those that changed most first."""
    return [
        {
            **run.expressions[i],
            "difference": run.expressions[i]["J&F"] - run.expressions[i]["coarse_J&F"],
            "pictured": "strip" in details[run.identities[i]],
        }
        for i in order
    ]


def highlights(run: Run, order: Sequence[int], sign: int) -> list[int]:
    """Positions in the table of the first few expressions that changed in the direction of sign."""
    differences = run.scores("J&F") - run.scores("coarse_J&F")
    return [row for row, i in enumerate(order) if sign * differences[i] > 0][:HIGHLIGHTS]
