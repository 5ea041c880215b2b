"""Boxes or masks at a frame -> masklets over the whole video, forward and backward, by a tracker.

Memory does not grow with the length of the video: frames are read when needed, and the tracking
state keeps only what a later frame reads. Objects are tracked in groups of `objects_at_once`, each
group in its own pass.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from rvos.data.frames import FrameCache
from rvos.errors import InputError
from rvos.masks import RLE, Track, decode, encode
from rvos.stages.runner import TooLarge
from rvos.tracking.sam2_frames import ModelFrames
from rvos.weights.tensors import check_numbers

log = logging.getLogger(__name__)

OutOfMemory = torch.cuda.OutOfMemoryError


class Step(NamedTuple):
    """What a tracker found in one frame."""

    frame_idx: int
    logits: Tensor  # (O, 1, h, w) float32 at the model's or the video's resolution
    object_scores: Tensor  # (O,) float32, 0..1: probability that the object is visible


class Tracked(NamedTuple):
    """One object over the video."""

    track: Track
    object_scores: list[float]  # per frame, as `Step.object_scores`, to 4 digits


class Tracker(Protocol):
    """A backend that tracks boxes or masks through a video."""

    image_size: int

    def logits(self, frames: ModelFrames, prompt_frame_idx: int, prompts: Tensor) -> Iterator[Step]:
        """Masks of objects that are given at one frame, in pixels of the original frame.

        `prompts` are boxes (O, 4) float32 xyxy, or masks (O, H, W) bool. One step for every frame:
        from the prompt to the end, then from the prompt back to the start.
        """


def track_boxes(
    tracker: Tracker,
    frames: FrameCache,
    prompt_frame_idx: int,
    boxes_xyxy: NDArray[np.float32],
    *,
    objects_at_once: int,
) -> list[Tracked]:
    """One object per box (O, 4) float32, given at one frame in pixels; in the same order.

    When the GPU's memory does not suffice, the group is split in halves that are tracked again, and
    a warning says so. Raises InputError when one object alone does not fit.
    """
    boxes = torch.from_numpy(np.asarray(boxes_xyxy, np.float32)).reshape(-1, 4)
    return _track(tracker, frames, prompt_frame_idx, boxes, objects_at_once)


def track_masks(
    tracker: Tracker,
    frames: FrameCache,
    prompt_frame_idx: int,
    masks: Sequence[RLE],
    *,
    objects_at_once: int,
) -> list[Tracked]:
    """One object per mask, given at one frame, in the same order; as `track_boxes`.

    Raises InputError for a mask of another size than the frames.
    """
    if wrong := [mask["size"] for mask in masks if tuple(mask["size"]) != tuple(frames.size)]:
        raise InputError(f"expected masks of the frames' size {frames.size}, got {wrong[0]}")
    pixels = np.stack([decode(mask) for mask in masks]) if masks else np.zeros((0, *frames.size))
    prompts = torch.from_numpy(np.ascontiguousarray(pixels)).bool()  # (O, H, W)
    return _track(tracker, frames, prompt_frame_idx, prompts, objects_at_once)


def _track(
    tracker: Tracker,
    frames: FrameCache,
    prompt_frame_idx: int,
    prompts: Tensor,
    objects_at_once: int,
) -> list[Tracked]:
    tracks: list[Tracked] = []
    todo = [group for group in prompts.split(objects_at_once) if len(group)]
    while todo:
        group = todo.pop(0)
        try:
            tracks += _track_group(tracker, frames, prompt_frame_idx, group)
        except OutOfMemory as error:
            torch.cuda.empty_cache()
            if len(group) == 1:
                raise TooLarge(
                    "SAM 2: out of GPU memory with one object; choose a smaller one in "
                    f"masklets.weights or masklets.precision=bf16 ({str(error)[:120]})"
                ) from None
            half = (len(group) + 1) // 2
            todo[:0] = group.split(half)
            log.warning(
                "out of GPU memory with %d objects: going on with %d; "
                "masklets.objects_at_once=%d avoids this",
                len(group),
                half,
                half,
            )
    return tracks


def _track_group(
    tracker: Tracker, frames: FrameCache, prompt_frame_idx: int, prompts: Tensor
) -> list[Tracked]:
    tracked = [Tracked([None] * len(frames), [0.0] * len(frames)) for _ in prompts]
    prepared = ModelFrames(frames, tracker.image_size)
    try:
        for frame_idx, logits, scores in tracker.logits(prepared, prompt_frame_idx, prompts):
            found = {"scores": scores, "logits": logits}
            check_numbers(found, f"the tracker's output, frame {frame_idx}")
            for target, mask_logits, score in zip(tracked, logits, scores.tolist(), strict=True):
                mask = _to_mask(mask_logits, frames.size)
                target.track[frame_idx] = encode(mask) if mask.any() else None
                target.object_scores[frame_idx] = round(score, 4)
    finally:
        prepared.close()
    return tracked


def _to_mask(logits: Tensor, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask (H, W) bool of logits (1, h, w), resized like Meta's `_get_orig_video_res_output`."""
    if tuple(logits.shape[-2:]) != size:
        logits = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    return (logits[0] > 0).cpu().numpy()


# ------------------------------------------------------------------------- for the trackers


class VideoModel:
    """A network on its device, in eval mode.

    precision: `bf16` or `fp32`, see `autocast`.
    keep_state: keep all of the session's state, as the library does (for tests; memory grows).
    """

    def __init__(
        self,
        model: Any,
        *,
        device: str,
        precision: Literal["bf16", "fp32"],
        keep_state: bool = False,
    ):
        self.model = model.to(device).eval()
        self.image_size = int(getattr(model, "config", model).image_size)  # pixels of its input
        self.device = torch.device(device)
        self.precision, self.keep_state = precision, keep_state

    def autocast(self) -> AbstractContextManager:
        """The context of a forward pass."""
        return autocast(self.device, self.precision)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context of a model's forward pass.

    `bf16` is bfloat16 on a GPU, and on a CPU that has instructions for it; elsewhere, and with
    `fp32`, the pass is as it is.
    """
    if precision == "bf16" and (device.type == "cuda" or device.type == "cpu" and _cpu_has_bf16()):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _cpu_has_bf16() -> bool:
    """PyTorch emulates bfloat16 where a CPU lacks it, slower than float32."""
    has = torch.cpu.get_capabilities()
    return any(has.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def drop_unread(
    outputs: Mapping[int, dict],
    tracked: Mapping[int, dict],
    prompt_frame_idx: int,
    frame_idx: int,
    reverse: bool,
    limits: tuple[int, int],
) -> None:
    """Remove what neither direction will read again after `frame_idx` from the state.

    A frame reads the memories of the `limits[0]` frames before it in its direction, the object
    pointers of `limits[1]`, and those of the prompt frame. The backward pass starts at the prompt,
    so it also reads that many frames behind it.
    """
    num_memories, num_pointers = limits
    for obj_idx, entry in outputs.items():
        for output in entry["cond_frame_outputs"].values():
            output.pop("high_res_masks", None)
        kept = entry["non_cond_frame_outputs"]
        for t in list(kept):
            nearest = t - frame_idx if reverse else frame_idx - t
            if prompt_frame_idx > 0 and not reverse:
                nearest = min(nearest, t - prompt_frame_idx)
            kept[t].pop("high_res_masks", None)
            kept[t]["pred_masks"] = None
            if nearest >= num_memories:
                kept[t]["maskmem_features"] = kept[t]["maskmem_pos_enc"] = None
            if nearest >= max(num_pointers, num_memories):
                del kept[t]
        tracked[obj_idx].clear()
