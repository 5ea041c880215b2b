"""Sine embeddings of positions in sentences and feature maps, and padding masks of feature maps.

Source: DETR's sine embedding as MUTR uses it (`models/position_encoding.py`): temperature 10000,
scale 2 pi. The order of the float32 operations matters: in rows and columns of padding alone, the
argument is about -3e6, so that rounding determines its sine, and this value reaches valid pixels
through the convolutions of the pixel decoder.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 10000
EPS = 1e-6


def _sine_embedding(steps: Tensor, dim: int) -> Tensor:
    """steps (...) float32 -> (..., dim): sine on even channels, cosine on odd ones."""
    channel = torch.arange(dim, dtype=torch.float32, device=steps.device)
    period = TEMPERATURE ** (2 * (channel // 2) / dim)
    angle = steps[..., None] / period
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=-1).flatten(-2)


def sine_words(padding: Tensor, dim: int) -> Tensor:
    """Embedding (E, L, dim) float32 of token positions; padding (E, L) bool.

    Of a sentence of n tokens the first has the position 2 pi / n and the last 2 pi.
    """
    steps = (~padding).cumsum(1, dtype=torch.float32)
    return _sine_embedding(steps / (steps[:, -1:] + EPS) * (2 * math.pi), dim)


def sine_map(padding: Tensor, dim: int) -> Tensor:
    """Embedding (B, h * w, dim) float32 of map positions; padding (B, h, w) bool.

    The first half of the channels embeds y, the second half x.
    """
    valid = ~padding
    y = valid.cumsum(1, dtype=torch.float32)  # (B, h, w)
    x = valid.cumsum(2, dtype=torch.float32)
    y = (y - 0.5) / (y[:, -1:, :] + EPS) * (2 * math.pi)
    x = (x - 0.5) / (x[:, :, -1:] + EPS) * (2 * math.pi)
    return torch.cat([_sine_embedding(z, dim // 2) for z in (y, x)], dim=-1).flatten(1, 2)


def resize_padding(padding: Tensor, size: tuple[int, int]) -> Tensor:
    """Padding (B, H, W) bool at another size: (B, h, w) bool, by nearest neighbour."""
    return F.interpolate(padding[None].float(), size=size)[0].bool()
