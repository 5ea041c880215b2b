"""What train.py checks before the first step and writes after the last one."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import WandbLogger

from rvos import InputError, list_problems
from rvos.masks import write_json
from rvos.mutr import MUTR
from rvos.mutr.checkpoint import load_weights, read_state, save_official
from rvos.segmenter import Segmenter

log = logging.getLogger(__name__)
CHECKPOINTS = "checkpoints"  # in the run folder
WEIGHTS = "mutr.pth"  # the best weights, in the official format
METRICS = "metrics.json"  # last: says that the run finished


def check_devices(accelerator: str, devices: int | str | Sequence[int]) -> None:
    """Raises InputError where `auto` would quietly train on fewer or other devices than asked."""
    several = isinstance(devices, int) and devices > 1
    if accelerator == "auto" and several and not torch.cuda.is_available():
        raise InputError(
            f"trainer.devices={devices}: this machine has no GPU. Use trainer.devices=1, or say "
            f"trainer.accelerator=cpu to train in {devices} processes on the CPU"
        )
    if accelerator in ("auto", "gpu", "cuda") and several:
        there = torch.cuda.device_count()
        if int(str(devices)) > there:
            raise InputError(f"trainer.devices={devices}: this machine has {there} GPU(s)")


def resume_from(ckpt_path: str | None, folder: Path, runs: Path) -> Path | None:
    """The checkpoint to go on with. `last`: that of `folder`, else of the newest run in `runs`.

    A job that SLURM has requeued goes on by itself. Raises InputError when there is none, and when
    `folder` holds a checkpoint that a new start would overwrite.
    """
    own = folder / CHECKPOINTS / "last.ckpt"
    if ckpt_path is None and own.is_file():
        if int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0:
            return own
        raise InputError(
            f"output_dir {folder} holds checkpoints; go on with ckpt_path=last, or "
            "choose another folder"
        )
    if ckpt_path != "last":
        if ckpt_path is not None and not Path(ckpt_path).is_file():
            raise InputError(f"ckpt_path: {ckpt_path}: no such file")
        return None if ckpt_path is None else Path(ckpt_path)
    if own.is_file():
        return own
    found = sorted(runs.glob(f"*/{CHECKPOINTS}/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise InputError(f"ckpt_path=last: no {CHECKPOINTS}/last.ckpt in {folder} nor in {runs}/*")
    return found[-1]


def check_fits(path: Path, segmenter: Segmenter) -> None:
    """Raises InputError if the checkpoint is of another model (read without its contents)."""
    there = {name: tuple(value.shape) for name, value in read_state(path).items()}
    expected = {name: tuple(value.shape) for name, value in segmenter.model.state_dict().items()}
    problems = [
        f"{name}: {there.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}"
        for name in sorted(there.keys() | expected.keys())
        if there.get(name) != expected.get(name)
    ]
    if problems:
        raise InputError(
            list_problems(f"ckpt_path {path}: a checkpoint of another model; tensors", problems)
        )


def check_loggers(trainer: pl.Trainer) -> None:
    """Starts W&B where it is used. Raises InputError without account and network."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            # Images of tables stay in the run folder until they are synchronised.
            os.environ.setdefault("WANDB_DATA_DIR", str(Path(logger.save_dir or ".") / "wandb"))
            from wandb.errors import CommError, UsageError

            try:
                _ = logger.experiment
            except (CommError, UsageError) as error:
                raise InputError(
                    f"logger=wandb: {error}\nLog in with `wandb login`, or set "
                    "WANDB_MODE=offline and `wandb sync` later"
                ) from None


def finish(trainer: pl.Trainer, model: MUTR, folder: Path) -> dict[str, Any]:
    """Rank zero: writes the best weights (the last ones, if nothing was validated) in the official
    format and the last metrics; returns these."""
    best = folder / CHECKPOINTS / "best.ckpt"
    source = best if best.is_file() else folder / CHECKPOINTS / "last.ckpt"
    load_weights(model.cpu(), source)
    save_official(model, folder / WEIGHTS)
    values = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
    metrics = {
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "weights_of": source.name,
        "last": values,
    }
    write_json(folder / METRICS, metrics)
    return metrics
