"""MUTR: frames + expressions -> per expression class scores, boxes and mask logits.

R. Yan et al., "Referred by Multi-Modality: A Unified Temporal Transformer for Video Object
Segmentation", AAAI 2024, in the form fine-tuned for MeViS. The parts stand in the order of the
data: backbone, projection, (text), MTA, early fusion, encoder, decoder, MTI, pixel decoder, heads.
"""

import math
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from rvos.errors import InputError, list_problems
from rvos.mutr.attention import MLP
from rvos.mutr.backbones import build_backbone
from rvos.mutr.decoder import Decoder, DecoderLayer, DecoderStates, refine_reference
from rvos.mutr.deform_attn import DeformableAttention
from rvos.mutr.encoder import Encoder, EncoderLayer, Pyramid
from rvos.mutr.features import LevelPredictions, Predictions, VideoFeatures
from rvos.mutr.fusion import MTA, EarlyFusion, Projection
from rvos.mutr.mask_head import MaskHead
from rvos.mutr.mti import MTI
from rvos.mutr.pixel_decoder import PixelDecoder
from rvos.mutr.positions import resize_padding, sine_map
from rvos.mutr.settings import NetworkSettings
from rvos.mutr.text import TextEncoder, TextFeatures, too_long

Masks = Literal["chosen", "all", "none"]
Heads = Literal["upstream", "last"]


