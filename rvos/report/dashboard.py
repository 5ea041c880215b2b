"""A finished run of eval.py -> Weights & Biases: scores, ablation, overlays, table of expressions.

Runs of one ablation share a group and have window and tau in their config, so that a dashboard
compares them (panels: `refined/JF` over `refine.window`, lines by `refine.tau`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rvos.masks import read_json
from rvos.report.run import SCORES, Run, changes
from rvos.report.strips import FramePath, draw_strip, spread
from rvos.score.inputs import Job


def log_evaluation(
    folder: Path,
    jobs: Sequence[Job],
    *,
    project: str,
    group: str | None,
    name: str | None,
    id: str | None,
    save_dir: str,
    config: dict[str, Any],
    frame_path: FramePath | None,
    strips: int,
    frames: int,
    width: int,
) -> str:
    """Log the run in `folder` and return its W&B id.

    `project` .. `save_dir` are the keys of conf/logger/wandb.yaml, `config` the resolved config as
    a plain dict, `frame_path` .. `width` as in `html.write_report`; overlays are those of the
    `strips` expressions that changed most. Without an account: WANDB_MODE=offline.
    """
    import wandb

    evaluated = Run.read(folder)
    run = wandb.init(
        project=project,
        group=group,
        name=name,
        id=id,
        dir=save_dir,
        config=config,
        job_type="eval",
        resume="allow" if id else None,
    )
    try:
        logged: dict[str, Any] = dict(scores(evaluated.metrics))
        logged["expressions"] = _table(wandb, evaluated.expressions)
        for key, rows in (("ablation", evaluated.ablation), ("rules", evaluated.rules)):
            if rows:
                logged[key] = _table(wandb, rows)
        if (folder / "ablation.png").is_file():
            logged["heat_map"] = wandb.Image(str(folder / "ablation.png"))
        logged["overlays"] = [
            wandb.Image(pixels, caption=caption)
            for pixels, caption in _overlays(evaluated, jobs, frame_path, strips, frames, width)
        ]
        run.log(logged)
        return run.id
    finally:
        run.finish()


def scores(metrics: dict[str, Any]) -> dict[str, float]:
    """metrics.json as W&B keys `refined/JF`, `coarse/JF`, `gain/JF`, ..., `extra/tIoU`, ..."""
    result: dict[str, float] = {}
    for score in SCORES:
        short = score.replace("&", "")
        result[f"refined/{short}"] = metrics[score]
        result[f"coarse/{short}"] = metrics["coarse"][score]
        result[f"gain/{short}"] = metrics[score] - metrics["coarse"][score]
    return result | {f"extra/{key}": value for key, value in metrics["extra"].items()}


def _table(wandb: Any, rows: Sequence[dict[str, Any]]) -> Any:
    columns = list(rows[0])
    return wandb.Table(columns=columns, data=[[row[column] for column in columns] for row in rows])


def _overlays(
    run: Run,
    jobs: Sequence[Job],
    frame_path: FramePath | None,
    strips: int,
    frames: int,
    width: int,
) -> list[tuple[np.ndarray, str]]:
    """(pixels, caption) of coarse, refined and ground truth, one above the other."""
    by_video = {job.video.name: job for job in jobs}
    pictures = []
    for i in changes(run.scores("coarse_J&F"), run.scores("J&F"))[:strips]:
        row = run.expressions[i]
        job, key = by_video[row["video"]], row["expression_id"]
        (expression,) = (e for e in job.video.expressions if e.expression_id == key)
        assert job.truths is not None, "a dashboard is of scored masks"
        refined = read_json(run.folder / "refined" / f"{job.video.name}.json.gz")[key]
        tracks = {
            "coarse": job.coarse[key],
            "refined": refined,
            "truth": job.truths[expression.annotation_ids],
        }
        idx = spread(len(job.video.frames), frames)
        paths = [
            frame_path(job.video.name, job.video.frames[t]) if frame_path else None for t in idx
        ]
        strip = draw_strip(tracks, idx, paths, width=width)
        change = 100 * (row["J&F"] - row["coarse_J&F"])
        caption = f"{row['video']} {key}: {row['expression']} ({change:+.1f})"
        pictures.append((np.vstack(list(strip.rows.values())), caption))
    return pictures
