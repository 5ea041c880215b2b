"""A loss that shows a small network early where the target is: ours, in training only.

The losses of MUTR reach the layers where text meets video through the encoder, the decoder and the
mask head. That is a long way for a network that has to learn from few clips which of two equal
objects "moves left". Here a linear layer asks every position right after the early fusion, and
again after the encoder, which share of it the target covers. The layers are no part of the model.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rvos.mutr import MUTR
from rvos.mutr.losses import LossOutput, Targets

STRIDES = (8, 16, 32)  # the levels that are asked


class Hints(nn.Module):
    """`weight` times binary cross-entropy, summed over levels and frames, mean over positions."""

    def __init__(self, model: MUTR, weight: float):
        super().__init__()
        self.weight = weight
        dim = model.level_embed.shape[-1]
        self.heads = nn.ModuleList(nn.Linear(dim, 1) for _ in range(2 * len(STRIDES)))
        for head in self.heads:
            nn.init.constant_(head.bias, -2.0)  # most positions are not on the target
        self._fused: list[Tensor] = []  # per level (B, T h w, C), of the last forward pass
        self._encoded: list[Tensor] = []  # per level (B T, h w, C)
        self._sizes: list[tuple[int, int]] = []  # (h, w) per level
        model.fusion.register_forward_hook(self._keep_fused)
        model.encoder.register_forward_hook(self._keep_encoded)

    def _keep_fused(self, module: nn.Module, arguments: Any, output: Tensor) -> None:
        if module.training:
            self._fused.append(output)

    def _keep_encoded(self, module: nn.Module, arguments: Any, output: Tensor) -> None:
        if module.training:
            self._sizes = list(arguments[3])
            self._encoded = list(output.split([h * w for h, w in self._sizes], dim=1))

    def add_to(self, loss: LossOutput, targets: Targets) -> LossOutput:
        """The loss of the last forward pass with that of the hints, a sum over clips like it."""
        masks = rearrange(targets.masks, "b t h w -> (b t) 1 h w").to(loss.total.dtype)
        total = torch.zeros_like(loss.total)
        for level in range(len(STRIDES)):
            h, w = self._sizes[level]
            shares = F.adaptive_avg_pool2d(masks, (h, w)).flatten(1)  # (B T, h w)
            fused = rearrange(self._fused[level], "b (t hw) c -> (b t) hw c", hw=h * w)
            for i, tokens in enumerate((fused, self._encoded[level])):
                logits = self.heads[2 * level + i](tokens)[..., 0].to(masks.dtype)  # (B T, h w)
                bce = F.binary_cross_entropy_with_logits(logits, shares, reduction="none")
                total = total + bce.mean(1).sum()
        self._fused, self._encoded = [], []
        parts = loss.parts | {"loss_hints": total.detach()}
        return replace(loss, total=loss.total + self.weight * total, parts=parts)
