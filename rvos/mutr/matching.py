"""Matching of queries and objects: per clip and decoder level the query with the lowest cost.

There is one object per clip, so the Hungarian matching of DETR becomes an argmin.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from rvos.errors import InputError
from rvos.mutr.boxes import cxcywh_to_xyxy, generalized_iou
from rvos.mutr.features import LevelPredictions
from rvos.mutr.loss_weights import Weights
from rvos.mutr.mask_head import STRIDE

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss (Lin et al., ICCV 2017), as in MUTR


@dataclass(frozen=True)
class Targets:
    """One object per clip: the union of all objects to which the expression refers."""

    masks: Tensor  # (B, T, H, W) bool, padded like the frames
    boxes: Tensor  # (B, T, 4) cx, cy, w, h in 0..1 of the clip's own size; zero if not valid
    valid: Tensor  # (B, T) bool: the object is in the frame

    def subsampled(self, size: tuple[int, int]) -> Tensor:
        """Masks (B, T, h, w) bool at stride 4: rows and columns 2, 6, 10, ...

        Raises InputError where they do not have the `size` (h, w) of the predictions.
        """
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
        """Whether any frame of a clip shows the object: (B,) bool."""
        return self.valid.bool().any(1)


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Sigmoid focal loss of every element: any shape -> the same shape; targets are 0 or 1."""
    prob = logits.sigmoid()
    ce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    one_minus_p_t = prob * (1 - targets) + (1 - prob) * targets  # p_t: probability of the target
    alpha_t = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return alpha_t * ce * one_minus_p_t**GAMMA


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Soft Dice coefficient (0..1) over the last axis, smoothed by 1 in both terms of the ratio."""
    prob = logits.sigmoid()
    return (2 * (prob * targets).sum(-1) + 1) / (prob.sum(-1) + targets.sum(-1) + 1)


@torch.no_grad()
def match(predictions: LevelPredictions, targets: Targets, weights: Weights) -> Tensor:
    """Matched query (D, B) int64; -1 for a clip that never shows the object.

    The class cost is that of the clip. Boxes are compared in all frames, in frames without the
    object with the zero box; the masks of a clip are compared as one volume (models/matcher.py).
    """
    prob = predictions.logits[..., 0].float().sigmoid()  # (D, B, N)
    eps = 1e-8
    positive = ALPHA * (1 - prob) ** GAMMA * -(prob + eps).log()
    negative = (1 - ALPHA) * prob**GAMMA * -(1 - prob + eps).log()
    boxes, target = predictions.boxes.float(), targets.boxes[:, :, None].float()  # (B, T, 1, 4)
    l1 = (boxes - target).abs().sum(-1).mean(2)  # (D, B, N)
    giou = generalized_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(target)).mean(2)
    logits = rearrange(predictions.mask_logits.float(), "d b t n h w -> d b n (t h w)")
    masks = targets.subsampled(tuple(predictions.mask_logits.shape[-2:])).to(logits.dtype)
    volume = rearrange(masks, "b t h w -> b 1 (t h w)")
    cost = (
        weights.ce * (positive - negative)
        + weights.bbox * l1
        - weights.giou * giou
        + weights.mask * focal(logits, volume.expand_as(logits)).mean(-1)
        - weights.dice * dice(logits, volume)
    )
    return cost.argmin(-1).masked_fill(~targets.has_object, -1)
