"""Swin Transformer from timm's parts, with the official order of padding and shifting."""

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import (
    SwinTransformer,
    SwinTransformerBlock,
    window_partition,
    window_reverse,
)
from torch import Tensor, nn

from rvos.mutr.backbones.base import Backbone

WINDOW = 7
# name: width, blocks per stage, heads per stage, drop path rate
SIZES = {
    "swin_t": (96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2),
    "swin_s": (96, (2, 2, 18, 2), (3, 6, 12, 24), 0.2),
    "swin_b": (128, (2, 2, 18, 2), (4, 8, 16, 32), 0.3),
    "swin_l": (192, (2, 2, 18, 2), (6, 12, 24, 48), 0.3),
}


class Block(SwinTransformerBlock):
    """timm's block, but it pads the map before it shifts it, as the official model does."""

    def _attn(self, x: Tensor) -> Tensor:
        """x (F, h, w, C) -> (F, h, w, C)."""
        _, height, width, channels = x.shape
        x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        padded = x.shape[1:3]
        down, right = self.shift_size
        x = x.roll((-down, -right), (1, 2))
        windows = window_partition(x, self.window_size).flatten(1, 2)
        windows = self.attn(windows, mask=self.get_attn_mask(x))
        windows = windows.unflatten(1, self.window_size)
        x = window_reverse(windows, self.window_size, *padded)
        return x.roll((down, right), (1, 2))[:, :height, :width].contiguous()


class Swin(Backbone):
    """Swin Transformer with windows of 7 x 7; frames are padded to multiples of 4 pixels."""

    def __init__(self, name: str, *, checkpointing: bool):
        super().__init__(checkpointing=checkpointing)
        width, depths, heads, drop_path = SIZES[name]
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        self.body = SwinTransformer(
            embed_dim=width,
            depths=depths,
            num_heads=heads,
            window_size=WINDOW,
            always_partition=True,  # windows never shrink
            strict_img_size=False,
            drop_path_rate=drop_path,
            num_classes=0,
        )
        del self.body.norm, self.body.head
        for module in self.body.modules():
            if isinstance(module, SwinTransformerBlock):
                module.__class__ = Block
                module.attn.fused_attn = True
        self.norms = nn.ModuleList(nn.LayerNorm(channel) for channel in self.channels)

    def forward(self, frames: Tensor) -> list[Tensor]:
        frames = frames.flatten(0, 1)
        height, width = frames.shape[-2:]
        x = self.body.patch_embed(F.pad(frames, (0, -width % 4, 0, -height % 4)))  # (F, h, w, C)
        features = []
        for stage, norm in zip(self.body.layers, self.norms, strict=True):
            x = stage.downsample(x)
            for block in stage.blocks:
                x = self.run(block, x)
            features.append(norm(x).permute(0, 3, 1, 2))
        return features

    def index_buffers(self) -> dict[str, Tensor]:
        """Relative position index (49, 49) of every block."""
        return {
            f"{name}.relative_position_index": module.relative_position_index
            for name, module in self.named_modules()
            if isinstance(getattr(module, "relative_position_index", None), torch.Tensor)
        }
