"""Video meets text before the encoder: projections, early fusion, MTA.

MTA (multi-scale temporal aggregation, MUTR section 3): the sentence gathers from all frames,
coarser and coarser, what the video shows. Only its first word is used afterwards, and no word
sees another, so only the first word is computed.
"""

from torch import Tensor, nn

from rvos.mutr.attention import Attention, FeedForward


class Projection(nn.ModuleList):
    """Backbone maps of strides 8, 16, 32 -> C channels, and one more level of stride 64."""

    def __init__(self, channels: list[int], dim: int, num_levels: int, groups: int):
        super().__init__()
        if num_levels != len(channels) + 1:
            raise ValueError(f"num_levels={num_levels}: only {len(channels) + 1} levels work")
        for channel in channels:
            self.append(nn.Sequential(nn.Conv2d(channel, dim, 1), nn.GroupNorm(groups, dim)))
        last = nn.Conv2d(channels[-1], dim, 3, stride=2, padding=1)
        self.append(nn.Sequential(last, nn.GroupNorm(groups, dim)))
        for convolution, _ in self:
            nn.init.xavier_uniform_(convolution.weight)
            nn.init.zeros_(convolution.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """[(F, C_i, h, w)] of strides 8, 16, 32 -> [(F, C, h, w)] of strides 8, 16, 32, 64."""
        inputs = [*features, features[-1]]
        return [project(x) for project, x in zip(self, inputs, strict=True)]


class EarlyFusion(nn.Module):
    """Every position of every frame adds what it finds in the words. No norm follows."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.attention = Attention(dim, num_heads, dropout=0.0)

    def forward(
        self, tokens: Tensor, words: Tensor, positions: Tensor, padding: Tensor | None
    ) -> Tensor:
        """tokens (B, T h w, C), words and positions (B, L, C) -> (B, T h w, C)."""
        keys_values = self.attention.keys_values(words + positions, words)
        return tokens + self.attention(tokens, keys_values, padding=padding)


class MTA(nn.Module):
    """One layer, used for level after level."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int):
        super().__init__()
        self.attention = Attention(dim, num_heads, dropout=0.0)
        self.norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim, dropout=0.0)

    def forward(
        self,
        words: Tensor,
        positions: Tensor,
        keys_values: tuple[Tensor, Tensor],
        padding: Tensor | None,
    ) -> Tensor:
        """words, positions (B, L, C); keys, values of all frames of one level (B or 1, ...)."""
        seen = self.attention(words + positions, keys_values, padding=padding)
        return self.ffn(self.norm(words + seen))
