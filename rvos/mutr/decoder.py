"""Deformable decoder: per frame, N queries that start as the sentence look for the object."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rvos.mutr.attention import MLP, Attention, FeedForward
from rvos.mutr.deform_attn import DeformableAttention, Sizes

EPS = 1e-5  # of the inverse sigmoid


def inverse_sigmoid(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=EPS) / (1 - x).clamp(min=EPS))


def move_reference(reference: Tensor, delta: Tensor) -> Tensor:
    """sigmoid(inverse_sigmoid(reference) + delta): (..., 2 or 4) and (..., 4) -> (..., 4).

    A reference without width and height takes them from delta alone.
    """
    start = inverse_sigmoid(reference)
    if start.shape[-1] == 2:
        start = torch.cat((start, torch.zeros_like(start)), -1)
    return (start + delta).sigmoid()


@dataclass(frozen=True)
class DecoderStates:
    """What the decoder leaves for the heads; D decoder layers, F frames of all clips."""

    states: Tensor  # (D, F, N, C)
    initial: Tensor  # (F, N, 2) reference points the queries start from, x and y in 0..1
    references: Tensor  # (D, F, N, 4 or 2) references after each layer, detached if refined


class DecoderLayer(nn.Module):
    def __init__(
        self,
        attention: DeformableAttention,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        dropout: float,
    ):
        super().__init__()
        self.self_attention = Attention(dim, num_heads, dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.attention = attention
        self.norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        reference: Tensor,
        memory: Tensor,
        sizes: Sizes,
        padding: Tensor | None,
    ) -> Tensor:
        """x (F, N, C), memory (F, S, C) -> (F, N, C)."""
        query = x + positions
        own = self.self_attention(query, self.self_attention.keys_values(query, x))
        x = self.self_norm(x + self.dropout(own))
        seen = self.attention(x + positions, reference, memory, sizes, padding)
        return self.ffn(self.norm(x + self.dropout(seen)))


class Decoder(nn.Module):
    """`box_heads`: one per layer, moves the reference after it; None: references stay."""

    def __init__(self, layers: list[DecoderLayer], dim: int, num_queries: int):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.queries = nn.Embedding(num_queries, dim)  # position part of the queries
        self.reference = nn.Linear(dim, 2)
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)

    def forward(
        self,
        sentence: Tensor,
        memory: Tensor,
        sizes: Sizes,
        padding: Tensor | None,
        valid_ratio: Tensor,
        box_heads: list[MLP] | None,
    ) -> DecoderStates:
        """sentence (F, C), memory (F, S, C), padding (F, S), valid_ratio (F or 1, L, 2)."""
        queries = self.queries.weight
        positions = queries.expand(len(sentence), -1, -1)  # (F, N, C)
        initial = self.reference(queries).sigmoid().expand(len(sentence), -1, -1)
        x = sentence[:, None].expand_as(positions)
        reference, states, references = initial, [], []
        for index, layer in enumerate(self.layers):
            ratio = valid_ratio.repeat(1, 1, reference.shape[-1] // 2)  # (F, L, 2 or 4)
            scaled = reference[:, :, None] * ratio[:, None]  # (F, N, L, 2 or 4)
            x = layer(x, positions, scaled, memory, sizes, padding)
            if box_heads is not None:
                reference = move_reference(reference, box_heads[index](x)).detach()
            states.append(x)
            references.append(reference)
        return DecoderStates(torch.stack(states), initial, torch.stack(references))
