"""What a run prints of its scores, in percent."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from rvos.report.bootstrap import Bootstrap, Interval
from rvos.report.csv_tables import PRESENCE, SCORES, settings_of
from rvos.report.metrics import Metrics
from rvos.report.rows import Row, best_agree, best_threshold
from rvos.score.ablation import COARSE, REFINED
from rvos.score.results import Results


def print_results(console: Console, metrics: Metrics, results: Results, **bootstrap: Any) -> None:
    """All tables that the run has; `bootstrap` are the settings of `Bootstrap`."""
    name = metrics.refine["name"]
    if metrics.rules:
        _print_rules(console, metrics.rules)
    if metrics.thresholds:
        _print_thresholds(console, metrics.thresholds, name)
    if metrics.agrees:
        _print_agrees(console, metrics.agrees, name)
    if metrics.ablation:
        _print_grid(console, metrics, "J&F", [row.summary.JF for row in metrics.ablation])
        finals = [row.answers["Final_all"] for row in metrics.ablation]
        if None not in finals:
            _print_grid(console, metrics, "Final (all)", finals)
    if metrics.windows:
        _print_windows(console, metrics, bootstrap["confidence"])
    _print_scores(console, metrics, results, **bootstrap)
    _print_answers(console, metrics)
    _print_kinds(console, metrics)
    before, after = metrics.coarse.jumps, metrics.refined.jumps
    if before.pairs and after.pairs:
        console.print(
            f"identity jumps per 100 pairs of frames: coarse {before.per_100_pairs:.2f} "
            f"(of {before.pairs}), refined {after.per_100_pairs:.2f} (of "
            f"{after.pairs}); frames with a mask: {before.non_empty}, {after.non_empty}",
            soft_wrap=True,
        )


def table_of(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, box=box.SIMPLE, pad_edge=False, collapse_padding=len(columns) > 8)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=i > 0)
    for row in rows:
        table.add_row(*row)
    return table


def percent(score: float | None) -> str:
    """With two decimals; empty for None."""
    return "" if score is None else f"{100 * score:.2f}"


def signed(change: float) -> str:
    """A change of a score, with its sign."""
    return f"{100 * change:+.2f}"


def range_of(interval: Interval) -> str:
    """The ends of the interval of a change."""
    return f"{signed(interval.low)} .. {signed(interval.high)}"


def _change(interval: Interval) -> str:
    return f"{signed(interval.mean)}  {range_of(interval)}"


def _print_scores(console: Console, metrics: Metrics, results: Results, **bootstrap: Any) -> None:
    """Coarse, refined, their paired difference with its interval over videos, trivial answers."""
    count = f"{metrics.num_expressions} expressions, {metrics.num_frames} expression-frames"
    more = list(metrics.refined.summary.more)
    refine = {key: value for key, value in metrics.refine.items() if value is not None}
    setting = [refine.pop("name"), *(f"{key} {value}" for key, value in refine.items())]
    if metrics.presence:
        setting.append(f"{metrics.presence['name']} >= {metrics.presence['threshold']}")

    def row(name: str, means: Mapping[str, float]) -> list[str]:
        return [name, *(percent(means.get(key)) for key in (*SCORES, *more))]

    rows = [row("coarse", metrics.coarse.summary.as_dict())]
    rows.append(row(", ".join(setting), metrics.refined.summary.as_dict()))
    over = Bootstrap.of_units(results.units[""], **bootstrap)
    intervals = [
        over.interval(results.unit_scores(REFINED, score) - results.unit_scores(COARSE, score))
        for score in SCORES
    ]
    none = [""] * len(more)
    rows.append(["change", *(signed(i.mean) for i in intervals), *none])
    if over.num_videos > 1:
        label = f"  {100 * bootstrap['confidence']:g} % over {over.num_videos} videos"
        rows.append([label, *map(range_of, intervals), *none])
    rows += [row(f"trivial: {name}", means) for name, means in metrics.trivial.items()]
    title = f"{metrics.split}: {count}, protocol {metrics.protocol} (percent)"
    console.print(table_of(title, ["masks", *SCORES, *more], rows))


def _print_answers(console: Console, metrics: Metrics) -> None:
    """N-acc, T-acc and Final, where there are expressions without target."""
    coarse = metrics.coarse.answered()
    rows = [
        [name, percent(coarse[name]), percent(refined)]
        for name, refined in metrics.refined.answered().items()
    ]
    if rows:
        console.print(table_of("Is there a target? (percent)", ["", "coarse", "refined"], rows))


def _print_kinds(console: Console, metrics: Metrics) -> None:
    """Refined scores of the kinds of expressions, and the protocol's further means."""
    kinds = metrics.refined.kinds()
    if not kinds:
        return
    columns = list(dict.fromkeys(key for means in kinds.values() for key in means))

    def shown(key: str, value: Any) -> str:
        return str(value) if key.startswith("num_") and value is not None else percent(value)

    rows = [
        [name.replace("_", " "), *(shown(key, means.get(key)) for key in columns)]
        for name, means in kinds.items()
    ]
    header = ["", *(column.replace("num_", "") for column in columns)]
    console.print(table_of("refined, by kind (percent)", header, rows))


