"""Lightning callbacks of tests: two end training amid a step, one notes the clips."""

import json
import multiprocessing
import os
import signal
import subprocess
import time

from pytorch_lightning.callbacks import Callback

from rvos.train.callbacks import LastCheckpoint


class SendSignal(Callback):
    """Sends signal `name` to this process and its loader's workers, as SLURM does, at the start of
    forward pass `after` (counted over the epochs)."""

    def __init__(self, name: str, after: int):
        self.number, self.left = getattr(signal, name), after

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.left -= 1
        if self.left == 0:
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, self.number)
            os.kill(os.getpid(), self.number)


class SendInValidation(Callback):
    """Sends SIGINT to this process alone, in the first validation after the first step."""

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if trainer.global_step and trainer.is_global_zero:
            os.kill(os.getpid(), signal.SIGINT)


class SendTwice(SendSignal):
    """The signal, and at once again."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if self.left == 0:
            os.kill(os.getpid(), self.number)


class AtTimeLimit(Callback):
    """Lets the time limit of the SLURM job come: SLURM then sends what `--signal` says, to all
    processes. At the start of forward pass `after` of the first start the limit is moved to
    `seconds` from now, and this process waits for the signal."""

    def __init__(self, after: int, seconds: int):
        self.left, self.seconds = after, seconds

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.left -= 1
        first = not int(os.environ.get("SLURM_RESTART_COUNT", 0))
        if self.left == 0 and trainer.is_global_zero and first:
            limit = [f"JobId={os.environ['SLURM_JOB_ID']}", f"EndTime=now+{self.seconds}"]
            subprocess.run(["scontrol", "update", *limit], check=True)
            (last,) = (c for c in trainer.callbacks if isinstance(c, LastCheckpoint))
            deadline = time.monotonic() + self.seconds
            while last.signal is None:
                assert time.monotonic() < deadline, "no signal before the time limit"
                time.sleep(0.05)


class NoteClips(Callback):
    """Appends the clips that this process has trained on, one a line, to `file` + its rank."""

    def __init__(self, file: str):
        self.file = file

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        with open(f"{self.file}{trainer.global_rank}", "a") as file:
            for identity, frames in zip(batch.identities, batch.frame_idx.tolist(), strict=True):
                print(json.dumps([*identity, frames]), file=file)
