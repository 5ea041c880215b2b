"""The layers of which all parts of MUTR consist: attention, feed-forward network, small MLP."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

# Tokens that pass the feed-forward network together where its hidden layer is not kept for the
# backward pass: for all tokens of a long clip that layer would take gigabytes. The results differ
# by rounding only.
CHUNK = 8192


class Attention(nn.Module):
    """Multi-head attention that never stores its weights (`scaled_dot_product_attention`).

    The projections of query, key and value are stacked in `in_proj_weight (3C, C)`.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def _project(self, x: Tensor, part: int) -> Tensor:
        weight = self.in_proj_weight.chunk(3)[part]
        bias = self.in_proj_bias.chunk(3)[part]
        return rearrange(F.linear(x, weight, bias), "b s (m d) -> b m s d", m=self.num_heads)

    def keys_values(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Projections of key and value: (B, S, C) -> (B, heads, S, C / heads) each."""
        return self._project(key, 1), self._project(value, 2)

    def forward(
        self,
        query: Tensor,
        keys_values: tuple[Tensor, Tensor],
        *,
        padding: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """query (B, Q, C), keys and values (B or 1, heads, S, d) -> (B, Q, C).

        padding (B or 1, S) bool: True on keys that are ignored.
        bias (B, 1, Q, S): added to the logits; only one of the two may be given.
        """
        key, value = keys_values
        batch = len(query)
        if folded := len(key) == 1 and batch > 1 and bias is None:  # all queries share the keys
            query = rearrange(query, "b q c -> 1 (b q) c")
        mask = bias if padding is None else ~padding[:, None, None, :]
        out = F.scaled_dot_product_attention(
            self._project(query, 0),
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        out = self.out_proj(rearrange(out, "b m q d -> b q (m d)"))
        return rearrange(out, "1 (b q) c -> b q c", b=batch) if folded else out


class FeedForward(nn.Module):
    """x -> LayerNorm(x + Linear(ReLU(Linear(x)))), the last part of every layer (post-norm).

    checkpointing: the backward pass recomputes the hidden layer, part by part.
    """

    def __init__(self, dim: int, hidden_dim: int, dropout: float, *, checkpointing: bool = False):
        super().__init__()
        self.checkpointing = checkpointing
        self.linear1 = nn.Linear(dim, hidden_dim)
        self.linear2 = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., C)."""
        kept = torch.is_grad_enabled() and not self.checkpointing
        if kept or torch.compiler.is_compiling():
            return self._forward(x)
        parts = x.flatten(0, -2).split(CHUNK)
        if torch.is_grad_enabled():
            done = [checkpoint(self._forward, part, use_reentrant=False) for part in parts]
        else:
            done = [self._forward(part) for part in parts]
        return torch.cat(done).view_as(x)

    def _forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(F.relu(self.linear1(x)))
        return self.norm(x + self.dropout(self.linear2(hidden)))


class MLP(nn.Module):
    """Linear layers with ReLU between them: box heads, and the mask head's controller."""

    def __init__(self, dim: int, hidden_dim: int, out_dim: int, num_layers: int):
        super().__init__()
        dims = [dim, *[hidden_dim] * (num_layers - 1), out_dim]
        self.layers = nn.ModuleList(
            nn.Linear(i, o) for i, o in zip(dims[:-1], dims[1:], strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        return last(x)
