"""Cross-modal pixel decoder: encoder memory and the stride-4 map -> features for the masks.

From stride 32 to stride 4, each level: all frames look at each other (on a thinned grid), look at
the words, pass a feed-forward, are added to the coarser result and smoothed by a convolution.
Stride 4 does not see the text before it looks at the words: that much is shared by all expressions.
"""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rvos import InputError
from rvos.mutr.attention import Attention, FeedForward
from rvos.mutr.positions import resize_padding

Size = tuple[int, int]
THINNING = (8, 4, 2, 1)  # of the self-attention's grid at strides 4, 8, 16, 32


def as_maps(tokens: Tensor, size: Size) -> Tensor:
    """(B, T h w, C) or (B, T, h w, C) -> (B T, C, h, w), a view in channels-last layout."""
    h, w = size
    return tokens.reshape(-1, h, w, tokens.shape[-1]).permute(0, 3, 1, 2)


def as_tokens(maps: Tensor, batch: int) -> Tensor:
    """(B T, C, h, w) -> (B, T h w, C)."""
    return rearrange(maps, "(b t) c h w -> b (t h w) c", b=batch)


class CrossModalBlock(nn.Module):
    """Self-attention over all frames jointly, cross-attention to the words, feed-forward."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        dropout: float,
        thinning: int,
        *,
        checkpointing: bool,
    ):
        super().__init__()
        self.thinning = thinning
        self.self_attention = Attention(dim, num_heads, dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, num_heads, dropout)
        self.norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim, dropout, checkpointing=checkpointing)
        self.dropout = nn.Dropout(dropout)

    def look_around(
        self, x: Tensor, positions: Tensor, padding: Tensor | None, size: Size
    ) -> Tensor:
        """x (B, T h w, C), positions (B, h w, C), padding (B, h, w) -> (B, T h w, C)."""
        batch, (h, w) = len(x), size
        thin = (h // self.thinning, w // self.thinning)
        if not all(thin):
            least = self.thinning
            raise InputError(f"a map of {h}x{w} positions is too small: at least {least}x{least}")
        query = _add_positions(x, positions)
        value = x
        if self.thinning > 1:
            query, value = (
                as_tokens(F.interpolate(as_maps(tokens, size), size=thin), batch)
                for tokens in (query, value)
            )
        if padding is not None:
            padding = resize_padding(padding, thin).flatten(1)  # (B, h w), the same in all frames
            padding = padding.repeat(1, query.shape[1] // padding.shape[1])
        keys_values = self.self_attention.keys_values(query, value)
        seen = self.self_attention(query, keys_values, padding=padding)
        if self.thinning > 1:
            maps = F.interpolate(as_maps(seen, thin), size=size, mode="bilinear")
            seen = as_tokens(maps, batch)
        return self.self_norm(x + self.dropout(seen))

    def read(
        self,
        x: Tensor,
        positions: Tensor,
        words: Tensor,
        word_positions: Tensor,
        word_padding: Tensor | None,
    ) -> Tensor:
        """x (B or 1, T h w, C), words (B, L, C) -> (B, T h w, C)."""
        keys_values = self.attention.keys_values(words + word_positions, words)
        query = _add_positions(x, positions)
        query = query.expand(len(words), -1, -1)
        x = x + self.dropout(self.attention(query, keys_values, padding=word_padding))
        return self.ffn(self.norm(x))


def _add_positions(x: Tensor, positions: Tensor) -> Tensor:
    """x (B, T h w, C) + positions (B or 1, h w, C), the same for every frame."""
    num_positions = positions.shape[1]
    frames = rearrange(x, "b (t hw) c -> b t hw c", hw=num_positions)
    return (frames + positions[:, None]).flatten(1, 2)


class PixelLevel(nn.Module):
    """One level: `enter` does not see the text at stride 4, `leave` needs it."""

    def __init__(self, in_dim: int, dim: int, block: CrossModalBlock):
        super().__init__()
        groups = 8
        self.lateral = nn.Conv2d(in_dim, dim, 1, bias=False)
        self.lateral_norm = nn.GroupNorm(groups, dim)
        self.block = block
        self.smooth = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.smooth_norm = nn.GroupNorm(groups, dim)
        for convolution in (self.lateral, self.smooth):
            nn.init.kaiming_uniform_(convolution.weight, a=1)

    def enter(self, maps: Tensor, positions: Tensor, padding: Tensor | None, batch: int) -> Tensor:
        """maps (B T, C_in, h, w), positions (B, h w, C) -> tokens (B, T h w, C)."""
        h, w = maps.shape[-2:]
        tokens = as_tokens(self.lateral_norm(self.lateral(maps)), batch)
        return self.block.look_around(tokens, positions, padding, (h, w))

    def leave(
        self,
        tokens: Tensor,
        positions: Tensor,
        size: Size,
        words: tuple[Tensor, Tensor, Tensor | None],
        coarser: Tensor | None,
    ) -> Tensor:
        """tokens (B or 1, T h w, C), coarser (B T, C, h', w') -> maps (B T, C, h, w)."""
        maps = as_maps(self.block.read(tokens, positions, *words), size)
        if coarser is not None:
            maps = maps + F.interpolate(coarser, size=size)
        return F.relu(self.smooth_norm(self.smooth(maps)))


class PixelDecoder(nn.Module):
    """`levels`: strides 4, 8, 16, 32. `in_dim`: channels of the backbone's stride-4 map."""

    def __init__(
        self,
        in_dim: int,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        dropout: float,
        *,
        checkpointing: bool,
    ):
        super().__init__()
        settings = (dim, num_heads, ffn_dim, dropout)
        blocks = [CrossModalBlock(*settings, t, checkpointing=checkpointing) for t in THINNING]
        self.levels = nn.ModuleList(
            PixelLevel(in_dim if i == 0 else dim, dim, block) for i, block in enumerate(blocks)
        )

    def enter_finest(
        self, maps: Tensor, positions: Tensor, padding: Tensor | None, batch: int
    ) -> Tensor:
        """The part of stride 4 that does not see the text: -> tokens (B, T h w, C)."""
        h, w = maps.shape[-2:]
        if h < THINNING[0] or w < THINNING[0]:
            raise InputError(
                f"frames are too small: their stride-4 map has {h}x{w} positions, at least"
                f" {THINNING[0]}x{THINNING[0]} are needed (frames of about 32x32 pixels)"
            )
        return self.levels[0].enter(maps, positions, padding, batch)

    def forward(
        self,
        finest: Tensor,
        memory: list[Tensor],
        sizes: list[Size],
        positions: list[Tensor],
        paddings: list[Tensor | None],
        words: tuple[Tensor, Tensor, Tensor | None],
    ) -> Tensor:
        """-> (B T, C, h, w) at stride 4.

        finest: tokens of `enter_finest`; memory: [(B, T, h w, C)] of strides 8, 16, 32;
        sizes, positions, paddings: of strides 4, 8, 16, 32; words: (B, L, C), their positions and
        padding.
        """
        batch = len(words[0])
        coarser: Tensor | None = None
        for index in (3, 2, 1):
            maps = as_maps(memory[index - 1], sizes[index])
            tokens = self.levels[index].enter(maps, positions[index], paddings[index], batch)
            coarser = self.levels[index].leave(
                tokens, positions[index], sizes[index], words, coarser
            )
        return self.levels[0].leave(finest, positions[0], sizes[0], words, coarser)
