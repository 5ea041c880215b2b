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
from rvos.refine import Rule, WithPresence
from rvos.report.bootstrap import Bootstrap
from rvos.score.ablation import COARSE, REFINED
from rvos.score.measures import Summary
from rvos.score.protocols import mean_of
from rvos.score.results import ExpressionResult, Results
from rvos.score.slices import answers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """The scores of a split under one rule: what ablation.csv and rules.csv are made of."""

    label: str
    settings: dict[str, Any]  # the rule's own fields
    summary: Summary
    answers: dict[str, float | None]  # N-acc, T-acc, J&F and Final of all and target
    frames_kept_coarse: int
    sha256: str  # of the masks, as in data/README.md; empty in a run without an ablation

    def values(self, columns: Sequence[str]) -> list[Any]:
        """The values of some columns of a table; None for a setting that the rule lacks."""
        known = {
            **self.settings,
            "rule": self.label,
            **self.summary.as_dict(),
            **self.answers,
            "frames_kept_coarse": self.frames_kept_coarse,
            "sha256": self.sha256,
        }
        return [known.get(column) for column in columns]


def make_rows(results: Results, rules: Mapping[str, Rule]) -> dict[str, Row]:
    """One row per label, in the order of `rules`, which are those that gave the results."""
    hexdigests = results.hashes.hexdigests()
    return {
        label: Row(
            label,
            fields_of(rule),
            results.summary(label),
            _flat(answers(results.expressions, label)),
            sum(r.scores[label].frames_kept_coarse for r in results.expressions),
            hexdigests.get(label, ""),
        )
        for label, rule in rules.items()
    }


def _flat(found: Mapping[str, Any]) -> dict[str, float | None]:
    both = {f"J&F_{name}": found["slices"][name]["J&F"] for name in found["Final"]}
    both |= {f"Final_{name}": value for name, value in found["Final"].items()}
    return {"N-acc": found["N-acc"], "T-acc": found["T-acc"], **both}


def fields_of(rule: Rule) -> dict[str, Any]:
    """The settings of a rule, and of the presence rule on top of it."""
    if isinstance(rule, WithPresence):
        presence = {"presence": rule.presence.name, "threshold": rule.presence.threshold}
        return fields_of(rule.rule) | presence
    if not is_dataclass(rule):
        return {}
    return {field.name: getattr(rule, field.name) for field in fields(rule)}


