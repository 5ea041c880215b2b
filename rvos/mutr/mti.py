"""MTI, multi-object temporal interaction (MUTR section 3): frame queries -> clip queries.

The queries of neighbouring frames attend to each other in windows of a few frames; then N clip
queries attend to the frame queries of the whole clip. Windows and layers are those of VITA (Heo et
al., NeurIPS 2022).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rvos.mutr.attention import Attention, FeedForward

MASKED_LOGIT = -1000.0  # between frames that must not attend to each other; finite on purpose


class WindowLayer(nn.Module):
    """Self-attention of the frame queries within each window of W frames, then feed-forward."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float):
        super().__init__()
        self.attention = Attention(dim, num_heads, dropout)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.ffn = FeedForward(dim, ffn_dim, dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x (windows, W N, C), bias (windows, 1, 1 or W N, W N) -> (windows, W N, C)."""
        keys_values = self.attention.keys_values(x, x)
        x = self.norm(x + self.dropout(self.attention(x, keys_values, bias=bias)))
        return self.ffn(x)


class ClipLayer(nn.Module):
    """Cross-attention of the clip queries to all frame queries, self-attention, feed-forward."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float):
        super().__init__()
        self.cross_attention = Attention(dim, num_heads, dropout)
        self.cross_norm = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, num_heads, dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.ffn = FeedForward(dim, ffn_dim, dropout)

    def forward(self, x: Tensor, positions: Tensor, frames: Tensor, frame_keys: Tensor) -> Tensor:
        """x and positions (B, N, C), frames and frame_keys (B, T N, C) -> (B, N, C)."""
        keys_values = self.cross_attention.keys_values(frame_keys, frames)
        attended = self.cross_attention(x + positions, keys_values)
        x = self.cross_norm(x + self.dropout(attended))
        query = x + positions
        attended = self.self_attention(query, self.self_attention.keys_values(query, x))
        return self.ffn(self.self_norm(x + self.dropout(attended)))


class MTI(nn.Module):
    """The window layers, the clip layers and the learned clip queries. `window`: frames."""

    def __init__(
        self,
        dim: int,
        num_queries: int,
        num_heads: int,
        ffn_dim: int,
        num_layers: int,
        window: int,
        dropout: float,
    ):
        super().__init__()
        self.window = window
        layer = (dim, num_heads, ffn_dim, dropout)
        self.window_layers = nn.ModuleList(WindowLayer(*layer) for _ in range(num_layers))
        self.clip_layers = nn.ModuleList(ClipLayer(*layer) for _ in range(num_layers))
        self.frame_positions = nn.Embedding(num_queries, dim)
        self.clip_positions = nn.Embedding(num_queries, dim)
        self.clip_queries = nn.Embedding(num_queries, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, states: Tensor) -> Tensor:
        """Decoder states (B, T, N, C) -> clip queries (B, N, C).

        Every second layer shifts its windows, in evaluation only, as in the official model.
        """
        frames = self._attend_in_windows(states)
        keys = frames + self.frame_positions.weight  # the same positions in all frames
        frames, keys = frames.flatten(1, 2), keys.flatten(1, 2)  # (B, T N, C)
        positions = self.clip_positions.weight.expand(len(states), -1, -1)
        x = self.clip_queries.weight.expand_as(positions)
        for layer in self.clip_layers:
            x = layer(x, positions, frames, keys)
        return self.norm(x)

    def _attend_in_windows(self, states: Tensor) -> Tensor:
        """Frame queries (B, T, N, C) -> (B, T, N, C); the last window is padded with frames."""
        batch, num_frames, num_queries, _ = states.shape
        num_padded = -num_frames % self.window
        x = F.pad(states, (0, 0, 0, 0, 0, num_padded))
        padded = torch.arange(num_frames + num_padded, device=x.device) >= num_frames
        for index, layer in enumerate(self.window_layers):
            shift = (self.window + 1) // 2 if index % 2 and not self.training else 0
            bias = self._shifted_bias(padded, shift) if shift else self._bias(padded)
            bias = bias.repeat_interleave(num_queries, -1).to(x.dtype)
            if shift:
                bias = bias.repeat_interleave(num_queries, -2)
            x = x.roll(shift, 1)
            x = rearrange(x, "b (i w) n c -> (b i) (w n) c", w=self.window)
            x = layer(x, bias.repeat(batch, 1, 1)[:, None])
            x = rearrange(x, "(b i) (w n) c -> b (i w) n c", b=batch, w=self.window)
            x = x.roll(-shift, 1)
        return x[:, :num_frames]

    def _bias(self, padded: Tensor) -> Tensor:
        """Attention bias that hides padded frames: (windows, 1, W)."""
        hidden = rearrange(padded, "(i w) -> i 1 w", w=self.window)
        return torch.zeros_like(hidden, dtype=torch.float32).masked_fill(hidden, -torch.inf)

    def _shifted_bias(self, padded: Tensor, shift: int) -> Tensor:
        """Attention bias of shifted windows: (windows, W, W).

        It separates padding from frames, and in the first window the two ends of the clip.
        """
        hidden = rearrange(padded.roll(shift), "(i w) -> i w", w=self.window)
        masked = hidden[:, :, None] | hidden[:, None, :]
        masked[0, :shift, shift:] = True
        masked[0, shift:, :shift] = True
        return masked * MASKED_LOGIT
