"""Sine positions of words and of feature maps, and padding masks at the size of a feature map.

Source: DETR's sine embedding as MUTR uses it (`models/position_encoding.py`): temperature 10000,
scale 2 pi. The order of the float32 operations matters: in rows and columns that are padding all
over, the argument is about -3e6, so its sine is defined by rounding, and it reaches valid pixels
through the convolutions of the pixel decoder.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 10000
EPS = 1e-6


def _waves(steps: Tensor, dim: int) -> Tensor:
    """steps (...) float32 -> (..., dim): sine on even channels, cosine on odd ones."""
    channel = torch.arange(dim, dtype=torch.float32, device=steps.device)
    period = TEMPERATURE ** (2 * (channel // 2) / dim)
    angle = steps[..., None] / period
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=-1).flatten(-2)


def sine_words(padding: Tensor, dim: int) -> Tensor:
    """padding (E, L) bool -> (E, L, dim) float32; the first word stands at 1 / L * 2 pi."""
    steps = (~padding).cumsum(1, dtype=torch.float32)
    return _waves(steps / (steps[:, -1:] + EPS) * (2 * math.pi), dim)


def sine_map(padding: Tensor, dim: int) -> Tensor:
    """padding (B, h, w) bool -> (B, h * w, dim) float32: half of the channels y, then half x."""
    valid = ~padding
    y = valid.cumsum(1, dtype=torch.float32)  # (B, h, w)
    x = valid.cumsum(2, dtype=torch.float32)
    y = (y - 0.5) / (y[:, -1:, :] + EPS) * (2 * math.pi)
    x = (x - 0.5) / (x[:, :, -1:] + EPS) * (2 * math.pi)
    return torch.cat((_waves(y, dim // 2), _waves(x, dim // 2)), dim=-1).flatten(1, 2)


def resize_padding(padding: Tensor, size: tuple[int, int]) -> Tensor:
    """padding (B, H, W) bool -> (B, h, w) bool, nearest neighbour."""
    return F.interpolate(padding[None].float(), size=size)[0].bool()