def metrics(
    results: Results,
    *,
    split: str,
    refine: dict[str, Any],
    presence: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of metrics.json; scores in 0..1.

    `refine` is the config of the run's rule, `presence` that of the rule on top of it, if any.
    """
    expressions = results.expressions
    extra: dict[str, Any] = {name: _mean(name, expressions) for name in expressions[0].extra}
    extra["frames_kept_coarse"] = sum(r.refined.frames_kept_coarse for r in expressions)
    extra["frames_scored_as_empty"] = results.scored_as_empty
    return {
        **_scores_of(results, REFINED),
        "num_expressions": len(expressions),
        "num_frames": sum(r.num_frames for r in expressions),
        "split": split,
        "protocol": results.protocol.name,
        "coarse": _scores_of(results, COARSE),
        "refine": {key: value for key, value in refine.items() if key != "_target_"},
        **({"presence": presence} if presence else {}),
        "extra": extra,
    }


def _scores_of(results: Results, label: str) -> dict[str, Any]:
    """All scores of one rule: the protocol's, those it reports beside, and those of slices."""
    scores: dict[str, Any] = results.summary(label).as_dict()
    groups = list(dict.fromkeys(unit.group for unit in results.units[""]))
    if results.protocol.groups:
        scores[results.protocol.groups] = [
            mean_of([u for u in results.units[""] if u.group == group], label).as_dict()
            for group in groups
        ]
    for name, units in results.units.items():
        if name:
            scores[name] = mean_of(units, label).as_dict()
    identity = {"identity": results.identity(label).as_dict()}
    return scores | answers(results.expressions, label) | identity


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
_ANSWERS = ["N-acc", "T-acc", "Final_all", "Final_target"]
_RESULT = [*_SCORES, "frames_kept_coarse", "sha256"]
_PRESENCE = ["threshold", "N-acc", "T-acc", "J&F_all", "J&F_target", "Final_all", "Final_target"]


def write_tables(
    folder: Path,
    content: dict[str, Any],
    results: Results,
    *,
    ablation: Sequence[Row] = (),
    rules: Sequence[Row] = (),
    presence: Sequence[Row] = (),
    windows: Sequence[Mapping[str, Any]] = (),
) -> None:
    """per_expression.csv, and metrics.json as the last.

    units.csv is written where the protocol's mean goes over something else, ablation.csv, rules.csv
    and presence.csv where there are rows; the first two have N-acc, T-acc and Final where there are
    no-target expressions. The rows of `ablation` are that of the coarse masks and one per cell of
    the grid, those of `presence` one per threshold; `windows` is what `make_windows` gives.
    """
    header = ["video", "expression_id", "expression", "noun", "num_frames"]
    asked = ["num_targets", *(["type"] if any(r.type for r in results.expressions) else [])]
    rows = [
        [getattr(r, key) for key in header]
        + [value for s in (r.refined, r.coarse) for value in (s.J, s.F, s.JF)]
        + [getattr(r, key) for key in asked]
        + [int(r.refined.says_nothing), int(r.coarse.says_nothing)]
        for r in results.expressions
    ]
    scores = [*_SCORES, *(f"coarse_{score}" for score in _SCORES)]
    silent = ["says_nothing", "coarse_says_nothing"]
    write_csv(folder / "per_expression.csv", [*header, *scores, *asked, *silent], rows)
    units = [(unit.name, unit.group) for unit in results.units[""]]
    if units != [(r.expression_id, "") for r in results.expressions]:
        rows = [
            [unit.video, unit.group, unit.name]
            + [v for label in (REFINED, COARSE) for v in mean_of([unit], label).as_dict().values()]
            for unit in results.units[""]
        ]
        more = list(results.summary(REFINED).more)
        scores = [f"{kind}{s}" for kind in ("", "coarse_") for s in (*_SCORES, *more)]
        write_csv(folder / "units.csv", ["video", "group", "unit", *scores], rows)
    given = [*_RESULT, *(_ANSWERS if content.get("N-acc") is not None else [])]
    if ablation:
        columns = ["window", "tau", *given]
        write_csv(folder / "ablation.csv", columns, [row.values(columns) for row in ablation])
    if rules:
        columns = ["rule", *_settings_of(rules), *given]
        write_csv(folder / "rules.csv", columns, [row.values(columns) for row in rules])
    if presence:
        rows = [row.values(_PRESENCE) for row in presence]
        write_csv(folder / "presence.csv", _PRESENCE, rows)
    if windows:
        write_csv(folder / "windows.csv", list(windows[0]), [list(r.values()) for r in windows])
    write_json(folder / "metrics.json", content)


def _settings_of(rows: Sequence[Row]) -> list[str]:
    """Columns of rules.csv: settings of our rules, then those of others."""
    found = [key for row in rows for key in row.settings if key not in ("rule", *_RESULT)]
    return list(dict.fromkeys(["window", "tau", "box_ratio", *found]))


def print_metrics(
    console: Console,
    content: dict[str, Any],
    results: Results,
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> None:
    """Coarse and refined scores, and their paired difference with its interval over videos.

    Scores of slices follow where the dataset has expressions of several kinds.
    """
    count = f"{content['num_expressions']} expressions, {content['num_frames']} expression-frames"
    title = f"{content['split']}: {count}, protocol {content['protocol']} (percent)"
    more = list(results.summary(REFINED).more)
    table = Table(title=title, box=box.SIMPLE, pad_edge=False)
    for column in ("masks", *_SCORES, *more):
        table.add_column(column, justify="left" if column == "masks" else "right")
    rule = dict(content["refine"])
    setting = [str(rule.pop("name")), *(f"{k} {v}" for k, v in rule.items() if v is not None)]
    if presence := content.get("presence"):
        setting.append(f"{presence['name']} >= {presence['threshold']}")
    for name, scores in (("coarse", content["coarse"]), (", ".join(setting), content)):
        table.add_row(name, *(_percent(scores[key]) for key in (*_SCORES, *more)))
    units = results.units[""]
    bootstrap = Bootstrap(
        [unit.video for unit in units],
        [unit.group for unit in units],
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )
    pairs = [(unit.scores[REFINED], unit.scores[COARSE]) for unit in units]
    changes = np.array([(a["J"] - b["J"], a["F"] - b["F"]) for a, b in pairs])  # (U, 2) J, F
    intervals = [bootstrap.interval(c) for c in (*changes.T, changes.mean(1))]
    table.add_row("change", *(f"{100 * i.mean:+.2f}" for i in intervals))
    span = (f"{100 * i.low:+.2f}..{100 * i.high:+.2f}" for i in intervals)
    table.add_row(f"  {100 * confidence:g} % over {bootstrap.num_videos} videos", *span)
    console.print(table)
    if content["N-acc"] is not None:
        table = Table(title="Is there a target? (percent)", box=box.SIMPLE, pad_edge=False)
        for column in ("masks", "N-acc", "T-acc", *(f"Final, {name}" for name in content["Final"])):
            table.add_column(column, justify="left" if column == "masks" else "right")
        for name, scores in (("coarse", content["coarse"]), ("refined", content)):
            values = scores["N-acc"], scores["T-acc"], *scores["Final"].values()
            table.add_row(name, *map(_percent, values))
        console.print(table)
    print_slices(console, content)
    before, after = content["coarse"]["identity"], content["identity"]
    if before["pairs"] and after["pairs"]:
        console.print(
            f"identity jumps per 100 pairs of frames: coarse {before['jumps_per_100_pairs']:.2f} "
            f"(of {before['pairs']}), refined {after['jumps_per_100_pairs']:.2f} (of "
            f"{after['pairs']}); frames with a mask: {before['non_empty_frames']}, "
            f"{after['non_empty_frames']}",
            soft_wrap=True,
        )


def print_slices(console: Console, content: Mapping[str, Any]) -> None:
    """Refined scores of the kinds of expressions, and the protocol's further means."""
    rows = {name: scores for name, scores in slices_shown(content)}
    if not rows:
        return
    columns = list(dict.fromkeys(key for scores in rows.values() for key in scores))
    table = Table(title="refined, by kind (percent)", box=box.SIMPLE, pad_edge=False)
    for column in ("", *columns):
        table.add_column(column.replace("num_", ""), justify="right" if column else "left")
    for name, scores in rows.items():
        cells = [scores.get(key) for key in columns]
        counts = [key.startswith("num_") for key in columns]
        shown = [
            str(c) if n and c is not None else _percent(c)
            for c, n in zip(cells, counts, strict=True)
        ]
        table.add_row(name.replace("_", " "), *shown)
    console.print(table)


def slices_shown(content: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(name, scores) of slices that differ from all expressions, and of a protocol's other means.

    `content` is that of metrics.json, also of an older release, which had none.
    """
    slices = content.get("slices", {})
    count = content["num_expressions"]
    rows = [(k, s) for k, s in slices.items() if k != "all" and 0 < s["num_expressions"] < count]
    if rows:
        rows.insert(0, ("all", slices["all"]))
    others = [
        k for k, v in content.items() if isinstance(v, dict) and v.keys() >= {"J", "F", "J&F"}
    ]
    rows += [(key, content[key]) for key in others if key != "coarse"]
    for key, value in content.items():
        if isinstance(value, list):
            rows += [(f"{key.rstrip('s')} {i}", scores) for i, scores in enumerate(value)]
    return rows


def print_ablation(console: Console, ablation: Sequence[Row]) -> None:
    """J&F of every cell, windows down and thresholds across; the best cell is marked.

    Where there are expressions without target, the same follows for Final (over all expressions).
    """
    _print_grid(console, ablation, "J&F", [row.summary.JF for row in ablation])
    finals = [row.answers["Final_all"] for row in ablation]
    if None not in finals:
        _print_grid(console, ablation, "Final (all)", finals)


def _print_grid(
    console: Console, ablation: Sequence[Row], name: str, values: Sequence[Any]
) -> None:
    """One number of every row of ablation.csv; the first row is that of the coarse masks."""
    coarse, *cells = values
    best = int(np.argmax(cells))
    settings = [(row.settings["window"], row.settings["tau"]) for row in ablation[1:]]
    shown = {
        setting: f"[bold]{_percent(value)}*" if i == best else _percent(value)
        for i, (setting, value) in enumerate(zip(settings, cells, strict=True))
    }
    taus = list(dict.fromkeys(tau for _, tau in settings))
    title = f"{name} by window and tau (percent); coarse {_percent(coarse)}"
    table = Table(title=title, box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column("window", justify="right")
    for tau in taus:
        table.add_column(f"{tau:g}", justify="right")
    for window in dict.fromkeys(window for window, _ in settings):
        table.add_row(str(window), *(shown[window, tau] for tau in taus))
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


def print_presence(console: Console, presence: Sequence[Row]) -> None:
    """What every threshold scores, in percent; the best one is marked."""
    best = best_threshold([(row.settings["threshold"], row.answers) for row in presence])
    name = presence[0].settings["presence"]
    table = Table(title=f"Thresholds of {name} (percent)", box=box.SIMPLE, pad_edge=False)
    for column in _PRESENCE:
        table.add_column(column.replace("_", ", "), justify="right")
    for row in presence:
        threshold, *scores = row.values(_PRESENCE)
        marked = f"[bold]{threshold:g}*" if threshold == best else f"{threshold:g}"
        table.add_row(marked, *map(_percent, scores))
    console.print(table)


def best_threshold(rows: Sequence[tuple[float, Mapping[str, float | None]]]) -> float | None:
    """The threshold of the highest Final_target, the lower of equals; None where none has it."""
    found = [(-final, t) for t, scores in rows if (final := scores["Final_target"]) is not None]
    return min(found)[1] if found else None


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _percent(score: float | None) -> str:
    return "" if score is None else f"{100 * score:.2f}"


def write_csv(path: Path, header: list[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table whole or not at all; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())
