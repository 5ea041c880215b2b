"""Losses of the matched queries (MUTR, models/criterion.py), for any batch.

Sums over the batch are divided by the number of frames that show their object, which the caller
gives: only the caller knows the whole batch that makes one optimizer step. Frames without the
object train the box towards zero and the mask towards empty. A clip that never shows the object has
no matched query: only its classification loss counts, with all queries as negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from rvos.mutr.boxes import cxcywh_to_xyxy, generalized_iou
from rvos.mutr.features import LevelPredictions
from rvos.mutr.loss_weights import Weights
from rvos.mutr.matching import Targets, dice, focal, match

__all__ = ["LossOutput", "MutrLoss", "Targets"]


@dataclass(frozen=True)
class LossOutput:
    """The loss of one batch, its parts, and the query that each clip was matched to."""

    total: Tensor  # scalar, weighted sum of all parts and levels
    parts: dict[str, Tensor]  # loss_{ce,bbox,giou,mask,dice}[_level], unweighted, detached
    query: Tensor  # (D, B) int64, -1: no object


class MutrLoss(Weights):
    """Weighted sum over decoder levels; the same weights match queries to objects.

    The arguments are the keys of conf/loss. Raises SettingsError listing every weight that makes
    no sense.
    """

    def __call__(
        self, predictions: LevelPredictions, targets: Targets, num_valid: Tensor | float
    ) -> LossOutput:
        """num_valid: frames with their object in the batch of one optimizer step; at least 1.

        With B clips on each of R devices and gradients averaged over devices: the number over all
        devices divided by R.
        """
        with torch.autocast(predictions.logits.device.type, enabled=False):
            query = match(predictions, targets, self)
            levels = self._per_level(predictions, targets, query)
            if isinstance(num_valid, Tensor):
                normaliser: Tensor | float = num_valid.clamp(min=1)
            else:
                normaliser = max(num_valid, 1.0)
            levels = {name: values / normaliser for name, values in levels.items()}
        total = sum(getattr(self, name) * values.sum() for name, values in levels.items())
        last = len(query) - 1
        parts = {
            f"loss_{name}" + ("" if level == last else f"_{level}"): value
            for name, values in levels.items()
            for level, value in enumerate(values.detach())
        }
        assert isinstance(total, Tensor)
        return LossOutput(total, parts, query)

    def _per_level(
        self, predictions: LevelPredictions, targets: Targets, query: Tensor
    ) -> dict[str, Tensor]:
        """Sums over the batch: {name: (D,)}."""
        levels, batch = torch.meshgrid(
            *(torch.arange(size, device=query.device) for size in query.shape), indexing="ij"
        )
        matched = (query >= 0).float()  # (D, B)
        index = (levels, batch, slice(None), query.clamp(min=0))
        boxes = predictions.boxes[index]  # (D, B, T, 4)
        target_boxes = targets.boxes.to(boxes.dtype).expand_as(boxes)
        giou = generalized_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(target_boxes))
        logits = predictions.mask_logits[index]  # (D, B, T, h, w)
        masks = targets.subsampled(tuple(logits.shape[-2:]))
        logits = rearrange(logits, "d b t h w -> d b (t h w)")
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        volume = rearrange(masks, "b t h w -> b (t h w)").to(logits.dtype).expand_as(logits)
        return {
            "ce": self._classification(predictions.logits, targets.valid, query),
            "bbox": ((boxes - target_boxes).abs().sum((-1, -2)) * matched).sum(1),
            "giou": ((1 - giou).sum(-1) * matched).sum(1),
            "mask": (focal(logits, volume).mean(-1) * matched).sum(1),
            "dice": ((1 - dice(logits, volume)) * matched).sum(1),
        }

    @staticmethod
    def _classification(logits: Tensor, valid: Tensor, query: Tensor) -> Tensor:
        """Focal loss of every query in every frame, summed: (D,).

        logits (D, B, N, K): the same in all frames. Positive is class 0 of the matched query in
        the frames that show the object.
        """
        num_queries, num_classes = logits.shape[-2:]
        chosen = F.one_hot(query.clamp(min=0), num_queries) * (query >= 0)[..., None]  # (D, B, N)
        positive = chosen[:, :, None] * valid[:, :, None].long()  # (D, B, T, N)
        target = positive[..., None] * F.one_hot(positive.new_zeros(()), num_classes)
        expanded = logits[:, :, None].expand(target.shape)
        expanded = expanded.to(torch.promote_types(logits.dtype, torch.float32))
        return focal(expanded, target.to(expanded.dtype)).sum((1, 2, 3, 4))
