"""A finished run of eval.py -> Weights & Biases: scores, ablation, overlays, table of expressions.

Runs of one ablation share a group and have window and tau in their config, so that a dashboard
compares them (panels: `refined/JF` over `refine.window`, lines by `refine.tau`). What belongs to
one refinement rule has its name in its key: `ablation/vote`, `heat_map/vote`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from rvos.errors import InputError
from rvos.report.csv_tables import SCORES, tables_of
from rvos.report.details import strip_of
from rvos.report.html import NoPage, Page
from rvos.report.metrics import Metrics
from rvos.report.rows import Row
from rvos.report.run import Run, changes
from rvos.report.scores import CURVES, answers_of, in_order
from rvos.score.ablation import COARSE, REFINED
from rvos.score.results import ExpressionResult
from rvos.stages.run_folder import keep_wandb_id, wandb_id

# The keys of tables that are not of the run's rule alone.
_TABLES = {"per_expression": "expressions", "units": "units", "rules": "rules"}


@contextmanager
def told_what_to_do() -> Iterator[None]:
    """Makes an InputError of what W&B refuses, and of W&B that is not installed."""
    try:
        from wandb.errors import CommError, UsageError
    except ImportError:
        raise InputError("logger=wandb: not installed: pip install 'rvos[wandb]'") from None
    try:
        yield
    except (CommError, UsageError) as error:
        raise InputError(
            f"logger=wandb: {error}\nLog in with `wandb login`, or set "
            "WANDB_MODE=offline and `wandb sync` later"
        ) from None
    except ValidationError as error:  # of its settings, which it reads of the environment, too
        wrong = error.errors()[0]
        key = str(wrong["loc"][0])
        raise InputError(
            f"logger=wandb: {key} (WANDB_{key.upper()}): {wrong['msg']}, got {wrong['input']!r}"
        ) from None


def check_account() -> None:
    """Raises InputError where a run could not be logged."""
    with told_what_to_do():
        import wandb

        wandb.login()


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
    `report=none`. Without an account: WANDB_MODE=offline. Raises InputError where W&B refuses.
    """
    import wandb

    evaluated = Run.read(folder)
    with told_what_to_do():
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
        metrics, rule = evaluated.metrics, evaluated.metrics.refine["name"]
        logged: dict[str, Any] = dict(scores(metrics))
        for name, table in tables_of(metrics, evaluated.results).items():
            key = _TABLES.get(name, f"{name}/{rule}")
            logged[key] = wandb.Table(columns=table.columns, data=table.rows)
        if metrics.thresholds:
            rows = in_order(metrics.thresholds)
            title = f"Thresholds of {rows[0].settings['presence']} on {rule}"
            answers = {score: [row.answers[score] for row in rows] for score in CURVES}
            known: dict[str, Any] = {k: v for k, v in answers.items() if v[0] is not None}
            logged[f"presence_curve/{rule}"] = _curve(
                wandb, title, "presence.threshold", rows, known
            )
        if metrics.agrees:
            # off stands at 0, which keeps no window either
            rows = sorted(metrics.agrees, key=lambda row: row.settings["agree"] or 0.0)
            JF = {"J&F": [row.summary.JF for row in rows]}
            title = f"Guard refine.agree of {rule}"
            logged[f"agree_curve/{rule}"] = _curve(wandb, title, "refine.agree", rows, JF)
        if (folder / "ablation.png").is_file():
            logged[f"heat_map/{rule}"] = wandb.Image(str(folder / "ablation.png"))
        if isinstance(page, Page):
            overlays = _overlays(evaluated, page)
            logged["overlays"] = [wandb.Image(image, caption=text) for image, text in overlays]
        run.log(logged)
        return run.id
    finally:
        run.finish()


def scores(metrics: Metrics) -> dict[str, float]:
    """By W&B key: `refined/JF`, `coarse/JF`, `gain/JF`, ..., `extra/tIoU`, ..."""
    result: dict[str, float] = {}
    before, after = metrics.coarse.summary.as_dict(), metrics.refined.summary.as_dict()
    for score in SCORES:
        short = score.replace("&", "")
        result[f"refined/{short}"] = after[score]
        result[f"coarse/{short}"] = before[score]
        result[f"gain/{short}"] = after[score] - before[score]
    for kind, masks in (("refined", metrics.refined), ("coarse", metrics.coarse)):
        result |= {f"{kind}/{name}": value for name, value in answers_of(masks).items()}
        if (jumps := masks.jumps.per_100_pairs) is not None:
            result[f"{kind}/identity_jumps"] = jumps
    return result | {
        f"extra/{key}": value for key, value in metrics.extra.items() if value is not None
    }


def _curve(
    wandb: Any, title: str, key: str, rows: Sequence[Row], scores: Mapping[str, Sequence[float]]
) -> Any:
    """Scores by name over the setting `key` of the rows, in percent."""
    return wandb.plot.line_series(
        xs=[row.settings[key.partition(".")[2]] or 0.0 for row in rows],
        ys=[[100 * value for value in values] for values in scores.values()],
        keys=list(scores),
        title=title,
        xname=key,
    )


def _overlays(run: Run, page: Page) -> list[tuple[np.ndarray, str]]:
    """(pixels, caption) of coarse, refined and ground truth, one above the other."""
    chosen = changes(run.JF(COARSE), run.JF(REFINED))[: page.strips]
    drawn = {}
    for name in run.videos:
        if rows := [i for i in chosen if run.expressions[i].video == name]:
            video = run.video(name)
            for i in rows:
                key = run.expressions[i].expression_id
                strip = strip_of(run, video, key, frames=page.frames, width=page.width)
                drawn[i] = np.vstack(list(strip.rows.values()))
    return [(drawn[i], _caption(run.expressions[i])) for i in chosen]


def _caption(result: ExpressionResult) -> str:
    change = 100 * (result.refined.JF - result.coarse.JF)
    return f"{result.video} {result.expression_id}: {result.expression} ({change:+.1f})"