def _print_grid(
    console: Console, metrics: Metrics, score: str, values: Sequence[float | None]
) -> None:
    """One score of the coarse masks and of every cell, windows down and thresholds across.

    The best cell is marked.
    """
    coarse, *cells = values
    best = int(np.argmax(np.array(cells, np.float64)))
    settings = [(row.settings["window"], row.settings["tau"]) for row in metrics.cells]
    shown = {
        setting: f"[bold]{percent(value)}*" if i == best else percent(value)
        for i, (setting, value) in enumerate(zip(settings, cells, strict=True))
    }
    taus = list(dict.fromkeys(tau for _, tau in settings))
    windows = dict.fromkeys(window for window, _ in settings)
    rows = [[str(window), *(shown[window, tau] for tau in taus)] for window in windows]
    name = metrics.refine["name"]
    title = f"{score} of {name} by window and tau (percent); coarse {percent(coarse)}"
    console.print(table_of(title, ["window", *(f"{tau:g}" for tau in taus)], rows))


def _print_windows(console: Console, metrics: Metrics, confidence: float) -> None:
    first = metrics.windows[0]
    rows = [
        [str(row.window), percent(row.JF), _change(row.over_coarse), _change(row.over_shortest)]
        for row in metrics.windows
    ]
    title = f"J&F of {metrics.refine['name']} by window at tau {first.tau} (percent; "
    title += f"{100 * confidence:g} % intervals)"
    columns = ["window", "J&F", "over coarse", f"over W = {first.window}"]
    console.print(table_of(title, columns, rows))


def _print_rules(console: Console, rules: Sequence[Row]) -> None:
    settings = settings_of(rules)

    def short(value: Any) -> str:
        return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)

    shown = [
        [row.label, *map(short, row.values(settings)), *map(percent, row.values(SCORES))]
        for row in rules
    ]
    console.print(table_of("Rules (percent)", ["rule", *settings, *SCORES], shown))


def _print_agrees(console: Console, agrees: Sequence[Row], rule: str) -> None:
    """What every value of the guard scores; the best one is marked."""
    best = best_agree(agrees)
    rows = [
        [_marked(row.settings["agree"], row is best), *map(percent, row.values(SCORES))]
        + [str(row.frames_kept_coarse)]
        for row in agrees
    ]
    columns = ["agree", *SCORES, "frames kept coarse"]
    console.print(table_of(f"Guard refine.agree of {rule} (percent)", columns, rows))


def _print_thresholds(console: Console, thresholds: Sequence[Row], rule: str) -> None:
    """What every threshold scores; the best one is marked."""
    best = best_threshold(thresholds)
    rows = [
        [_marked(row.settings["threshold"], row is best), *map(percent, row.values(PRESENCE[1:]))]
        for row in thresholds
    ]
    title = f"Thresholds of {thresholds[0].settings['presence']} on {rule} (percent)"
    columns = [column.replace("_", ", ") for column in PRESENCE]
    console.print(table_of(title, columns, rows))


def _marked(value: float | None, is_best: bool) -> str:
    text = "off" if value is None else f"{value:g}"
    return f"[bold]{text}*" if is_best else text
