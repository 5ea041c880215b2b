"""Lightning callbacks of test_train: one ends training amid a step, one notes the clips."""

import json
import multiprocessing
import os
import signal
import subprocess

from pytorch_lightning.callbacks import Callback


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


class SendUser1(Callback):
    """Lets SLURM send SIGUSR1 to all processes of its job, as it does before the time limit, at the
    start of forward pass `after` of the first start."""

    def __init__(self, after: int):
        self.left = after

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.left -= 1
        first = not int(os.environ.get("SLURM_RESTART_COUNT", 0))
        if self.left == 0 and trainer.is_global_zero and first:
            job = os.environ["SLURM_JOB_ID"]
            subprocess.run(["scancel", "--signal=USR1", job], check=True)


class NoteClips(Callback):
    """Appends the clips that this process has trained on, one a line, to `file` + its rank."""

    def __init__(self, file: str):
        self.file = file

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        with open(f"{self.file}{trainer.global_rank}", "a") as file:
            for identity, frames in zip(batch.identities, batch.frame_idx.tolist(), strict=True):
                print(json.dumps([*identity, frames]), file=file)
