"""The functions of davis2017-evaluation (davis2017/metrics.py), and so of MeViS' tools/metrics.py.

They have the same signatures and give the same values to the last bit, so that a program needs no
change but its import:

    from rvos.score.davis import db_eval_boundary, db_eval_iou

Masks are arrays; what is not 0 is foreground. Raises InputError where shapes do not fit.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rvos.errors import InputError
from rvos.score.contour import TOLERANCE
from rvos.score.pairs import boundary_f, jaccard


def db_eval_iou(
    annotation: ArrayLike, segmentation: ArrayLike, void_pixels: ArrayLike | None = None
) -> Any:
    """J of masks (..., H, W): an array of the leading shape, or a float for (H, W)."""
    masks = _alike(annotation=annotation, segmentation=segmentation, void_pixels=void_pixels)
    leading = masks[0].shape[:-2]
    if masks[0].ndim > 3:  # (..., H, W) -> (T, H, W)
        masks = [mask.reshape(-1, *mask.shape[-2:]) for mask in masks]
    J = jaccard(masks[0], masks[1], void=masks[2] if len(masks) > 2 else None)
    return J.reshape(leading) if leading else J


def db_eval_boundary(
    annotation: ArrayLike,
    segmentation: ArrayLike,
    void_pixels: ArrayLike | None = None,
    bound_th: float = TOLERANCE,
) -> Any:
    """F of masks (T, H, W) or (H, W): (T,) float64 or a float.

    Outlines match within `bound_th`: a share of the frame's diagonal, rounded up to pixels, or
    pixels from 1 on.
    """
    masks = _alike(annotation=annotation, segmentation=segmentation, void_pixels=void_pixels)
    if masks[0].ndim not in (2, 3):
        raise InputError(f"annotation: expected (T, H, W) or (H, W), got {masks[0].shape}")
    void = masks[2] if len(masks) > 2 else None
    return boundary_f(masks[0], masks[1], void=void, tolerance=bound_th)


def f_measure(
    foreground_mask: ArrayLike,
    gt_mask: ArrayLike,
    void_pixels: ArrayLike | None = None,
    bound_th: float = TOLERANCE,
) -> float:
    """F of one mask (H, W) and its truth."""
    masks = _alike(foreground_mask=foreground_mask, gt_mask=gt_mask, void_pixels=void_pixels)
    if masks[0].ndim != 2:
        raise InputError(f"foreground_mask: expected (H, W), got {masks[0].shape}")
    return db_eval_boundary(gt_mask, foreground_mask, void_pixels, bound_th)


def _alike(**given: ArrayLike | None) -> list[Any]:
    """Arrays of one shape, those given. Raises InputError."""
    arrays = {name: np.asarray(mask) for name, mask in given.items() if mask is not None}
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InputError(f"expected masks of one shape, got {shapes}")
    return list(arrays.values())
