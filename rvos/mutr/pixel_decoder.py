"""Cross-modal pixel decoder: encoder memory and the stride-4 map -> features for the masks.

A feature pyramid network (lateral connections, top-down pathway) with a cross-modal block at every
level. From stride 32 to stride 4: the tokens of all frames attend to each other on a subsampled
grid, then to the words, and pass a feed-forward network; the upsampled coarser level is added and a
3x3 convolution smooths the sum. The self-attention of stride 4 does not depend on the text, so all
expressions of a video share it (`lateral_finest`).
"""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rvos.errors import InputError
from rvos.mutr.attention import Attention, FeedForward
from rvos.mutr.positions import resize_padding

Size = tuple[int, int]
SUBSAMPLING = (8, 4, 2, 1)  # of the self-attention's grid at strides 4, 8, 16, 32


def as_maps(tokens: Tensor, size: Size) -> Tensor:
    """(B, T h w, C) or (B, T, h w, C) -> (B T, C, h, w), a view in channels-last layout."""
    h, w = size
    return tokens.reshape(-1, h, w, tokens.shape[-1]).permute(0, 3, 1, 2)


def as_tokens(maps: Tensor, batch: int) -> Tensor:
    """(B T, C, h, w) -> (B, T h w, C)."""
    return rearrange(maps, "(b t) c h w -> b (t h w) c", b=batch)


