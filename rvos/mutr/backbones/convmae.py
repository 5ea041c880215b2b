"""ConvMAE (Gao et al., 2022) with a plain ViT as third stage, as ViTDet runs it (Li et al., 2022).

Two convolutional stages at strides 4 and 8, then attention at stride 16: in windows of 14 x 14
or over the whole map, with decomposed relative positions.
"""

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from rvos.mutr.backbones.base import Backbone

WINDOW = 14
PRETRAINED_GRID = 14  # positions per side of the absolute position embedding (224 / 16)
RELATIVE_GRID = 40  # positions per side that global blocks have relative positions for (640 / 16)
EPS = 1e-6  # of the norms inside the blocks
# name: widths, blocks per stage, heads, global blocks of the third stage, drop path rate
SIZES = {
    "convmae_base": ((256, 384, 768), (2, 2, 11), 12, (1, 4, 7, 10), 0.2),
    "convmae_large": ((384, 768, 1024), (2, 2, 23), 16, (4, 10, 16, 22), 0.3),
}


class PatchEmbed(nn.Module):
    """Strided convolution that makes one token of `size` x `size` positions; LayerNorm, GELU."""

    def __init__(self, in_dim: int, dim: int, size: int):
        super().__init__()
        self.proj = nn.Conv2d(in_dim, dim, size, stride=size)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(F, C, h, w) -> (F, C', h / size, w / size)."""
        return F.gelu(self.norm(self.proj(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class ConvMlp(nn.Module):
    """Feed-forward network of a `ConvBlock`: 1x1 convolutions, hidden width 4 C."""

    def __init__(self, dim: int):
        super().__init__()
        self.fc1 = nn.Conv2d(dim, 4 * dim, 1)
        self.fc2 = nn.Conv2d(4 * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class ConvBlock(nn.Module):
    """A transformer block whose attention is a depthwise 5 x 5 convolution."""

    def __init__(self, dim: int, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.conv1 = nn.Conv2d(dim, dim, 1)
        self.attn = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.conv2 = nn.Conv2d(dim, dim, 1)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = ConvMlp(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(F, C, h, w) -> (F, C, h, w)."""
        mixed = self.conv2(self.attn(self.conv1(self._norm(self.norm1, x))))
        x = x + self.drop_path(mixed)
        return x + self.drop_path(self.mlp(self._norm(self.norm2, x)))

    @staticmethod
    def _norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
        return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class RelativeAttention(nn.Module):
    """Self-attention of a map with a learned bias per row distance and per column distance."""

    def __init__(self, dim: int, num_heads: int, grid: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        distances, head_dim = 2 * grid - 1, dim // num_heads
        self.rel_pos_h = nn.Parameter(torch.zeros(distances, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(distances, head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """(F, h, w, C) -> (F, h, w, C)."""
        h, w = x.shape[1:3]
        qkv = rearrange(self.qkv(x), "f h w (n m d) -> n f m (h w) d", n=3, m=self.num_heads)
        query, key, value = qkv
        maps = rearrange(query, "f m (h w) d -> f m h w d", h=h)
        rows = einsum(maps, _distances(self.rel_pos_h, h), "f m h w d, h k d -> f m h w k")
        columns = einsum(maps, _distances(self.rel_pos_w, w), "f m h w d, w k d -> f m h w k")
        bias = rows[..., :, None] + columns[..., None, :]  # (F, M, h, w, h, w)
        bias = rearrange(bias, "f m h w y x -> f m (h w) (y x)")
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(rearrange(out, "f m (h w) d -> f h w (m d)", h=h))


def _distances(table: Tensor, size: int) -> Tensor:
    """table (2 grid - 1, d) -> (size, size, d): entry of every query and key position.

    A table of another size is interpolated linearly.
    """
    if len(table) != 2 * size - 1:
        resized = F.interpolate(table.T[None], size=2 * size - 1, mode="linear")
        table = resized[0].T
    position = torch.arange(size, device=table.device)
    return table[position[:, None] - position + size - 1]


class Block(nn.Module):
    """A transformer block of the third stage, pre-norm.

    `window`: side of the attention's windows in positions; 0: attention over the whole map.
    """

    def __init__(self, dim: int, num_heads: int, window: int, drop_path: float):
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = RelativeAttention(dim, num_heads, window or RELATIVE_GRID)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, 4 * dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(F, h, w, C) -> (F, h, w, C)."""
        seen = self._windows(self.norm1(x)) if self.window else self.attn(self.norm1(x))
        x = x + self.drop_path(seen)
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _windows(self, x: Tensor) -> Tensor:
        frames, height, width, _ = x.shape
        side = self.window
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows = x.shape[1] // side
        x = rearrange(x, "f (i y) (j x) c -> (f i j) y x c", y=side, x=side)
        x = rearrange(self.attn(x), "(f i j) y x c -> f (i y) (j x) c", f=frames, i=rows)
        return x[:, :height, :width]


class ConvMAE(Backbone):
    """Two convolutional stages, a ViT, and its output pooled to stride 32.

    Frames are not padded: the stride-4 map has floor(H / 4) rows.
    """

    def __init__(self, name: str, *, checkpointing: bool):
        super().__init__(checkpointing=checkpointing)
        dims, depths, num_heads, everywhere, drop_path = SIZES[name]
        self.channels = (*dims, dims[-1])
        self.body = nn.Module()
        body = self.body
        body.patch_embed1 = PatchEmbed(3, dims[0], 4)
        body.patch_embed2 = PatchEmbed(dims[0], dims[1], 2)
        body.patch_embed3 = PatchEmbed(dims[1], dims[2], 2)
        body.patch_embed4 = nn.Linear(dims[2], dims[2])
        body.pos_embed = nn.Parameter(torch.zeros(1, PRETRAINED_GRID**2, dims[2]))
        nn.init.trunc_normal_(body.pos_embed, std=0.02)
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        body.blocks1 = nn.ModuleList(ConvBlock(dims[0], r) for r in rates[: depths[0]])
        body.blocks2 = nn.ModuleList(
            ConvBlock(dims[1], r) for r in rates[depths[0] : depths[0] + depths[1]]
        )
        body.blocks3 = nn.ModuleList(
            Block(dims[2], num_heads, 0 if i in everywhere else WINDOW, r)
            for i, r in enumerate(rates[-depths[2] :])
        )
        body.norm3 = nn.LayerNorm(dims[2], eps=EPS)
        body.norm4 = nn.LayerNorm(dims[2], eps=EPS)

    def forward(self, frames: Tensor) -> list[Tensor]:
        body = self.body
        x = body.patch_embed1(frames.flatten(0, 1))
        features = []
        for block in body.blocks1:
            x = self.run(block, x)
        features.append(x)
        x = body.patch_embed2(x)
        for block in body.blocks2:
            x = self.run(block, x)
        features.append(x)
        x = body.patch_embed4(body.patch_embed3(x).permute(0, 2, 3, 1))  # (F, h, w, C)
        x = x + self._positions(tuple(x.shape[1:3]))
        for block in body.blocks3:
            x = self.run(block, x)
        features.append(body.norm3(x).permute(0, 3, 1, 2))
        features.append(F.max_pool2d(body.norm4(x).permute(0, 3, 1, 2), 2))
        return features

    def _positions(self, size: tuple[int, int]) -> Tensor:
        """(1, h, w, C): the learned grid, resized to the map (bicubic)."""
        grid = rearrange(self.body.pos_embed, "1 (h w) c -> 1 c h w", h=PRETRAINED_GRID)
        if size != (PRETRAINED_GRID, PRETRAINED_GRID):
            grid = F.interpolate(grid, size=size, mode="bicubic")
        return grid.permute(0, 2, 3, 1)
