"""Which query stands for the object: one per clip and decoder level, the one of least cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from rvos import InputError
from rvos.boxes import cxcywh_to_xyxy, generalized_iou
from rvos.mutr.features import LevelPredictions
from rvos.mutr.mask_head import STRIDE

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss (Lin et al., ICCV 2017), as in MUTR


@dataclass(frozen=True)
class Weights:
    """Shares of the parts of cost and loss. The official options are equal for both."""

    ce: float
    bbox: float
    giou: float
    mask: float
    dice: float


@dataclass(frozen=True)
class Targets:
    """One object per clip, the union of all that the expression refers to."""

    masks: Tensor  # (B, T, H, W) bool, padded like the frames
    boxes: Tensor  # (B, T, 4) cx, cy, w, h in 0..1 of the clip's own size; zero if not valid
    valid: Tensor  # (B, T) bool: the object is in the frame

    def thinned(self, size: tuple[int, int]) -> Tensor:
        """Masks (B, T, h, w) bool at stride 4: rows and columns 2, 6, 10, ..."""
        start = STRIDE // 2
        masks = self.masks[..., start::STRIDE, start::STRIDE]
        if masks.shape[-2:] != size:
            raise InputError(
                f"target masks of {tuple(self.masks.shape[-2:])} pixels do not fit predictions of"
                f" {tuple(size)} at stride {STRIDE}: pad frames and masks to multiples of 32"
            )
        return masks

    @property
    def has_object(self) -> Tensor:
        """(B,) bool."""
        return self.valid.bool().any(1)


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid focal loss of every element."""
    prob = logits.sigmoid()
    ce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missed = prob * (1 - targets) + (1 - prob) * targets  # 1 - probability of the truth
    share = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return share * ce * missed**GAMMA


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Soft dice coefficient (0..1) over the last axis, +1 above and below."""
    prob = logits.sigmoid()
    return (2 * (prob * targets).sum(-1) + 1) / (prob.sum(-1) + targets.sum(-1) + 1)


@torch.no_grad()
def match(predictions: LevelPredictions, targets: Targets, weights: Weights) -> Tensor:
    """-> query (D, B) int64; -1 for a clip without an object in any frame.

    Classes of a clip are the same in all frames. Boxes are compared in all frames, those without
    the object against the zero box; masks as one volume (MUTR, models/matcher.py).
    """
    prob = predictions.logits[..., 0].float().sigmoid()  # (D, B, N)
    eps = 1e-8
    positive = ALPHA * (1 - prob) ** GAMMA * -(prob + eps).log()
    negative = (1 - ALPHA) * prob**GAMMA * -(1 - prob + eps).log()
    boxes, wanted = predictions.boxes.float(), targets.boxes[:, :, None].float()  # (B, T, 1, 4)
    l1 = (boxes - wanted).abs().sum(-1).mean(2)  # (D, B, N)
    giou = generalized_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(wanted)).mean(2)
    logits = rearrange(predictions.mask_logits.float(), "d b t n h w -> d b n (t h w)")
    masks = targets.thinned(tuple(predictions.mask_logits.shape[-2:])).to(logits.dtype)
    volume = rearrange(masks, "b t h w -> b 1 (t h w)")
    cost = (
        weights.ce * (positive - negative)
        + weights.bbox * l1
        - weights.giou * giou
        + weights.mask * focal(logits, volume.expand_as(logits)).mean(-1)
        - weights.dice * dice(logits, volume)
    )
    return cost.argmin(-1).masked_fill(~targets.has_object, -1)
