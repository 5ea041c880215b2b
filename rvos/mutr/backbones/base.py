"""The interface of all backbones, and the choice between keeping and recomputing activations."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Backbone(nn.Module, ABC):
    """A network that turns frames into four feature maps, of strides 4, 8, 16 and 32.

    `checkpointing`: the backward pass recomputes the activations inside each block.
    """

    channels: tuple[int, int, int, int]  # of the maps of strides 4, 8, 16, 32

    def __init__(self, *, checkpointing: bool):
        super().__init__()
        self.checkpointing = checkpointing

    @abstractmethod
    def forward(self, frames: Tensor) -> list[Tensor]:
        """frames (B, T, 3, H, W) -> [(B T, C_i, h_i, w_i)] of strides 4, 8, 16, 32."""

    def index_buffers(self) -> dict[str, Tensor]:
        """Constants that official files hold and this module does not: {own name: tensor}."""
        return {}

    def run(self, block: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Output of `block(x)`; with checkpointing, its activations are recomputed when needed."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, use_reentrant=False)
        return block(x)
