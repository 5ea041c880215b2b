"""Deformable decoder: per frame, N queries that start as the sentence search for the object."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rvos.mutr.attention import MLP, Attention, FeedForward
from rvos.mutr.deform_attn import DeformableAttention, Sizes

EPS = 1e-5  # of the inverse sigmoid (Deformable DETR, util/misc.py)


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Logit of x in 0..1, which is clamped so that the result stays finite."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=EPS) / (1 - x).clamp(min=EPS))


def refine_reference(reference: Tensor, delta: Tensor) -> Tensor:
    """Iterative box refinement of Deformable DETR: sigmoid(inverse_sigmoid(reference) + delta).

    reference (..., 2 or 4) and delta (..., 4) -> (..., 4). Where the reference has no width and
    height, delta alone determines them.
    """
    start = inverse_sigmoid(reference)
    if start.shape[-1] == 2:
        start = torch.cat((start, torch.zeros_like(start)), -1)
    return (start + delta).sigmoid()


@dataclass(frozen=True)
class DecoderStates:
    """Outputs of the decoder that the heads read; D decoder layers, F frames of all clips."""

    states: Tensor  # (D, F, N, C)
    initial: Tensor  # (F, N, 2) initial reference points, x and y in 0..1
    references: Tensor  # (D, F, N, 4 or 2) reference points after each layer, detached if refined


class DecoderLayer(nn.Module):
    """Self-attention of a frame's queries, deformable cross-attention to the memory, feed-forward.

    Post-norm, as in Deformable DETR.
    """

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
        self.cross_attention = attention
        self.cross_norm = nn.LayerNorm(dim)
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
        """x and positions (F, N, C), reference (F, N, L, 2 or 4), memory (F, S, C) -> (F, N, C)."""
        query = x + positions
        attended = self.self_attention(query, self.self_attention.keys_values(query, x))
        x = self.self_norm(x + self.dropout(attended))
        attended = self.cross_attention(x + positions, reference, memory, sizes, padding)
        return self.ffn(self.cross_norm(x + self.dropout(attended)))


class Decoder(nn.Module):
    """The layers, the learned queries and the reference points from which these start.

    `queries` holds only the positional part of the queries; their content is the sentence feature.
    """

    def __init__(self, layers: list[DecoderLayer], dim: int, num_queries: int):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.queries = nn.Embedding(num_queries, dim)  # positional part
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
        """sentence (F, C), memory (F, S, C), padding (F, S), valid_ratio (F or 1, L, 2).

        box_heads: one per layer, refines the reference points after it; None: they stay.
        """
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
                reference = refine_reference(reference, box_heads[index](x)).detach()
            states.append(x)
            references.append(reference)
        return DecoderStates(torch.stack(states), initial, torch.stack(references))
