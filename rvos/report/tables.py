"""Scores -> metrics.json, per_expression.csv, ablation.csv, and tables to read."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from rvos.masks import write_bytes, write_json
from rvos.refine import Vote
from rvos.report.bootstrap import Bootstrap
from rvos.score.evaluate import ExpressionResult
from rvos.score.measures import Summary


@dataclass(frozen=True)
class Cell:
    """One row of an ablation: the scores of a split under one setting (None: coarse masks)."""

    window: int | None
    tau: float | None
    summary: Summary
    frames_kept_coarse: int
    sha256: str


def ablation_cells(
    results: Sequence[ExpressionResult], votes: Sequence[Vote], hexdigests: Sequence[str]
) -> list[Cell]:
    """The coarse masks' row, then one per cell."""
    num_frames = sum(r.num_frames for r in results)
    coarse = Summary.of([r.coarse_J for r in results], [r.coarse_F for r in results])
    cells = [Cell(None, None, coarse, num_frames, hexdigests[0])]
    for i, (vote, digest) in enumerate(zip(votes, hexdigests[1:], strict=True)):
        summary = Summary.of([r.cells[i][0] for r in results], [r.cells[i][1] for r in results])
        kept = sum(r.cells[i][2] for r in results)
        cells.append(Cell(vote.window, vote.tau, summary, kept, digest))
    return cells


def metrics(
    results: Sequence[ExpressionResult],
    *,
    split: str,
    refine: dict[str, Any],
    num_scored_as_empty: int,
) -> dict[str, Any]:
    """The content of metrics.json; scores in 0..1."""
    refined = Summary.of([r.J for r in results], [r.F for r in results])
    coarse = Summary.of([r.coarse_J for r in results], [r.coarse_F for r in results])
    extra: dict[str, Any] = {
        name: float(np.mean([r.extra[name] for r in results])) for name in results[0].extra
    }
    extra["frames_kept_coarse"] = sum(r.frames_kept_coarse for r in results)
    extra["frames_scored_as_empty"] = num_scored_as_empty
    return {
        **refined.as_dict(),
        "num_expressions": len(results),
        "num_frames": sum(r.num_frames for r in results),
        "split": split,
        "coarse": coarse.as_dict(),
        "refine": refine,
        "extra": extra,
    }


def write_tables(
    folder: Path, content: dict[str, Any], results: Sequence[ExpressionResult], cells: list[Cell]
) -> None:
    """per_expression.csv, ablation.csv where there are cells, and last metrics.json."""
    header = ["video", "expression_id", "expression", "noun", "num_frames"]
    scores = ["J", "F", "J&F", "coarse_J", "coarse_F", "coarse_J&F"]
    rows = [
        [
            r.video,
            r.expression_id,
            r.text,
            r.noun,
            r.num_frames,
            r.J,
            r.F,
            (r.J + r.F) / 2,
            r.coarse_J,
            r.coarse_F,
            (r.coarse_J + r.coarse_F) / 2,
        ]
        for r in results
    ]
    write_csv(folder / "per_expression.csv", header + scores, rows)
    if cells:
        header = ["window", "tau", "J", "F", "J&F", "frames_kept_coarse", "sha256"]
        rows = [
            [c.window, c.tau, *c.summary.as_dict().values(), c.frames_kept_coarse, c.sha256]
            for c in cells
        ]
        write_csv(folder / "ablation.csv", header, rows)
    write_json(folder / "metrics.json", content)


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
    changes = np.array([(r.J - r.coarse_J, r.F - r.coarse_F) for r in results])  # (E, 2) J, F
    intervals = [bootstrap.interval(c) for c in (*changes.T, changes.mean(1))]
    table.add_row("change", *(f"{100 * i.mean:+.2f}" for i in intervals))
    span = (f"{100 * i.low:+.2f}..{100 * i.high:+.2f}" for i in intervals)
    table.add_row(f"  {100 * confidence:g} % over {bootstrap.num_videos} videos", *span)
    console.print(table)


def print_ablation(console: Console, cells: Sequence[Cell]) -> None:
    """J&F of every cell, windows down and thresholds across; the best cell is marked."""
    coarse, *rest = cells
    best = max(rest, key=lambda c: c.summary.JF)
    taus = list(dict.fromkeys(c.tau for c in rest))
    title = f"J&F by window and tau (percent); coarse {_percent(coarse.summary.JF)}"
    table = Table(title=title, box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column("window", justify="right")
    for tau in taus:
        table.add_column(f"{tau:g}", justify="right")
    for window in dict.fromkeys(c.window for c in rest):
        row = {c.tau: c for c in rest if c.window == window}
        marks = [f"[bold]{_percent(row[tau].summary.JF)}{'*' * (row[tau] is best)}" for tau in taus]
        table.add_row(str(window), *marks)
    console.print(table)


def _percent(score: float) -> str:
    return f"{100 * score:.2f}"


def write_csv(path: Path, header: list[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())
