"""MUTR + losses + optimizer: what Lightning trains.

The loss of an optimizer step is a sum over its whole global batch, divided by the number of frames
that show their target. That number is known only after the last forward pass of the last device,
so every pass contributes undivided sums, and the gradients are divided once, before clipping. The
same global batch therefore takes the same step on one device and on four.
"""

import sys
from typing import Any, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from rvos.mutr import MUTR
from rvos.mutr.losses import LossOutput, MutrLoss, Targets
from rvos.train.clips import Clip
from rvos.train.datamodule import DataModule, recount_passes
from rvos.train.hints import Hints
from rvos.train.optim import Optim


class NotFinite(RuntimeError):
    """The loss or its gradient became NaN or infinite, in these forward passes of this process."""

    def __init__(self, what: str, clips: list[dict[str, Any]]):
        super().__init__(f"the {what} is not finite; forward passes of this step: {clips}")
        self.clips = clips


class VideoScorer(Protocol):
    """What scores whole videos during training, such as `validation.VideoScores`."""

    def __call__(self, model: MUTR, trainer: pl.Trainer) -> dict[str, float]:
        """Scores of whole videos, over all ranks."""


class Segmenter(pl.LightningModule):
    """MUTR in training.

    `seed` is that of dropout. With `compile`, torch.compile takes the parts that need most of the
    time. `score_videos` is called in each validation with the weights that are validated (those of
    the average, if one is kept). `hints` is the weight of `Hints`; 0 leaves them out, as upstream.
    """

    def __init__(
        self,
        model: MUTR,
        loss: MutrLoss,
        optim: Optim,
        *,
        seed: int,
        compile: bool,
        score_videos: VideoScorer | None = None,
        hints: float = 0,
    ):
        super().__init__()
        self.model = model
        self.loss, self.optim, self.seed = loss, optim, seed
        self.score_videos = score_videos
        self.hints = Hints(model, hints) if hints else None
        if compile:  # in place: names of weights stay as they are
            for part in (model.backbone, model.encoder, model.pixel_decoder):
                part.compile()
        self._train, self._val = LossSums(), LossSums()

    # One step

    def on_train_batch_start(self, batch: Clip, batch_idx: int) -> None:
        """Seed dropout by (seed, rank, epoch, batch): a resumed run draws the same."""
        place = [self.seed, self.global_rank, self.current_epoch, batch_idx]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, clip: Clip, batch_idx: int) -> Tensor:
        loss = self._loss(clip)
        if self.hints is not None:
            loss = self.hints.add_to(loss, _targets(clip))
        self._train.add(clip, loss)
        return loss.total

    def _loss(self, clip: Clip) -> LossOutput:
        """Sums over the clips, not yet divided by the number of valid frames."""
        predictions = self.model.forward_clips(clip.frames, clip.padding, list(clip.expressions))
        return self.loss(predictions, _targets(clip), num_valid=1)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        losses, num_valid = self._train.means(self.trainer)
        if not torch.isfinite(losses["loss"]):
            raise NotFinite("loss", self._train.clips)
        # Lightning has divided by the passes of a step, and DDP by the number of devices.
        passes = self.trainer.accumulate_grad_batches * self.trainer.world_size
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, passes / num_valid)
        # Else the step would ruin all weights. With float16 the scaler leaves out such steps.
        scaled = self.trainer.precision == "16-mixed"
        if not scaled and not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            raise NotFinite("gradient", self._train.clips)
        self._train.reset()
        self.log_dict({f"train/{name}": value for name, value in losses.items()})
        for group in optimizer.param_groups:
            self.log(f"train/lr/{group['name']}", group["lr"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on at the same clip, whatever number of devices the checkpoint was made with."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if isinstance(data, DataModule):
            step_size = data.batch_size * self.trainer.world_size
            recount_passes(
                checkpoint, step_size=step_size, global_batch_size=data.global_batch_size
            )

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As Lightning's, and logs the norm before clipping."""
        by_norm = gradient_clip_val is not None and gradient_clip_algorithm in (None, "norm")
        largest = gradient_clip_val if by_norm and gradient_clip_val else float("inf")
        self.log("train/grad_norm", torch.nn.utils.clip_grad_norm_(self.parameters(), largest))
        if gradient_clip_val and not by_norm:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self.optim.optimizer(self.model)
        if self.hints is not None:
            parameters = list(self.hints.parameters())
            optimizer.add_param_group({"name": "hints", "params": parameters, "lr": self.optim.lr})
        schedule = LambdaLR(optimizer, self._rate_factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _rate_factor(self, step: int) -> float:
        # Before training starts the number of batches is infinite, and the first epoch endless.
        # (Asking Lightning to count them earlier makes it forget where the loader was to resume.)
        num_batches = min(self.trainer.num_training_batches, sys.maxsize)
        return self.optim.factor(step, -(-num_batches // self.trainer.accumulate_grad_batches))

    # Validation

    def on_validation_epoch_start(self) -> None:
        # Lightning calls the module after the callbacks: averaged weights are in place here.
        if self.score_videos is None or self.trainer.sanity_checking:
            return
        with self.trainer.precision_plugin.val_step_context():
            scores = self.score_videos(self.model, self.trainer)
        self.log_dict({f"val/{name}": value for name, value in scores.items()}, batch_size=1)

    def validation_step(self, clip: Clip, batch_idx: int) -> None:
        self._val.add(clip, self._loss(clip))

    def on_validation_epoch_end(self) -> None:
        if self._val:
            losses, _ = self._val.means(self.trainer)
            self.log_dict({f"val/{name}": value for name, value in losses.items()}, batch_size=1)
        self._val.reset()


def _targets(clip: Clip) -> Targets:
    return Targets(clip.masks, clip.boxes_cxcywh_norm, clip.valid)


class LossSums:
    """Sums of losses and valid frames over the forward passes since the last reset."""

    def __init__(self) -> None:
        self.reset()

    def __bool__(self) -> bool:
        return bool(self.clips)

    def reset(self) -> None:
        self._names: list[str] = []
        self._sums: Tensor | None = None  # (1 + parts + 1,): total, parts, valid frames
        self.clips: list[dict[str, Any]] = []  # which clips, for the message about a NaN

    def add(self, clip: Clip, loss: LossOutput) -> None:
        total = loss.total.detach()
        sums = torch.stack([total, *loss.parts.values(), clip.valid.sum().to(total)])
        self._names = ["loss", *loss.parts]
        self._sums = sums if self._sums is None else self._sums + sums
        self.clips.append(
            {"identities": clip.identities, "frame_idx": clip.frame_idx, "loss": total}
        )

    def means(self, trainer: pl.Trainer) -> tuple[dict[str, Tensor], Tensor]:
        """Losses per valid frame over all ranks, and the number of valid frames (at least 1)."""
        sums = trainer.strategy.reduce(self._sums, reduce_op="sum")
        num_valid = sums[-1].clamp(min=1)
        return dict(zip(self._names, sums[:-1] / num_valid, strict=True)), num_valid
