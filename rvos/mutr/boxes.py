"""Box formats and overlaps. xyxy: two corners; cxcywh: centre, width, height."""

import torch
from torch import Tensor

EPS = 1e-6  # of IoU and gIoU, numerator and denominator (MUTR, util/box_ops.py)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) as centre and size -> as corners (..., 4), in the same unit."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((centre - size / 2, centre + size / 2), -1)


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (...) of xyxy boxes a (..., 4) and b (..., 4), with broadcasting.

    Rezatofighi et al., CVPR 2019: IoU minus the share of the hull that the union does not cover.
    """
    inter = _area(a[..., :2].maximum(b[..., :2]), a[..., 2:].minimum(b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - inter
    hull = _area(a[..., :2].minimum(b[..., :2]), a[..., 2:].maximum(b[..., 2:]))
    return (inter + EPS) / (union + EPS) - (hull - union + EPS) / (hull + EPS)


def _area(first: Tensor, last: Tensor) -> Tensor:
    return (last - first).clamp(min=0).prod(-1)
