"""What a training shows while it runs."""

import logging
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console

from rvos.stages.progress import SECONDS_BETWEEN_LINES

log = logging.getLogger(__name__)


class Progress(RichProgressBar):
    """A bar in a terminal; elsewhere a line in the log, at most once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = not Console().is_terminal
        if self._lines:
            self.disable()
        self._started, self._first_step, self._last_line = 0.0, 0, 0.0

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs
        total = f" of {epochs}" if epochs is not None and epochs > 0 else ""
        return f"Epoch {current_epoch + 1}{total}".ljust(len(self.validation_description))

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)  # the folder that CSVLogger counts
        return metrics

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._started = self._last_line = time.monotonic()
        self._first_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        super().on_train_batch_end(trainer, *arguments)
        now, steps = time.monotonic(), trainer.global_step - self._first_step
        due = now - self._last_line > SECONDS_BETWEEN_LINES
        if due and steps and self._lines and trainer.is_global_zero:
            self._last_line = now
            total = trainer.estimated_stepping_batches
            seconds = (now - self._started) / steps
            loss = trainer.callback_metrics.get("train/loss")
            log.info(
                "step %d of %s%s, %.3g s a step, %.0f min left",
                trainer.global_step,
                f"{total:g}",
                "" if loss is None else f", loss {float(loss):.3g}",
                seconds,
                (total - trainer.global_step) * seconds / 60,
            )

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        if self._lines and trainer.is_global_zero and not trainer.sanity_checking:
            log.info("validation after step %d", trainer.global_step)
