"""A finished run of eval.py -> Weights & Biases: scores, ablation, overlays, table of expressions.

Runs of one ablation share a group and have window and tau in their config, so that a dashboard
compares them (panels: `refined/JF` over `refine.window`, lines by `refine.tau`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rvos.report.details import strip_of
from rvos.report.html import NoPage, Page
from rvos.report.run import SCORES, Run, changes
from rvos.report.scores import CURVES, answers_of
from rvos.stages.run_folder import keep_wandb_id, wandb_id


def log_evaluation(
    folder: Path,
    page: Page | NoPage,
    *,
    project: str,
    group: str | None,
    name: str | None,
    id: str | None,
    save_dir: str,
) -> str:
    """Log the finished run in `folder`, its settings too, and return its W&B id.

    `project` .. `save_dir` are the keys of conf/logger/wandb.yaml. A folder that was logged before
    goes on with the W&B run it has. Overlays are the strips that `page` has, none with
    `report=none`. Without an account: WANDB_MODE=offline.
    """
    import wandb

    evaluated = Run.read(folder)
    run = wandb.init(
        project=project,
        group=group,
        name=name,
        id=wandb_id(folder, id),
        dir=save_dir,
        config=evaluated.config,
        job_type="eval",
        resume="allow",
    )
    try:
        keep_wandb_id(folder, run.id)
        logged: dict[str, Any] = dict(scores(evaluated.metrics))
        logged["expressions"] = _table(wandb, evaluated.expressions)
        for key in ("ablation", "rules", "presence"):
            if rows := getattr(evaluated, key):
                logged[key] = _table(wandb, rows)
        if evaluated.presence:
            logged["presence_curve"] = _curve(wandb, evaluated)
        if (folder / "ablation.png").is_file():
            logged["heat_map"] = wandb.Image(str(folder / "ablation.png"))
        if isinstance(page, Page):
            logged["overlays"] = [
                wandb.Image(pixels, caption=caption)
                for pixels, caption in _overlays(evaluated, page)
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
    for kind, content in (("refined", metrics), ("coarse", metrics["coarse"])):
        result |= {f"{kind}/{name}": value for name, value in answers_of(content)}
        jumps = content.get("identity", {}).get("jumps_per_100_pairs")
        result |= {} if jumps is None else {f"{kind}/identity_jumps": jumps}
    return result | {
        f"extra/{key}": value for key, value in metrics["extra"].items() if value is not None
    }


def _table(wandb: Any, rows: Sequence[dict[str, Any]]) -> Any:
    columns = list(rows[0])
    return wandb.Table(columns=columns, data=[[row[column] for column in columns] for row in rows])


def _curve(wandb: Any, run: Run) -> Any:
    """The scores of presence.csv by threshold, in percent."""
    rows = sorted(run.presence, key=lambda row: row["threshold"])
    scores = [score for score in CURVES if rows[0][score] is not None]
    return wandb.plot.line_series(
        xs=[row["threshold"] for row in rows],
        ys=[[100 * row[score] for row in rows] for score in scores],
        keys=scores,
        title=f"Thresholds of {run.metrics['presence']['name']}",
        xname="presence.threshold",
    )


def _overlays(run: Run, page: Page) -> list[tuple[np.ndarray, str]]:
    """(pixels, caption) of coarse, refined and ground truth, one above the other."""
    chosen = changes(run.scores("coarse_J&F"), run.scores("J&F"))[: page.strips]
    drawn = {}
    for name in run.videos:
        if rows := [i for i in chosen if run.expressions[i]["video"] == name]:
            video = run.video(name)
            for i in rows:
                key = run.expressions[i]["expression_id"]
                strip = strip_of(run, video, key, frames=page.frames, width=page.width)
                drawn[i] = np.vstack(list(strip.rows.values()))
    return [(drawn[i], _caption(run.expressions[i])) for i in chosen]


def _caption(row: dict[str, Any]) -> str:
    change = 100 * (row["J&F"] - row["coarse_J&F"])
    return f"{row['video']} {row['expression_id']}: {row['expression']} ({change:+.1f})"
