"""MUTR over whole videos -> coarse masks: any length, every expression, at bounded memory.

A video is cut into sub-clips (`clip_plan`); for each the text-independent features are computed
once and all expressions are answered from them. `per_clip` lets every sub-clip choose its query;
`long_term` chooses once, from the decoder states of all frames. The chosen query's mask is
resized from stride 4 to the original frame as if it covered it exactly, thresholded, and kept as
RLE. There is no score threshold: every expression gets a mask (MeViS_Track_Solution_2024,
inference_mevis.py).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from rvos.coarse.clips import Clips, cut, released_script_lengths
from rvos.coarse.network_frames import NetworkFrames
from rvos.coarse.settings import CoarseSettings
from rvos.data.frames import Frames
from rvos.masks import Mask, Track, from_runs
from rvos.mutr import MUTR, TextFeatures
from rvos.weights.tensors import check_numbers

FRAMES_AT_ONCE = 8  # masks resized to the original frame together; only memory depends on it


class ClipFrames(Protocol):
    """A video at network size (`NetworkFrames`)."""

    original_size: tuple[int, int]  # height, width of the masks, pixels

    def __len__(self) -> int: ...

    def clip(self, frame_idx: range, device: torch.device) -> Tensor:
        """The frames at these positions: (T, 3, h, w) float32, ImageNet-normalised."""


@dataclass(frozen=True)
class QueryScores:
    """One choice of a query: of a sub-clip, or of the whole video (`long_term`)."""

    frame_idx: range
    scores: tuple[float, ...]  # (N,) probability of each query
    query: int  # the chosen one

    def as_json(self) -> dict[str, Any]:
        """As it stands in `coarse_scores`."""
        frames = {"start": self.frame_idx.start, "step": self.frame_idx.step}
        return {
            **frames,
            "frames": len(self.frame_idx),
            "scores": list(self.scores),
            "query": self.query,
        }


@dataclass(frozen=True)
class Segmentation:
    """The coarse masks of one expression and how their queries were chosen."""

    track: Track
    clips: tuple[QueryScores, ...]  # each sub-clip's own choice, also with `long_term`
    long_term: QueryScores | None

    def scores_as_json(self) -> dict[str, Any]:
        """How the queries were chosen, as it stands in `coarse_scores`."""
        content: dict[str, Any] = {"clips": [clip.as_json() for clip in self.clips]}
        if self.long_term is not None:
            content["long_term"] = self.long_term.as_json()
        return content


def segment_video(
    model: MUTR,
    source: Frames,
    expressions: Sequence[str],
    settings: CoarseSettings,
) -> list[Segmentation]:
    """Coarse masks of one's own video, one Segmentation per expression, on the model's device.

    Raises FrameError for frames that cannot be read and InputError for an empty expression.
    """
    lengths = [settings.clip_length] * len(expressions)
    if settings.clip_plan == "released_script":
        video = (len(source), len(expressions))
        (lengths,) = released_script_lengths([video], settings.clip_length, settings.sampling)
    with NetworkFrames(source, settings.short_side) as frames:
        plans = [cut(len(frames), length, settings.sampling) for length in lengths]
        return segment_clips(model, frames, encoder(model, expressions), plans, settings)


TextEncoder = Callable[[Sequence[int]], TextFeatures]  # positions of expressions -> their words


def encoder(model: MUTR, expressions: Sequence[str]) -> TextEncoder:
    """Text encoder of unchanged expressions: no lower-casing, as in the released inference."""
    return lambda idx: model.encode_text([expressions[i] for i in idx])


@torch.inference_mode()
def segment_clips(
    model: MUTR,
    frames: ClipFrames,
    encode_text: TextEncoder,
    plans: Sequence[Clips],
    settings: CoarseSettings,
    *,
    report: Callable[[int], None] | None = None,
) -> list[Segmentation]:
    """One Segmentation for each of `plans`, the sub-clips of each expression.

    `report(n)` is called with the number of expression-frames done since the last call.
    """
    model.eval()
    weights = next(model.parameters())
    device = weights.device
    partial = [PartialSegmentation(len(frames)) for _ in plans]
    with _threads(settings.cpu_threads if device.type == "cpu" else torch.get_num_threads()):
        for clips, batches in _batches(plans, settings.expression_batch):
            texts = [encode_text(batch) for batch in batches]
            for clip in clips:
                pixels = frames.clip(clip, device).to(weights.dtype)
                video = model.encode_video(pixels[None])  # (1, T, 3, h, w)
                for batch, text in zip(batches, texts, strict=True):
                    _segment_clip(
                        model,
                        video,
                        text,
                        clip,
                        [partial[i] for i in batch],
                        frames.original_size,
                        settings,
                    )
                    if report is not None:
                        report(len(clip) * len(batch))
                del video
            if settings.query == "long_term":
                for batch in batches:
                    _choose_over_video(model, [partial[i] for i in batch], weights, settings)
    return [one.finished() for one in partial]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batches(
    plans: Sequence[Clips], batch_size: int
) -> Iterator[tuple[Clips, list[Sequence[int]]]]:
    """Batches of expressions with equal sub-clips, which share the features of the video."""
    for clips in dict.fromkeys(plans):
        idx = [i for i, plan in enumerate(plans) if plan == clips]
        yield clips, [idx[start : start + batch_size] for start in range(0, len(idx), batch_size)]


class PartialSegmentation:
    """One expression while its video is being segmented."""

    def __init__(self, num_frames: int):
        # Per frame the masks of the queries that may still be chosen.
        self.masks: list[list[Mask]] = [[] for _ in range(num_frames)]
        self.clips: list[QueryScores] = []
        self.states: list[Tensor] = []  # (T, N, C) per sub-clip, in main memory; for `long_term`
        self.long_term: QueryScores | None = None

    def finished(self) -> Segmentation:
        """The masks of the chosen queries."""
        query = self.long_term.query if self.long_term else 0  # per_clip kept the chosen one only
        track = [masks[query] for masks in self.masks]
        return Segmentation(track, tuple(self.clips), self.long_term)


def _segment_clip(
    model: MUTR,
    video: Any,
    text: TextFeatures,
    clip: range,
    partial: Sequence[PartialSegmentation],
    size: tuple[int, int],
    settings: CoarseSettings,
) -> None:
    """One sub-clip, one batch of expressions: scores and masks go into `partial`."""
    long_term = settings.query == "long_term"
    found = model(video, text, masks="all" if long_term else "chosen", heads=settings.heads)
    assert found.mask_logits is not None
    check_numbers({"scores": found.scores, "mask_logits": found.mask_logits}, "MUTR's output")
    scores, queries = found.scores.float().tolist(), found.query.tolist()
    for e, one in enumerate(partial):
        one.clips.append(QueryScores(clip, tuple(scores[e]), queries[e]))
        if long_term:
            # A copy: a view would keep the states of all decoder levels.
            one.states.append(found.decoder_states[e].float().cpu().clone())
        logits = rearrange(found.mask_logits[e], "t m h w -> m t h w")
        tracks = [mask_track(of_query, size, settings.mask_threshold) for of_query in logits]
        for frame_idx, masks in zip(clip, zip(*tracks, strict=True), strict=True):
            one.masks[frame_idx] = list(masks)


def _choose_over_video(
    model: MUTR, partial: Sequence[PartialSegmentation], weights: Tensor, settings: CoarseSettings
) -> None:
    """Choose the query with the highest score over all frames, in the order of the video."""
    order = torch.tensor([t for clip in partial[0].clips for t in clip.frame_idx]).argsort()
    states = torch.stack([torch.cat(one.states)[order] for one in partial])  # (E, T, N, C)
    scores = model.score_queries(states.to(weights), heads=settings.heads).float()  # (E, N)
    for one, of_query in zip(partial, scores.cpu(), strict=True):
        one.states.clear()
        one.long_term = QueryScores(
            range(len(order)), tuple(of_query.tolist()), int(of_query.argmax())
        )


def mask_track(mask_logits: Tensor, size: tuple[int, int], threshold: float) -> Track:
    """(T, h, w) logits -> masks of `size` (height, width), a few frames at a time."""
    bound = math.log(threshold / (1 - threshold))  # sigmoid(logit) > threshold
    track: Track = []
    for part in mask_logits.float().split(FRAMES_AT_ONCE):
        full = F.interpolate(part[:, None], size=size, mode="bilinear", align_corners=False)
        track += encode_masks(full[:, 0] > bound)  # (T, H, W)
    return track


def encode_masks(masks: Tensor) -> Track:
    """Masks (T, H, W) bool on any device -> RLE; an empty mask is None.

    The runs are found on the masks' device, so that only their ends are copied from it.
    """
    num_frames, height, width = masks.shape
    pixels = rearrange(masks, "t h w -> t (w h)")  # runs go down the columns
    frame, position = torch.nonzero(pixels[:, 1:] != pixels[:, :-1], as_tuple=True)
    ends = position.cpu().numpy() + 1
    bounds = np.searchsorted(frame.cpu().numpy(), np.arange(num_frames + 1))
    starts_inside = pixels[:, 0].tolist()  # the first run, of background, is then empty
    track: Track = []
    for t in range(num_frames):
        inner = ends[bounds[t] : bounds[t + 1]]
        before = [0, 0] if starts_inside[t] else [0]
        runs = np.diff(np.concatenate((before, inner, [height * width])))
        track.append(from_runs(runs, (height, width)) if runs.size > 1 else None)
    return track
