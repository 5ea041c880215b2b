"""What every backbone has, and the switch between keeping and recomputing activations."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Backbone(nn.Module, ABC):
    channels: tuple[int, int, int, int]  # of the maps of strides 4, 8, 16, 32

    def __init__(self, *, checkpointing: bool):
        super().__init__()
        self.checkpointing = checkpointing

    @abstractmethod
    def forward(self, frames: Tensor) -> list[Tensor]:
        """frames (B, T, 3, H, W) -> [(B T, C_i, h_i, w_i)] of strides 4, 8, 16, 32."""

    def index_buffers(self) -> dict[str, Tensor]:
        """Constants that official files hold and this module does not: own name -> tensor."""
        return {}

    def run(self, block: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """block(x), activations inside dropped and computed again if checkpointing."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, use_reentrant=False)
        return block(x)
