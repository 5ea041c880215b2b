"""A run folder -> report/index.html: one page that opens from disk and needs nothing else.

Headline with intervals, the W x tau heat map, every expression with its scores, its timeline of
C_t and C_sel (the paper's figure 2) and, for those that changed most, pictures of its masks.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.progress import track as progress

from rvos import InputError, __version__, list_problems
from rvos.masks import Track, iou, read_json, write_bytes
from rvos.report.bootstrap import Bootstrap, Interval
from rvos.report.run import SCORES, Run, changes
from rvos.report.strips import FramePath, Pixels, Strip, draw_strip, spread
from rvos.score.inputs import Job

HIGHLIGHTS = 4  # gains and losses shown above the table
_WEBP_QUALITY = 72


def write_report(
    folder: Path,
    jobs: Sequence[Job],
    *,
    name: Literal["html", "none"],
    frame_path: FramePath | None,
    oracle: str | None,
    beside: Mapping[str, str] | None,
    ablation: str | None,
    strips: int,
    frames: int,
    width: int,
    megabytes: float,
    resamples: int,
    confidence: float,
    seed: int,
) -> Path | None:
    """Write `<folder>/report/index.html` and return its path; None for `report=none`.

    `folder` is that of a finished run with ground truth, `jobs` what it refined and scored, and
    `frame_path` where images of frames may be (files that are not there are drawn grey). The other
    arguments are the keys of conf/report/html.yaml. Raises InputError when `oracle` or one of
    `beside` names no run of the same expressions, or `ablation` none with an ablation.
    """
    if name == "none":
        return None
    run = Run.read(folder)
    bound = None if oracle is None else _read_run("oracle", oracle).in_order_of(run)
    others = {k: _read_run("beside", path).in_order_of(run) for k, path in (beside or {}).items()}
    ablated = run if ablation is None else _read_run("ablation", ablation)
    bootstrap = Bootstrap(
        [video for video, _ in run.identities],
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )
    order = changes(run.scores("coarse_J&F"), run.scores("J&F"))
    pictured = {run.identities[i] for i in order[:strips]}
    details = _details(folder, jobs, frame_path, pictured, frames, width)
    _limit_pictures([details[run.identities[i]] for i in order[:strips]], int(megabytes * 2**20))
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            metrics=run.metrics,
            rows=_rows(run, order, details),
            details=[details[run.identities[i]] for i in order],
            gains=_highlights(run, order, +1),
            losses=_highlights(run, order, -1),
            headline=_headline(run, bound, others, bootstrap),
            oracle=bound,
            others=others,
            heat_map=_heat_map(ablated, run.metrics["refine"]),
            ablated=ablated,
            confidence=confidence,
            resamples=resamples,
            num_videos=bootstrap.num_videos,
            num_pictured=sum("strip" in detail for detail in details.values()),
            version=__version__,
        )
    )
    path = folder / "report" / "index.html"
    write_bytes(path, html.encode())
    return path


def check_report(*, name: str, **keys: Any) -> None:
    """Raises InputError listing all values that a report could not be written with."""
    if name == "none":
        return
    problems = []
    for key, minimum in (
        ("strips", 0),
        ("frames", 1),
        ("width", 1),
        ("megabytes", 0),
        ("resamples", 1),
        ("seed", 0),
    ):
        value = keys[key]
        if not isinstance(value, int | float) or isinstance(value, bool) or value < minimum:
            problems.append(f"report.{key}: expected a number >= {minimum}, got {value!r}")
    if not isinstance(keys["confidence"], float) or not 0 < keys["confidence"] < 1:
        problems.append(f"report.confidence: expected 0 < value < 1, got {keys['confidence']!r}")
    for key, paths in (
        ("oracle", [keys["oracle"]]),
        ("ablation", [keys["ablation"]]),
        ("beside", (keys["beside"] or {}).values()),
    ):
        for path in filter(None, paths):
            try:
                _read_run(key, path)
            except InputError as error:
                problems.append(str(error))
    if problems:
        raise InputError(list_problems("Wrong settings of the report", problems))


def _read_run(key: str, path: str) -> Run:
    try:
        run = Run.read(path)
    except InputError as error:
        raise InputError(f"report.{key}: {error}") from None
    if key == "ablation" and not run.ablation:
        raise InputError(f"report.ablation: {path}: expected a run with an ablation")
    return run


# ------------------------------------------------------------------------------------- scores


@dataclass(frozen=True)
class HeadlineRow:
    label: str
    kind: Literal["coarse", "refined", "beside", "oracle", "difference"]
    scores: dict[str, Interval]  # by J, F, J&F; in 0..1


def _headline(
    run: Run, oracle: Run | None, others: Mapping[str, Run], bootstrap: Bootstrap
) -> list[HeadlineRow]:
    def row(label: str, kind: Any, values: Mapping[str, Any]) -> HeadlineRow:
        return HeadlineRow(label, kind, {k: bootstrap.interval(v) for k, v in values.items()})

    coarse = {score: run.scores(f"coarse_{score}") for score in SCORES}
    refined = {score: run.scores(score) for score in SCORES}
    rows = [row("Coarse", "coarse", coarse), row("Refined", "refined", refined)]
    for label, other in others.items():
        values = {score: other.scores(score) for score in SCORES}
        rows.append(row(label.capitalize(), "beside", values))
    if oracle is not None:
        rows.append(row("Oracle", "oracle", {score: oracle.scores(score) for score in SCORES}))
    change = {score: refined[score] - coarse[score] for score in SCORES}
    return [*rows, row("Change", "difference", change)]


def _heat_map(run: Run, setting: Mapping[str, Any]) -> dict[str, Any] | None:
    """Cells of ablation.csv by window and tau; `shade` is -1..1 around the coarse masks' J&F.
    `setting`, the rule of this page's run, is `chosen`."""
    cells = [row for row in run.ablation if row["window"] is not None]
    if not cells:
        return None
    coarse = next(row["J&F"] for row in run.ablation if row["window"] is None)
    reach = max(abs(cell["J&F"] - coarse) for cell in cells) or 1.0
    best = max(cells, key=lambda cell: cell["J&F"])
    for cell in cells:
        cell["shade"] = (cell["J&F"] - coarse) / reach
        cell["best"] = cell is best
        cell["chosen"] = setting["name"] == "vote" and all(
            setting[key] == cell[key] for key in ("window", "tau")
        )
    taus = list(dict.fromkeys(cell["tau"] for cell in cells))
    windows = list(dict.fromkeys(cell["window"] for cell in cells))
    by_setting = {(cell["window"], cell["tau"]): cell for cell in cells}
    grid = [(window, [by_setting.get((window, tau)) for tau in taus]) for window in windows]
    return {"taus": taus, "rows": grid, "coarse": coarse, "best": best}


