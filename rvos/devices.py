"""Work that is shared out over the devices of a Lightning trainer, one process each."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch

Work = Callable[[int, int, str], None]  # rank, world size, device


class _OnEveryDevice(pl.LightningModule):
    def __init__(self, work: Work):
        super().__init__()
        self.work = work

    def predict_dataloader(self) -> list[int]:
        return [0]  # one step per process

    def predict_step(self, batch: Any) -> None:
        self.work(self.global_rank, self.trainer.world_size, str(self.device))


def on_every_device(trainer: pl.Trainer, work: Work) -> None:
    """Call `work` once in every process of the trainer; returns when all have finished."""
    if trainer.progress_bar_callback is not None:
        trainer.progress_bar_callback.disable()  # the work shows its own
    with torch.inference_mode(False):
        trainer.predict(_OnEveryDevice(work), return_predictions=False)
    trainer.strategy.barrier()
