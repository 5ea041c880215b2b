"""Video meets text before the encoder: projections, early fusion, MTA.

MTA (multi-scale temporal aggregation, MUTR section 3): the word features attend to all frames,
level after level from fine to coarse. Only the first token (the sentence feature) is used later and
the tokens do not attend to each other, so only that token is computed.
"""

from torch import Tensor, nn

from rvos.mutr.attention import Attention, FeedForward
from rvos.mutr.settings import GROUPS


class Projection(nn.ModuleList):
    """Input projection: maps of strides 8, 16, 32 -> C channels, and one more of stride 64."""

    def __init__(self, channels: list[int], dim: int):
        super().__init__()
        for channel in channels:
            self.append(nn.Sequential(nn.Conv2d(channel, dim, 1), nn.GroupNorm(GROUPS, dim)))
        last = nn.Conv2d(channels[-1], dim, 3, stride=2, padding=1)
        self.append(nn.Sequential(last, nn.GroupNorm(GROUPS, dim)))
        for convolution, _ in self:
            nn.init.xavier_uniform_(convolution.weight)
            nn.init.zeros_(convolution.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """[(F, C_i, h, w)] of strides 8, 16, 32 -> [(F, C, h, w)] of strides 8, 16, 32, 64."""
        inputs = [*features, features[-1]]
        return [project(x) for project, x in zip(self, inputs, strict=True)]


class EarlyFusion(nn.Module):
    """Cross-attention of all positions of all frames to the words, added without a norm."""

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
    """Multi-scale temporal aggregation: one layer whose weights all levels share."""

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
        """words and positions (B, L, C) -> (B, L, C).

        keys_values: of all frames of one level, (B or 1, heads, T h w, d) each.
        """
        attended = self.attention(words + positions, keys_values, padding=padding)
        return self.ffn(self.norm(words + attended))