def _rows(
    run: Run, order: Sequence[int], details: Mapping[tuple[str, str], Any]
) -> list[dict[str, Any]]:
    """Table rows, those that changed most first."""
    return [
        {
            **run.expressions[i],
            "difference": run.expressions[i]["J&F"] - run.expressions[i]["coarse_J&F"],
            "pictured": "strip" in details[run.identities[i]],
        }
        for i in order
    ]


def _highlights(run: Run, order: Sequence[int], sign: int) -> list[int]:
    """Positions in the table of the first few expressions that changed in the direction of sign."""
    differences = run.scores("J&F") - run.scores("coarse_J&F")
    return [row for row, i in enumerate(order) if sign * differences[i] > 0][:HIGHLIGHTS]


# ------------------------------------------------------------------------ what a row opens


def _details(
    folder: Path,
    jobs: Sequence[Job],
    frame_path: FramePath | None,
    pictured: set[tuple[str, str]],
    frames: int,
    width: int,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Per expression: its timeline, and its strip if it is one of `pictured`."""
    details = {}
    for job in progress(jobs, "Writing the report", transient=True):
        video = job.video
        refined = read_json(folder / "refined" / f"{video.name}.json.gz")
        decisions = read_json(folder / "decisions" / f"{video.name}.json")
        assert job.truths is not None, "a report is of scored masks"
        for expression in video.expressions:
            key = expression.expression_id
            tracks = {
                "coarse": job.coarse[key],
                "refined": refined[key],
                "truth": job.truths[expression.annotation_ids],
            }
            detail = _timeline(decisions[key], tracks)
            if (video.name, key) in pictured:
                idx = spread(len(video.frames), frames)
                images = [
                    frame_path(video.name, video.frames[t]) if frame_path else None for t in idx
                ]
                strip = draw_strip(tracks, idx, images, width=width)
                detail["strip"] = _embed(strip, [video.frames[t] for t in idx])
            details[video.name, key] = detail
    return details


def _timeline(decision: dict[str, Any], tracks: dict[str, Track]) -> dict[str, Any]:
    """C_t per frame, [start, stop, C_sel, kept coarse] per window, J per frame in percent."""
    return {
        "combinations": decision["combinations"],
        "windows": [
            [w["start"], w["stop"], w["selected"], w["kept_coarse"]] for w in decision["windows"]
        ],
        "J": {
            kind: [
                round(100 * iou(truth, mask))
                for truth, mask in zip(tracks["truth"], tracks[kind], strict=True)
            ]
            for kind in ("coarse", "refined")
        },
    }


def _embed(strip: Strip, names: Sequence[str]) -> dict[str, Any]:
    height, width = next(iter(strip.rows.values())).shape[:2]
    return {
        "frame_idx": list(strip.frame_idx),
        "names": list(names),
        "size": [width, height],
        "images": {kind: data_uri(pixels) for kind, pixels in strip.rows.items()},
    }


def data_uri(pixels: Pixels) -> str:
    """(H, W, 3) uint8 RGB as a WebP image inside a URL."""
    quality = [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY]
    encoded, data = cv2.imencode(".webp", np.ascontiguousarray(pixels[..., ::-1]), quality)
    assert encoded, "WebP is part of OpenCV's wheels"
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()


def _limit_pictures(details: Sequence[dict[str, Any]], limit: int) -> None:
    """Drop the strips, the last first, that would make the page's pictures exceed `limit` bytes."""
    used = 0
    for detail in details:
        used += sum(len(uri) for uri in detail["strip"]["images"].values())
        if used > limit:
            del detail["strip"]


# ----------------------------------------------------------------------------------- template


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rvos.report"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda score: f"{100 * score:.2f}"
    environment.filters["signed"] = lambda score: f"{100 * score:+.2f}".replace("-", "−")
    environment.filters["thousands"] = lambda number: f"{number:,}".replace(",", "\u202f")
    return environment
