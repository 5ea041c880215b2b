"""Box formats and overlaps. `boxes_xyxy`: corners; `boxes_cxcywh`: centre, width, height."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

EPS = 1e-6  # of IoU and gIoU, numerator and denominator (MUTR, util/box_ops.py)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) -> (..., 4), same unit."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return _join(centre - size / 2, centre + size / 2)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(..., 4) -> (..., 4), same unit."""
    first, last = boxes[..., :2], boxes[..., 2:]
    return _join((first + last) / 2, last - first)


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """gIoU of boxes_xyxy a (..., 4) and b (..., 4), elementwise with broadcasting: (...).

    Rezatofighi et al., CVPR 2019: IoU minus the share of the hull that neither box covers.
    """
    inter = _area(a[..., :2].maximum(b[..., :2]), a[..., 2:].minimum(b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - inter
    hull = _area(a[..., :2].minimum(b[..., :2]), a[..., 2:].maximum(b[..., 2:]))
    return (inter + EPS) / (union + EPS) - (hull - union + EPS) / (hull + EPS)


def _area(first: Tensor, last: Tensor) -> Tensor:
    return (last - first).clamp(min=0).prod(-1)


def _join(left: Tensor, right: Tensor) -> Tensor:
    import torch

    return torch.cat((left, right), -1)
