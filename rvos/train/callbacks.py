"""Checkpoints that survive every kind of end, and how fast training goes."""

import logging
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, ModelCheckpoint
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from rvos.masks import write_json
from rvos.train.clips import Clip
from rvos.train.datamodule import ClipSampler
from rvos.train.segmenter import NotFinite
from rvos.train.settings import AfterSteps, EverySteps, Last, check_best
from rvos.weights.tensors import write_content

log = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint so that it is whole or not there.

    (Lightning's own goes by the system's temporary folder, from where a move is a copy.)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        write_content(Path(path), checkpoint)


class BestCheckpoint(ModelCheckpoint):
    """`dirpath/<filename>.ckpt` of the best validation: Lightning's, for one file of one name.

    Raises InputError as `check_best`.
    """

    def __init__(self, **keys: Any):
        check_best(**keys)
        super().__init__(**keys)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What was the best stays so where the run has moved, or goes on in another folder.

        (Lightning would take the first validation there for the best.) Where its file is gone, the
        best is looked for anew.
        """
        before = Path(state_dict["best_model_path"])
        moved = Path(self.dirpath or ".") / before.name
        if best := next((str(path) for path in (before, moved) if path.is_file()), None):
            score = state_dict["best_model_score"]
            only = {"best_k_models": {best: score}, "kth_best_model_path": best, "kth_value": score}
            here = {"dirpath": self.dirpath, "best_model_path": best}
            same = state_dict["dirpath"] == self.dirpath and best == str(before)
            super().load_state_dict(state_dict if same else state_dict | here | only)


class AtSteps(Callback, ABC):
    """What is done after each optimizer step, however many forward passes make one."""

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Clip,
        batch_idx: int,
    ) -> None:
        passes, is_last = batch_idx + 1, batch_idx + 1 == trainer.num_training_batches
        if is_last or passes % trainer.accumulate_grad_batches == 0:
            self.on_step(trainer, pl_module)

    @abstractmethod
    def on_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """An optimizer step is done."""


class LastCheckpoint(AtSteps, Checkpoint):
    """`dirpath/last.ckpt`: every few optimizer steps, before each validation, and at the end.

    On Ctrl-C and SIGTERM (and SLURM's SIGUSR1) the current optimizer step is finished, the
    checkpoint is written and the process ends with status 128 + signal; after SIGUSR1 the SLURM job
    is requeued. Ctrl-C ends a validation at once, and a second Ctrl-C ends the process at once.
    A checkpoint is only ever written between two optimizer steps, so nothing is done twice or left
    out when it is resumed, except for a validation that Ctrl-C ended. A NaN loss writes
    `not_finite_rank<r>.json` and stops. `rvos.train.run.fit` gives the signals back.
    """

    def __init__(self, **keys: Any):
        settings = Last(**keys)
        self.path = Path(settings.dirpath) / "last.ckpt"
        self.every_n_steps = settings.every_n_steps
        self.signal: int | None = None
        self._stop = False  # the checkpoint is written, and training ends when that can be logged
        self._may_end = False  # at once, since no optimizer step is under way
        self._saved_step = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning's handlers, registered before, would stop in the middle of an optimizer step.
        signals = [signal.SIGINT, signal.SIGTERM]
        signals += [signal.SIGUSR1] * ("SLURM_JOB_ID" in os.environ)
        for number in signals:
            signal.signal(number, partial(self._remember, trainer))

    def _remember(self, trainer: pl.Trainer, number: int, frame: FrameType | None) -> None:
        self.signal = number
        if number != signal.SIGINT:
            return
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self._may_end:
            self._end(trainer)
        if trainer.is_global_zero:
            todo = "this step is finished and saved; Ctrl-C again ends at once, without that"
            print(f"\nStopping: {todo}", file=sys.stderr, flush=True)

    def on_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        stop = trainer.strategy.reduce_boolean_decision(self.signal is not None, all=False)
        if stop or trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)
        self._stop = stop

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Clip, batch_idx: int
    ) -> None:
        if self._stop:  # only now: the last step has been logged
            self._end(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        self._between_steps(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._may_end = False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._between_steps(trainer)

    def _between_steps(self, trainer: pl.Trainer) -> None:
        self._save(trainer)
        self._may_end = True
        if self.signal == signal.SIGINT:
            self._end(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if self._saved_step != trainer.global_step:
            trainer.save_checkpoint(self.path, weights_only=False)  # the optimizer's state too
            self._saved_step = trainer.global_step

    def _end(self, trainer: pl.Trainer) -> None:
        if self.signal == signal.SIGUSR1 and trainer.is_global_zero:
            subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)
        environment = getattr(trainer.strategy, "cluster_environment", None)
        if isinstance(environment, LightningEnvironment):  # Lightning started the other processes
            if not trainer.is_global_zero:
                raise SystemExit(0)  # it kills the first process when another one ends badly
            if self._may_end:  # the others may not know of the signal
                trainer.strategy.launcher.kill(signal.SIGKILL)
        raise SystemExit(128 + (self.signal or signal.SIGTERM))

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, NotFinite):
            place = {"epoch": trainer.current_epoch, "step": trainer.global_step}
            clips = [
                {
                    "clips": list(clip["identities"]),
                    "frame_idx": clip["frame_idx"].tolist(),
                    "loss": str(float(clip["loss"])),
                }
                for clip in exception.clips
            ]
            file = self.path.parent.parent / f"not_finite_rank{trainer.global_rank}.json"
            write_json(file, place | {"forward_passes": clips})


class Speed(AtSteps):
    """Logs how fast training goes: clips per second of all devices, and peak GPU memory in GiB.

    Also the share of the time, 0..1, spent waiting for the loader and for everything else between
    two batches: an upper bound.
    """

    def __init__(self, **keys: Any):
        self.every_n_steps = EverySteps(**keys).every_n_steps

    def _restart(self) -> None:
        self._started = self._left = time.perf_counter()
        self._waited, self._clips = 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restart()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Clip, batch_idx: int
    ) -> None:
        self._waited += time.perf_counter() - self._left
        self._clips += len(batch) * trainer.world_size

    def on_train_batch_end(self, *arguments: Any) -> None:
        self._left = time.perf_counter()
        super().on_train_batch_end(*arguments)

    def on_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            elapsed = self._left - self._started
            values = {
                "train/clips_per_second": self._clips / elapsed,
                "train/loader_wait_share": self._waited / elapsed,
            }
            if pl_module.device.type == "cuda":
                peak = torch.cuda.max_memory_allocated(pl_module.device)
                values["train/gpu_memory_gib"] = peak / 2**30
            pl_module.log_dict(values)
            self._restart()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restart()


class TimeLeft(AtSteps):
    """Says once, after so many optimizer steps, how many hours the others take at that speed.

    The first step, which is slower, does not count; nor do validations, which come on top.
    """

    def __init__(self, **keys: Any):
        self.after_steps = AfterSteps(**keys).after_steps

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first = trainer.global_step + 1
        self._started: float | None = None

    def on_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done = trainer.global_step - self._first
        if done == 0:
            self._started = time.perf_counter()
        elif done + 1 == self.after_steps and self._started is not None:
            each = (time.perf_counter() - self._started) / done
            steps = trainer.estimated_stepping_batches - trainer.global_step
            if trainer.is_global_zero and steps < float("inf"):
                log.info(
                    "%.3g s a step: about %.3g hours left for %d steps, without validations",
                    *(each, each * steps / 3600, steps),
                )


class Shares(AtSteps):
    """Logs the share (0..1) of each source of a joint training in the clips of the epoch so far."""

    def __init__(self, **keys: Any):
        self.every_n_steps = EverySteps(**keys).every_n_steps

    def on_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        due = trainer.global_step % self.every_n_steps == 0
        if due and isinstance(sampler, ClipSampler) and sampler.sources:
            shares = sampler.shares().items()
            pl_module.log_dict({f"train/share/{name}": share for name, share in shares})
