"""Which checkpoint a training goes on from; torch is not imported, so that this is said at once."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rvos.errors import InputError
from rvos.masks import read_json
from rvos.stages.run_folder import as_written, check_folder, read_settings, reading

log = logging.getLogger(__name__)
CHECKPOINTS = "checkpoints"  # in the run folder
METRICS = "metrics.json"  # is written last: it says that the run finished
RESULTS = (METRICS, CHECKPOINTS)


@dataclass(frozen=True)
class _Ended:
    """What is read of the metrics of a run that has ended; there is more."""

    steps: int
    epochs: int


_ENDED = TypeAdapter(_Ended)


def resume_from(
    ckpt_path: str | None, folder: Path, runs: Path, *, folder_is_fixed: bool = True
) -> Path | None:
    """The checkpoint to go on with. `last`: that of `folder`, else of the newest run in `runs`.

    A job that SLURM has requeued goes on by itself. Raises InputError when there is none, when
    `folder` holds a checkpoint that a new start would overwrite, and for a requeued job that got
    another folder than before (`folder_is_fixed` is false).
    """
    last = folder / CHECKPOINTS / "last.ckpt"
    requeued = int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0
    if ckpt_path is None and requeued and not folder_is_fixed:
        raise InputError(
            "SLURM has requeued this job, and without output_dir=... it gets a new run folder: it "
            "would start anew. Submit it with output_dir=..., and go on now with ckpt_path=last"
        )
    if ckpt_path is None and last.is_file():
        if requeued:
            return last
        raise InputError(
            f"output_dir {folder} holds checkpoints; go on with ckpt_path=last, or "
            "choose another folder"
        )
    if ckpt_path != "last":
        return None if ckpt_path is None else _checkpoint(Path(ckpt_path))
    if last.is_file():
        return last
    checkpoints = sorted(
        runs.glob(f"*/{CHECKPOINTS}/last.ckpt"),
        key=lambda path: (path.stat().st_mtime, path),  # equal in copies: folders are named by time
    )
    if not checkpoints:
        raise InputError(f"ckpt_path=last: no {CHECKPOINTS}/last.ckpt in {folder} nor in {runs}/*")
    return checkpoints[-1]


def _checkpoint(path: Path) -> Path:
    """The same, if it is a file."""
    if path.is_file():
        return path
    last = path / CHECKPOINTS / "last.ckpt"
    if last.is_file():
        todo = f"a run folder; give ckpt_path={last}, or output_dir={path} ckpt_path=last"
    else:
        what = "a folder without checkpoints" if path.is_dir() else "no such file"
        todo = f"{what}; expected RUN/{CHECKPOINTS}/last.ckpt of a run of train.py"
    raise InputError(f"ckpt_path: {path}: {todo}")


def finished(resume: Path, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The metrics of the run that `resume` is the end of, if it leaves nothing to do; else None.

    It does not where the run ended by itself within the present limits of the trainer. Raises
    InputError where `folder` holds that run with other settings.
    """
    run, limits = resume.parent.parent, settings["trainer"]
    if resume.name != "last.ckpt" or not (run / METRICS).is_file():
        return None
    with reading(run / METRICS, "without it, the run goes on: delete it"):
        metrics, before = read_json(run / METRICS), read_settings(run)
        done = as_written(_ENDED, metrics)
        same = all(
            before.get("config", {}).get("trainer", {}).get(key) == limits.get(key)
            for key in ("max_epochs", "max_steps", "max_time")
        )
    steps, epochs = limits.get("max_steps", -1), limits.get("max_epochs")
    reached = 0 <= steps <= done.steps or 0 <= (epochs or -1) <= done.epochs
    if not same and not reached:
        return None
    if run.resolve() == folder.resolve():
        check_folder(folder, dict(settings), inputs=before.get("inputs", {}), results=RESULTS)
    log.info(
        "nothing left to do: %s ended after %d steps. To train on, raise trainer.max_epochs or "
        "trainer.max_steps",
        run,
        done.steps,
    )
    return metrics
