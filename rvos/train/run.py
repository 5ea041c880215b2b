"""A training from its parts: what is checked before the first step, the fit, what it leaves."""

import logging
import os
import re
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint, WeightAveraging
from pytorch_lightning.loggers import WandbLogger

from rvos import __version__
from rvos.coarse.settings import CoarseSettings
from rvos.errors import InputError, list_problems
from rvos.masks import write_json
from rvos.mutr import MUTR
from rvos.mutr.checkpoint import differing_tensors, load_weights, save_official
from rvos.mutr.losses import MutrLoss
from rvos.stages.run_folder import keep_wandb_id
from rvos.train.datamodule import DataModule
from rvos.train.joint import JointClips
from rvos.train.optim import Optim
from rvos.train.resume import CHECKPOINTS, METRICS
from rvos.train.segmenter import Segmenter
from rvos.train.settings import Options, Validation
from rvos.train.validation import VideoScores
from rvos.weights.tensors import read_content, state_of

log = logging.getLogger(__name__)
WEIGHTS = "mutr.pth"  # the best weights, in the official format
LOADER_ENDED = re.compile("DataLoader worker|Pin memory thread exited")  # in errors of PyTorch


@dataclass(frozen=True)
class Parts:
    """What a training consists of."""

    trainer: pl.Trainer
    data: DataModule
    model: MUTR
    loss: MutrLoss
    optim: Optim
    coarse: CoarseSettings
    validation: Validation
    options: Options


def open_data(parts: Parts) -> str | dict[str, str]:
    """Open the clips, whose words the model learns to read; returns what identifies them.

    Raises InputError for bad data, for a global batch that the devices cannot share, and where
    /dev/shm is too small.
    """
    trainer, data = parts.trainer, parts.data
    trainer.accumulate_grad_batches = data.accumulate_grad_batches(trainer.world_size)
    data.prepare_data()
    data.setup("fit")
    if trainer.local_rank == 0:
        data.check_shared_memory(trainer.num_devices)
    assert data.train_data is not None
    parts.model.add_words(data.train_data.texts)
    return data.train_data.meta_sha256


def make_segmenter(parts: Parts, *, max_videos: int | None, overlays: Path) -> Segmenter:
    """What Lightning trains. It scores the first `max_videos` videos of `data.split`, None: all.

    `overlays` is the folder for pictures of them.
    """
    split, truth = parts.data.open(parts.data.split)
    scores = VideoScores(
        split,
        truth,
        parts.coarse,
        max_videos=max_videos,
        num_overlays=parts.validation.num_overlays,
        folder=overlays,
    )
    return Segmenter(
        *(parts.model, parts.loss, parts.optim),
        **vars(parts.options),
        score_videos=scores,
    )


def plan(parts: Parts) -> str:
    """What is going to be trained on what, in words."""
    trainer, data = parts.trainer, parts.data
    clips = data.train_data
    assert clips is not None
    sources = ""
    if isinstance(clips, JointClips):
        parts_of = (f"{name} {n / len(clips):.1%}" for name, n in clips.counts.items())
        sources = f" ({', '.join(parts_of)})"
    return (
        f"rvos {__version__}: {len(clips)} clips{sources}, {trainer.world_size} device(s) x "
        f"{data.batch_size} clip(s) x {trainer.accumulate_grad_batches} passes a step"
        f"{_in_steps(trainer, len(clips) // data.global_batch_size)}"
    )