class CrossModalBlock(nn.Module):
    """Self-attention over all frames jointly, cross-attention to the words, feed-forward.

    The self-attention works on a grid that is `subsampling` times coarser in height and width.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        dropout: float,
        subsampling: int,
        *,
        checkpointing: bool,
    ):
        super().__init__()
        self.subsampling = subsampling
        self.self_attention = Attention(dim, num_heads, dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.cross_attention = Attention(dim, num_heads, dropout)
        self.cross_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim, dropout, checkpointing=checkpointing)
        self.dropout = nn.Dropout(dropout)

    def self_attend(
        self, x: Tensor, positions: Tensor, padding: Tensor | None, size: Size
    ) -> Tensor:
        """x (B, T h w, C), positions (B, h w, C), padding (B, h, w) -> (B, T h w, C).

        Raises InputError for a map that is smaller than the subsampling factor.
        """
        batch, (h, w) = len(x), size
        coarse = (h // self.subsampling, w // self.subsampling)
        if not all(coarse):
            least = self.subsampling
            raise InputError(f"a map of {h}x{w} positions is too small: at least {least}x{least}")
        query = _add_positions(x, positions)
        value = x
        if self.subsampling > 1:
            query, value = (
                as_tokens(F.interpolate(as_maps(tokens, size), size=coarse), batch)
                for tokens in (query, value)
            )
        if padding is not None:
            padding = resize_padding(padding, coarse).flatten(1)  # (B, h w), the same in all frames
            padding = padding.repeat(1, query.shape[1] // padding.shape[1])
        keys_values = self.self_attention.keys_values(query, value)
        attended = self.self_attention(query, keys_values, padding=padding)
        if self.subsampling > 1:
            maps = F.interpolate(as_maps(attended, coarse), size=size, mode="bilinear")
            attended = as_tokens(maps, batch)
        return self.self_norm(x + self.dropout(attended))

    def cross_attend(
        self,
        x: Tensor,
        positions: Tensor,
        words: Tensor,
        word_positions: Tensor,
        word_padding: Tensor | None,
    ) -> Tensor:
        """x (B or 1, T h w, C), words (B, L, C) -> (B, T h w, C), feed-forward included."""
        keys_values = self.cross_attention.keys_values(words + word_positions, words)
        query = _add_positions(x, positions)
        query = query.expand(len(words), -1, -1)
        x = x + self.dropout(self.cross_attention(query, keys_values, padding=word_padding))
        return self.ffn(self.cross_norm(x))


def _add_positions(x: Tensor, positions: Tensor) -> Tensor:
    """x (B, T h w, C) + positions (B or 1, h w, C), the same for every frame."""
    num_positions = positions.shape[1]
    frames = rearrange(x, "b (t hw) c -> b t hw c", hw=num_positions)
    return (frames + positions[:, None]).flatten(1, 2)


class PixelLevel(nn.Module):
    """One level of the pyramid, in two halves: only the second one needs the text.

    `lateral_tokens`: 1x1 convolution and self-attention. `top_down`: cross-attention, addition of
    the coarser level, 3x3 convolution.
    """

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

    def lateral_tokens(
        self, maps: Tensor, positions: Tensor, padding: Tensor | None, batch: int
    ) -> Tensor:
        """maps (B T, C_in, h, w), positions (B, h w, C) -> tokens (B, T h w, C)."""
        h, w = maps.shape[-2:]
        tokens = as_tokens(self.lateral_norm(self.lateral(maps)), batch)
        return self.block.self_attend(tokens, positions, padding, (h, w))

    def top_down(
        self,
        tokens: Tensor,
        positions: Tensor,
        size: Size,
        words: tuple[Tensor, Tensor, Tensor | None],
        coarser: Tensor | None,
    ) -> Tensor:
        """tokens (B or 1, T h w, C), coarser (B T, C, h', w') -> maps (B T, C, h, w)."""
        maps = as_maps(self.block.cross_attend(tokens, positions, *words), size)
        if coarser is not None:
            maps = maps + F.interpolate(coarser, size=size)
        return F.relu(self.smooth_norm(self.smooth(maps)))


class PixelDecoder(nn.Module):
    """Cross-modal feature pyramid network over strides 4, 8, 16 and 32 (`levels`, in this order).

    `in_dim`: channels of the backbone's stride-4 map; the other levels read the encoder's memory.
    """

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
        blocks = [CrossModalBlock(*settings, s, checkpointing=checkpointing) for s in SUBSAMPLING]
        self.levels = nn.ModuleList(
            PixelLevel(in_dim if i == 0 else dim, dim, block) for i, block in enumerate(blocks)
        )

    def lateral_finest(
        self, maps: Tensor, positions: Tensor, padding: Tensor | None, batch: int
    ) -> Tensor:
        """The first half of stride 4, which does not depend on the text: -> tokens (B, T h w, C).

        maps (B T, C_in, h, w) of the backbone. Raises InputError for frames that are too small.
        """
        h, w = maps.shape[-2:]
        if h < SUBSAMPLING[0] or w < SUBSAMPLING[0]:
            raise InputError(
                f"frames are too small: their stride-4 map has {h}x{w} positions, at least"
                f" {SUBSAMPLING[0]}x{SUBSAMPLING[0]} are needed (frames of about 32x32 pixels)"
            )
        return self.levels[0].lateral_tokens(maps, positions, padding, batch)

    def forward(
        self,
        finest: Tensor,
        memory: list[Tensor],
        sizes: list[Size],
        positions: list[Tensor],
        paddings: list[Tensor | None],
        words: tuple[Tensor, Tensor, Tensor | None],
    ) -> Tensor:
        """Features for the mask head: (B T, C, h, w) at stride 4.

        finest: tokens of `lateral_finest`; memory: [(B, T, h w, C)] of strides 8, 16, 32;
        sizes, positions, paddings: of strides 4, 8, 16, 32; words: (B, L, C), their positions and
        padding.
        """
        batch = len(words[0])
        coarser: Tensor | None = None
        for index in (3, 2, 1):
            maps = as_maps(memory[index - 1], sizes[index])
            tokens = self.levels[index].lateral_tokens(
                maps, positions[index], paddings[index], batch
            )
            coarser = self.levels[index].top_down(
                tokens, positions[index], sizes[index], words, coarser
            )
        return self.levels[0].top_down(finest, positions[0], sizes[0], words, coarser)