class MUTR(nn.Module):
    """The whole network; the arguments are those of `NetworkSettings`, keys of conf/model.

    `encode_video` and `encode_text` run once per video and per expression; the model itself
    combines their features (inference), `forward_clips` does all of it (training).
    """

    def __init__(self, **settings: Any):
        super().__init__()
        s = NetworkSettings(**settings)
        dim = s.hidden_dim
        self.box_refine = s.box_refine
        self.backbone = build_backbone(s.backbone, checkpointing=s.checkpoint_backbone)
        self.projection = Projection(list(self.backbone.channels[1:]), dim)
        self.text = TextEncoder(
            dim,
            tokenizer=s.tokenizer,
            text_dim=s.text_dim,
            text_layers=s.text_layers,
            text_heads=s.text_heads,
            text_ffn_dim=s.text_ffn_dim,
            vocab_size=s.vocab_size,
            max_tokens=s.max_tokens,
            dropout=s.dropout,
        )
        if s.freeze_text_encoder:
            self.text.roberta.requires_grad_(False)
        self.mta = MTA(dim, s.num_heads, s.ffn_dim)
        self.fusion = EarlyFusion(dim, s.num_heads)
        self.level_embed = nn.Parameter(torch.randn(s.num_levels, dim))

        def deformable() -> DeformableAttention:
            return DeformableAttention(dim, s.num_heads, s.num_levels, s.num_points, s.deform_attn)

        self.encoder = Encoder(
            [
                EncoderLayer(deformable(), dim, s.ffn_dim, s.dropout)
                for _ in range(s.encoder_layers)
            ],
            checkpointing=s.checkpoint_encoder,
        )
        self.decoder = Decoder(
            [
                DecoderLayer(deformable(), dim, s.num_heads, s.ffn_dim, s.dropout)
                for _ in range(s.decoder_layers)
            ],
            dim,
            s.num_queries,
        )
        self.mti = MTI(
            dim,
            s.num_queries,
            s.num_heads,
            s.ffn_dim,
            s.mti_layers,
            s.mti_window,
            s.mti_dropout,
        )
        self.pixel_decoder = PixelDecoder(
            self.backbone.channels[0],
            dim,
            s.num_heads,
            s.ffn_dim,
            s.dropout,
            checkpointing=s.checkpoint_encoder,
        )
        self.mask_head = MaskHead(dim, s.mask_channels, s.rel_coord)
        heads = s.decoder_layers if s.box_refine else 1  # shared by all levels without refinement
        self.class_heads = nn.ModuleList(nn.Linear(dim, s.num_classes) for _ in range(heads))
        self.box_heads = nn.ModuleList(MLP(dim, dim, 4, 3) for _ in range(heads))
        self._init_heads()

    def _init_heads(self) -> None:
        """Start with class probabilities of 0.01 and small boxes at the reference points."""
        for linear in self.class_heads:
            nn.init.constant_(linear.bias, -math.log(99))
        for mlp in self.box_heads:
            nn.init.zeros_(mlp.layers[-1].weight)
            nn.init.zeros_(mlp.layers[-1].bias)
        nn.init.constant_(self.box_heads[0].layers[-1].bias[2:], -2.0)

    def head(self, heads: nn.ModuleList, level: int) -> nn.Module:
        """The head of a decoder level; without box refinement all levels share one."""
        return heads[level if self.box_refine else 0]

    # ------------------------------------------------------------------ video and text, each alone

    def encode_video(self, frames: Tensor, padding: Tensor | None = None) -> VideoFeatures:
        """Features of B clips, which all expressions of a video share.

        frames (B, T, 3, H, W) float32, normalised by ImageNet's mean and deviation;
        padding (B, H, W) bool, True on pixels that only fill the batch (right and bottom).
        """
        batch, num_frames, _, height, width = frames.shape
        if padding is None or not padding.any():
            padding = None
            blank = frames.new_zeros((1, height, width), dtype=torch.bool)
        maps = self.backbone(frames)
        projected = self.projection(maps[1:])
        sizes = [tuple(x.shape[-2:]) for x in (maps[0], *projected)]
        masks = [resize_padding(blank if padding is None else padding, size) for size in sizes]
        dim = projected[0].shape[1]
        positions = [sine_map(mask, dim).to(projected[0].dtype) for mask in masks]
        paddings = [None if padding is None else mask for mask in masks]
        tokens = [rearrange(x, "(b t) c h w -> b t (h w) c", b=batch) for x in projected]
        flat = [x.flatten(1, 2) for x in tokens]  # (B, T h w, C)
        finest = self.pixel_decoder.lateral_finest(maps[0], positions[0], paddings[0], batch)
        return VideoFeatures(
            tokens=tuple(tokens),
            mta=tuple(self.mta.attention.keys_values(x, x) for x in flat),
            mta_padding=tuple(
                None if mask is None else mask.flatten(1).repeat(1, num_frames)
                for mask in paddings[1:]
            ),
            pyramid=_pyramid(sizes[1:], positions[1:], masks[1:], padding is not None),
            finest=finest,
            sizes=tuple(sizes[:4]),
            positions=tuple(positions[:4]),
            paddings=tuple(paddings[:4]),
            frame_size=_frame_size(blank if padding is None else padding).expand(batch, -1),
        )

    def encode_text(self, expressions: list[str]) -> TextFeatures:
        """Word features of E expressions.

        Raises InputError for an empty expression and for one with too many tokens.
        """
        ids, padding = self.text.tokenize(expressions)
        device = self.level_embed.device
        return self.encode_tokens(ids.to(device), None if padding is None else padding.to(device))

    def encode_tokens(self, ids: Tensor, padding: Tensor | None = None) -> TextFeatures:
        """Word features of token ids (E, L) int64, bos and eos included; padding (E, L) bool."""
        return self.text(ids, padding)

    def add_words(self, expressions: list[str]) -> int:
        """Add unknown words to the vocabulary of `tokenizer: words`; returns how many there are.

        With another tokenizer nothing is added, and 0 is returned. Raises InputError for an
        expression with too many tokens.
        """
        tokenizer = self.text.word_tokenizer
        if problems := too_long(expressions, self.text.tokenizer_name, self.text.max_tokens):
            raise InputError(list_problems("Expressions that MUTR cannot read", problems))
        return 0 if tokenizer is None else tokenizer.add(expressions)

    # ------------------------------------------------------------------ video and text together

    def forward(
        self,
        video: VideoFeatures,
        text: TextFeatures,
        masks: Masks = "chosen",
        heads: Heads = "upstream",
    ) -> Predictions:
        """Predictions for one video with E expressions, or for E pairs of video and expression.

        Expressions of one video are processed one after the other, to save memory.
        masks: mask logits of the query with the highest score, of all queries, or none.
        heads: `upstream` is the official evaluation, which applies the first level's class head to
        the last level's queries and takes boxes and reference points from the first level; `last`
        takes all of them from the last level.
        """
        if len(video) == 1 and len(text) > 1:
            parts = [self._predict(video, text.one(i), masks, heads) for i in range(len(text))]
            return Predictions.stack(parts)
        if len(video) != len(text):
            raise InputError(f"{len(video)} videos and {len(text)} expressions do not make pairs")
        return self._predict(video, text, masks, heads)

    def _predict(
        self, video: VideoFeatures, text: TextFeatures, masks: Masks, heads: Heads
    ) -> Predictions:
        memory, decoded = self._decode(video, text)
        frames = {"b": len(text), "t": video.num_frames}
        states = rearrange(decoded.states, "d (b t) n c -> d b t n c", **frames)
        queries = self.mti(states[-1])  # (B, N, C)
        level = 0 if heads == "upstream" else len(states) - 1
        logits = self.head(self.class_heads, level)(queries)
        query = logits.sigmoid().amax(-1).argmax(-1)  # (B,)
        reference = rearrange(decoded.references[level], "(b t) n xy -> b t n xy", **frames)
        mask_logits = None
        if masks != "none":
            maps = self._pixel_features(video, text, memory)
            selected, points = queries, reference[..., :2]
            if masks == "chosen":
                index = torch.arange(len(query), device=query.device)
                selected, points = selected[index, query, None], points[index, :, query, None]
            mask_logits = self.mask_head(maps, selected, points, video.frame_size)
        return Predictions(
            logits=logits,
            boxes=self._boxes(decoded, level, frames),
            query=query,
            mask_logits=mask_logits,
            decoder_states=states[-1],
        )

    def score_queries(self, decoder_states: Tensor, heads: Heads = "upstream") -> Tensor:
        """Scores (E, N) of the queries over a whole video.

        decoder_states (E, T, N, C): `Predictions.decoder_states` of the video's clips, concatenated
        over time (the official `no_sampling` mode).
        """
        head = self.head(self.class_heads, 0 if heads == "upstream" else -1)
        return head(self.mti(decoder_states)).sigmoid().amax(-1)

    def forward_clips(
        self, frames: Tensor, padding: Tensor | None, expressions: list[str]
    ) -> LevelPredictions:
        """Predictions of all decoder levels for B clips with one expression each (training)."""
        return self.forward_pairs(self.encode_video(frames, padding), self.encode_text(expressions))

    def forward_pairs(self, video: VideoFeatures, text: TextFeatures) -> LevelPredictions:
        """The same as `forward_clips` for given features; `len(video) == len(text)`."""
        memory, decoded = self._decode(video, text)
        frames = {"b": len(text), "t": video.num_frames}
        levels = len(decoded.states)
        states = rearrange(decoded.states, "d (b t) n c -> (d b) t n c", **frames)
        queries = rearrange(self.mti(states), "(d b) n c -> d b n c", d=levels)
        logits = [self.head(self.class_heads, d)(queries[d]) for d in range(levels)]
        maps = self._pixel_features(video, text, memory)
        points = rearrange(decoded.references[..., :2], "d (b t) n xy -> b t (d n) xy", **frames)
        flat = rearrange(queries, "d b n c -> b (d n) c")
        mask_logits = self.mask_head(maps, flat, points, video.frame_size)
        return LevelPredictions(
            logits=torch.stack(logits),
            boxes=torch.stack([self._boxes(decoded, d, frames) for d in range(levels)]),
            mask_logits=rearrange(mask_logits, "b t (d n) h w -> d b t n h w", d=levels),
        )

    def _decode(
        self, video: VideoFeatures, text: TextFeatures
    ) -> tuple[list[Tensor], DecoderStates]:
        """Memory [(B, T, h w, C)] of all levels, and the decoder's outputs, for B pairs."""
        sentence = self._sentence(video, text)
        pyramid, num_frames = video.pyramid, video.num_frames
        fused = []
        for tokens in video.tokens:
            flat = self.fusion(tokens.flatten(1, 2), text.words, text.positions, text.padding)
            fused.append(rearrange(flat, "b (t hw) c -> b t hw c", t=num_frames))
        x = torch.cat(fused, 2).flatten(0, 1)  # (F, S, C), F = pairs and frames
        sizes = pyramid.sizes
        level_embed = torch.cat(
            [e.expand(h * w, -1) for e, (h, w) in zip(self.level_embed, sizes, strict=True)]
        )
        positions = self._per_frame(pyramid.positions + level_embed, num_frames)
        reference = self._per_frame(pyramid.reference_points(), num_frames)
        padding = None
        if pyramid.padding is not None:
            padding = self._per_frame(pyramid.padding, num_frames)
        memory = self.encoder(x, positions, reference, sizes, padding)
        decoded = self.decoder(
            sentence.repeat_interleave(num_frames, 0),
            memory,
            sizes,
            padding,
            self._per_frame(pyramid.valid_ratio, num_frames),
            list(self.box_heads) if self.box_refine else None,
        )
        levels = rearrange(memory, "(b t) s c -> b t s c", t=num_frames)
        return list(levels.split([h * w for h, w in sizes], dim=2)), decoded

    @staticmethod
    def _per_frame(x: Tensor, num_frames: int) -> Tensor:
        """Repeat (B, ...) for every frame: (B T, ...); B = 1 stays as it is and broadcasts."""
        return x if len(x) == 1 else x.repeat_interleave(num_frames, 0)

    def _sentence(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """Sentence feature (B, C), the initial content of the queries: MTA over the levels."""
        word, position = text.words[:, :1], text.positions[:, :1]
        for keys_values, padding in zip(video.mta, video.mta_padding, strict=True):
            word = self.mta(word, position, keys_values, padding)
        return word[:, 0]

    def _pixel_features(
        self, video: VideoFeatures, text: TextFeatures, memory: list[Tensor]
    ) -> Tensor:
        """Features for the mask head: (B T, C, h, w) at stride 4."""
        words = (text.words, text.positions, text.padding)
        return self.pixel_decoder(
            video.finest, memory[:3], video.sizes, video.positions, video.paddings, words
        )

    def _boxes(self, decoded: DecoderStates, level: int, frames: dict[str, int]) -> Tensor:
        """Boxes (B, T, N, 4) of a decoder level: cx, cy, w, h in 0..1."""
        start = decoded.references[level - 1] if level else decoded.initial
        delta = self.head(self.box_heads, level)(decoded.states[level])
        return rearrange(refine_reference(start, delta), "(b t) n xy -> b t n xy", **frames)


def _pyramid(
    sizes: list[tuple[int, int]], positions: list[Tensor], masks: list[Tensor], padded: bool
) -> Pyramid:
    """Geometry of the levels; masks: [(B, h, w) bool], True on padding."""
    ratios = []
    for mask in masks:
        h, w = mask.shape[-2:]
        valid = ~mask
        ratio = torch.stack((valid[:, 0].sum(1) / w, valid[:, :, 0].sum(1) / h), -1)
        ratios.append(ratio)
    return Pyramid(
        sizes=tuple(sizes),
        positions=torch.cat(positions, 1),
        padding=torch.cat([mask.flatten(1) for mask in masks], 1) if padded else None,
        valid_ratio=torch.stack(ratios, 1),
    )


def _frame_size(padding: Tensor) -> Tensor:
    """Width and height without padding: (B, H, W) bool -> (B, 2) float32, pixels."""
    valid = ~padding
    return torch.stack((valid[:, 0].sum(1), valid[:, :, 0].sum(1)), -1).float()
