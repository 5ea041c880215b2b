"""J and F as a metric of torchmetrics, for a training or a validation loop.

    metric = JaccardAndF()
    metric.update(logits > 0, masks)  # (T, H, W) of one video, or (B, T, H, W) of several
    metric.compute()                  # {"J": ..., "F": ..., "J&F": ...}, over all processes

Needs torch and torchmetrics, which come with Lightning.
"""

from typing import Any

import torch
from torchmetrics import Metric

from rvos.errors import InputError
from rvos.score.contour import TOLERANCE
from rvos.score.pairs import check_tolerance, j_and_f


class JaccardAndF(Metric):
    """Means over videos of the means over their frames, as MeViS averages over expressions.

    `tolerance` is that of `j_and_f`. The sums are in double precision, on the metric's device;
    processes add theirs up. The scores are computed on the CPU.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    sums: torch.Tensor  # (2,) J, F
    count: torch.Tensor  # () videos

    def __init__(self, *, tolerance: float = TOLERANCE, **of_metric: Any):
        super().__init__(**of_metric)
        check_tolerance(tolerance)
        self.tolerance = tolerance
        zeros = torch.zeros(2, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add videos: bool or whole numbers, (T, H, W) or (B, T, H, W); foreground is not 0."""
        for name, masks in (("preds", preds), ("target", target)):
            if masks.is_floating_point() or masks.ndim not in (3, 4) or masks.shape[-3] == 0:
                raise InputError(
                    f"{name}: expected bool or whole numbers (T, H, W) or (B, T, H, W), got "
                    f"{masks.dtype} of shape {tuple(masks.shape)}; compare logits with a threshold"
                )
        if preds.shape != target.shape:
            shapes = f"{tuple(preds.shape)} and {tuple(target.shape)}"
            raise InputError(f"expected preds and target of one shape, got {shapes}")
        videos = (x.detach().cpu().numpy().reshape(-1, *x.shape[-3:]) for x in (target, preds))
        for truth, prediction in zip(*videos, strict=True):  # (T, H, W) each
            J, F = j_and_f(truth, prediction, tolerance=self.tolerance)
            self.sums += torch.tensor([J.mean(), F.mean()], device=self.sums.device)
            self.count += 1

    def compute(self) -> dict[str, torch.Tensor]:
        """J, F and J&F in 0..1, float64 each; NaN before the first video."""
        J, F = self.sums / self.count
        return {"J": J, "F": F, "J&F": (J + F) / 2}
