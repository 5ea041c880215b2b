"""Deformable encoder: the positions of all feature levels of one frame attend to each other."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rvos.mutr.attention import FeedForward
from rvos.mutr.deform_attn import DeformableAttention, Sizes


@dataclass(frozen=True)
class Pyramid:
    """Geometry of the levels, the same for all frames of a clip. S = sum of h * w."""

    sizes: tuple[tuple[int, int], ...]  # (h, w) of each level
    positions: Tensor  # (B, S, C)
    padding: Tensor | None  # (B, S) bool; None: no padding anywhere
    valid_ratio: Tensor  # (B, L, 2): share of the map's width and height that is not padding

    def reference_points(self) -> Tensor:
        """Centre of every position on the map of every level: (B, S, L, 2), x and y in 0..1."""
        centres = []
        for level, (h, w) in enumerate(self.sizes):
            ratio = self.valid_ratio[:, None, level]  # (B, 1, 2)
            like = {"dtype": ratio.dtype, "device": ratio.device}
            y, x = torch.meshgrid(
                torch.linspace(0.5, h - 0.5, h, **like),
                torch.linspace(0.5, w - 0.5, w, **like),
                indexing="ij",
            )
            xy = torch.stack((x, y), -1).flatten(0, 1)  # (h w, 2)
            centres.append(xy / (ratio * ratio.new_tensor([w, h])))
        return torch.cat(centres, 1)[:, :, None] * self.valid_ratio[:, None]


class EncoderLayer(nn.Module):
    """Deformable self-attention over the levels of one frame, then feed-forward; post-norm."""

    def __init__(self, attention: DeformableAttention, dim: int, ffn_dim: int, dropout: float):
        super().__init__()
        self.attention = attention
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim, dropout)

    def forward(
        self, x: Tensor, positions: Tensor, reference: Tensor, sizes: Sizes, padding: Tensor | None
    ) -> Tensor:
        """x (F, S, C), positions (F or 1, S, C), reference (F or 1, S, L, 2) -> (F, S, C)."""
        attended = self.attention(x + positions, reference, x, sizes, padding)
        return self.ffn(self.norm(x + self.dropout(attended)))


class Encoder(nn.Module):
    """The deformable encoder: every frame alone, after early fusion with the words.

    `checkpointing`: the backward pass recomputes the activations inside each layer.
    """

    def __init__(self, layers: list[EncoderLayer], *, checkpointing: bool):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.checkpointing = checkpointing

    def forward(
        self, x: Tensor, positions: Tensor, reference: Tensor, sizes: Sizes, padding: Tensor | None
    ) -> Tensor:
        """Frames of all clips x (F, S, C) -> memory (F, S, C).

        positions (F or 1, S, C) and reference (F or 1, S, L, 2) of `Pyramid`; padding (F or 1, S).
        """
        for layer in self.layers:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, positions, reference, sizes, padding, use_reentrant=False)
            else:
                x = layer(x, positions, reference, sizes, padding)
        return x