def _in_steps(trainer: pl.Trainer, per_epoch: int) -> str:
    """How many optimizer steps the trainer's limits allow; empty where there are none."""
    if isinstance(trainer.limit_train_batches, int):
        per_epoch = min(per_epoch, trainer.limit_train_batches // trainer.accumulate_grad_batches)
    limits = [trainer.max_steps] if trainer.max_steps >= 0 else []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        limits.append(trainer.max_epochs * per_epoch)
    return f", {min(limits)} steps, {per_epoch} an epoch" if limits else ""


def fit(parts: Parts, segmenter: Segmenter, folder: Path, *, resume: Path | None) -> float | None:
    """Train, and write what the run leaves; returns the last J&F (0..1), None without any.

    Where a signal ends it, the log says how to go on.
    """
    trainer, data = parts.trainer, parts.data
    with explained_loading(data.num_workers), _told_how_to_go_on(trainer, folder):
        if parts.validation.at_start and resume is None:
            trainer.validate(segmenter, data, verbose=False)
        trainer.fit(segmenter, data, ckpt_path=resume, weights_only=True)
        if resume is not None and not trainer.callback_metrics:  # stopped after its last step
            trainer.validate(segmenter, data, verbose=False)
        score = trainer.callback_metrics.get("val/JF")
        if trainer.is_global_zero and not trainer.fast_dev_run:
            metrics = finish(trainer, segmenter.model, folder)
            log.info(
                "finished after %d steps%s; %s holds the weights of %s",
                metrics["steps"],
                "" if score is None else f", last J&F {100 * float(score):.2f}",
                folder / WEIGHTS,
                metrics["weights_of"],
            )
    return None if score is None else float(score)


@contextmanager
def _told_how_to_go_on(trainer: pl.Trainer, folder: Path) -> Iterator[None]:
    """Say so where a signal ends the training; Ctrl-C ends what no callback looks after.

    The handlers of signals are as before when it is over.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, _end)  # Lightning's own way from KeyboardInterrupt loses all
    try:
        yield
    except SystemExit:
        last = folder / CHECKPOINTS / "last.ckpt"
        if not trainer.is_global_zero:
            pass
        elif trainer.global_step and last.is_file():
            log.warning(
                "stopped after step %d: %s is saved. To go on, add output_dir=%s ckpt_path=last to "
                "the same command",
                *(trainer.global_step, last, folder),
            )
        else:
            log.warning("stopped before the first step: nothing is saved")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def explained_loading(num_workers: int) -> Iterator[None]:
    """Make one InputError of what went wrong in, or with, a loader process.

    (PyTorch's handler of dead children raises anywhere, also while an error is being explained: the
    outer of the two explains that.)
    """
    with _explained_loading(num_workers), _explained_loading(num_workers):
        yield


@contextmanager
def _explained_loading(num_workers: int) -> Iterator[None]:
    try:
        yield
    except InputError as error:  # a worker's comes with its traceback as text
        raise InputError(str(error).rpartition(f"{type(error).__name__}: ")[2].strip()) from None
    except Exception as error:
        if _ends_amid_a_batch(error):
            error = RuntimeError(f"DataLoader worker ended amid a batch ({error!r})")
        elif not (isinstance(error, RuntimeError) and LOADER_ENDED.search(str(error))):
            raise
        cause = error.__cause__ if isinstance(error.__cause__, RuntimeError) else error
        raise InputError(
            f"{str(cause).partition('. ')[0].rstrip('. ')}. Its last message stands above; if "
            "there is none, memory most likely ran out (RAM, or the limit of the container or "
            "job), or open files (ulimit -n). Give it more, or use fewer loader processes than "
            f"data.num_workers={num_workers}, and go on with ckpt_path=last and the same output_dir"
        ) from None


def _ends_amid_a_batch(error: Exception) -> bool:
    """Whether a loader process was gone when PyTorch asked it for the parts of a batch.

    How that shows depends on the moment: EOFError, ConnectionError, OSError or RuntimeError (no
    file descriptor came), raised by multiprocessing beneath PyTorch's loader.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [str(frame.f_globals.get("__name__")) for frame in frames]
    handing_over = ("multiprocessing.", "torch.multiprocessing.")
    return "torch.utils.data.dataloader" in names and names[-1].startswith(handing_over)


def check_fits(path: Path, segmenter: Segmenter, trainer: pl.Trainer) -> None:
    """Raises InputError if `path` is no checkpoint of such a training: weights, another model."""
    try:
        content = read_content(path)
        state = state_of(content, path)
    except InputError as error:
        raise InputError(f"ckpt_path: {error}") from None
    if not {"optimizer_states", "loops"} <= content.keys():
        what = (
            "the optimizer's state is of another program, whose parameters have another order"
            if "optimizer" in content
            else "weights alone, without the optimizer's state"
        )
        raise InputError(
            f"ckpt_path {path}: {what}: no run that rvos can resume. Start a new one from these "
            f"weights with model.weights={path}"
        )
    averages = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)
    if "current_model_state" in content and not averages:
        raise InputError(
            f"ckpt_path {path}: that run keeps an average of its weights; add callbacks=ema"
        )
    shapes = {name: value.shape for name, value in segmenter.model.state_dict().items()}
    if problems := differing_tensors(state, shapes):
        raise InputError(
            list_problems(f"ckpt_path {path}: a checkpoint of another model; tensors", problems)
        )


def start_loggers(trainer: pl.Trainer, settings: dict[str, Any], folder: Path) -> None:
    """Log the settings; W&B starts here, where it is used, and `folder` keeps the id of its run.

    Raises InputError for W&B without account and network.
    """
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            _start_wandb(logger)
            keep_wandb_id(folder, str(logger.version))
        logger.log_hyperparams(settings)


def _start_wandb(logger: WandbLogger) -> None:
    from rvos.report.dashboard import told_what_to_do

    os.environ.setdefault("WANDB_DATA_DIR", _wandb_images(logger))
    with told_what_to_do():
        _ = logger.experiment


def finish_loggers(trainer: pl.Trainer) -> None:
    """End W&B's run, where there is one, also after an error."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            wandb.finish()
            if os.environ.get("WANDB_DATA_DIR") == _wandb_images(logger):
                del os.environ["WANDB_DATA_DIR"]  # the next job of a multirun has its own


def _wandb_images(logger: WandbLogger) -> str:
    """Where images of tables stay until they are synchronised: in the run folder."""
    return str(Path(logger.save_dir or ".") / "wandb")


def finish(trainer: pl.Trainer, model: MUTR, folder: Path) -> dict[str, Any]:
    """Write the best weights in the official format, and the last metrics, which are returned.

    The last weights are taken where nothing was validated. To be called on rank zero.
    """
    kept = [c.best_model_path for c in trainer.callbacks if isinstance(c, ModelCheckpoint)]  # type: ignore[attr-defined]
    files = [*map(Path, kept), folder / CHECKPOINTS / "best.ckpt"]
    last = folder / CHECKPOINTS / "last.ckpt"
    source = next((file for file in files if file.is_file()), last)
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
