"""The dataclasses that the parts of MUTR and its callers exchange.

B clips or pairs, E expressions, T frames, N queries, K classes, C channels, D decoder layers,
(h, w) the stride-4 map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rvos.mutr.encoder import Pyramid

Size = tuple[int, int]


@dataclass(frozen=True)
class VideoFeatures:
    """All features of B clips that do not depend on the text: shared by all expressions."""

    tokens: tuple[Tensor, ...]  # (B, T, h w, C) projected maps of strides 8, 16, 32, 64
    mta: tuple[tuple[Tensor, Tensor], ...]  # keys and values of MTA, per level
    mta_padding: tuple[Tensor | None, ...]  # (B, T h w) bool per level
    pyramid: Pyramid  # geometry of strides 8, 16, 32, 64
    finest: Tensor  # (B, T h w, C) stride-4 tokens of the pixel decoder after self-attention
    sizes: tuple[Size, ...]  # (h, w) of strides 4, 8, 16, 32
    positions: tuple[Tensor, ...]  # (B, h w, C) of strides 4, 8, 16, 32
    paddings: tuple[Tensor | None, ...]  # (B, h, w) bool of strides 4, 8, 16, 32
    frame_size: Tensor  # (B, 2) float32: width, height of the clips in pixels, without padding

    def __len__(self) -> int:
        return len(self.finest)

    @property
    def num_frames(self) -> int:
        return self.tokens[0].shape[1]


@dataclass(frozen=True)
class Predictions:
    """Predictions for E expressions at inference, from one decoder layer."""

    logits: Tensor  # (E, N, K) of the classes, for the whole clip
    boxes: Tensor  # (E, T, N, 4) cx, cy, w, h in 0..1 of the padded frame
    query: Tensor  # (E,) int64, the query with the highest score
    mask_logits: Tensor | None  # (E, T, M, h, w) at stride 4; M = 1 (that query), N, or None
    decoder_states: Tensor  # (E, T, N, C) of the last decoder layer, for `MUTR.score_queries`

    @property
    def scores(self) -> Tensor:
        """Probability of each query's likeliest class: (E, N)."""
        return self.logits.sigmoid().amax(-1)

    @staticmethod
    def stack(parts: list[Predictions]) -> Predictions:
        """Predictions of single expressions -> of all expressions, in the same order."""
        masks = [part.mask_logits for part in parts if part.mask_logits is not None]
        return Predictions(
            logits=torch.cat([part.logits for part in parts]),
            boxes=torch.cat([part.boxes for part in parts]),
            query=torch.cat([part.query for part in parts]),
            mask_logits=torch.cat(masks) if masks else None,
            decoder_states=torch.cat([part.decoder_states for part in parts]),
        )


@dataclass(frozen=True)
class LevelPredictions:
    """Predictions for B clips in training, after every decoder layer; index -1 is the final one."""

    logits: Tensor  # (D, B, N, K), the same for all frames of a clip
    boxes: Tensor  # (D, B, T, N, 4) cx, cy, w, h in 0..1
    mask_logits: Tensor  # (D, B, T, N, h, w) at stride 4
