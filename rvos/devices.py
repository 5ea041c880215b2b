"""Work that is shared out over the devices of a Lightning trainer, one process each."""

import atexit
import signal
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import distributed

from rvos import InputError

Work = Callable[[int, int, str], Any]  # rank, world size, device


class _OnEveryDevice(pl.LightningModule):
    def __init__(self, work: Work):
        super().__init__()
        self.work = work
        self.errors: list[str] = []

    def on_predict_start(self) -> None:
        end_on_sigterm(self.trainer)

    def predict_dataloader(self) -> list[int]:
        return [0]  # one step per process

    def predict_step(self, batch: Any) -> bool:
        try:
            self.result = self.work(self.global_rank, self.trainer.world_size, str(self.device))
        except InputError as error:  # the others do their share before all report it
            self.errors.append(str(error))
        return True  # Lightning warns of None


def on_every_device(trainer: pl.Trainer, work: Work) -> Any:
    """Call `work` once in every process of the trainer, wait until all have finished, and return
    what it returned in this one. An InputError of any process is then raised in all."""
    if trainer.progress_bar_callback is not None:
        trainer.progress_bar_callback.disable()  # the work shows its own
    module = _OnEveryDevice(work)
    with torch.inference_mode(False):
        trainer.predict(module, return_predictions=False)
    if errors := gather(module.errors):
        raise InputError("\n".join(dict.fromkeys(errors)))
    return module.result


def end_on_sigterm(trainer: pl.Trainer) -> None:
    """SIGTERM ends a predict loop, and the processes that this one started, at once: Lightning
    takes note of it but looks only while it trains. What is finished stays valid."""

    def end(number: int, frame: Any) -> None:
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(number)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


def close_group_at_exit() -> None:
    """Close the process group before Python ends: Gloo's threads may still hold tensors then and
    abort the process (pytorch/pytorch #179291). Lightning does so for NCCL only."""

    def close() -> None:
        if distributed.is_initialized():
            distributed.destroy_process_group()

    atexit.register(close)


def gather(messages: list[str]) -> list[str]:
    """The messages of all processes, in each of them, after every one has come here."""
    if not distributed.is_initialized():
        return messages
    close_group_at_exit()
    of_all: list[list[str]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(of_all, messages)
    return [message for of_one in of_all for message in of_one]
