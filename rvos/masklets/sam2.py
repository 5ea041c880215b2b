"""Boxes at their frames -> masklets over the whole video, by SAM 2, forward and backward.

Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024. Two backends with the same pixels
and weights: transformers' `Sam2VideoModel` and Meta's own package `sam2`. Memory does not grow with
the length of the video: frames are read when needed, and the tracking state keeps only what a later
frame reads. Objects are tracked in groups of `objects_at_once`, each group in its own pass.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from rvos import InputError
from rvos.masklets.edgetam import load_edgetam
from rvos.masklets.sam2_frames import (
    FrameSource,
    ModelFrames,
    Pixels,
    processor_pixels,
    sam2_pixels,
)
from rvos.masklets.sam2_weights import (
    DOWNLOAD,
    load_transformers,
    missing,
    read_meta_file,
    size_of,
    version_of,
)
from rvos.masks import Track, encode

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
    """A backend that tracks boxes through a video."""

    image_size: int

    def logits(
        self, frames: ModelFrames, prompt_frame_idx: int, boxes_xyxy: Tensor
    ) -> Iterator[Step]:
        """Masks of boxes (O, 4) float32, given at one frame in pixels of the original frame.

        One step for every frame: from the prompt to the end, then from the prompt back to the
        start.
        """


class TransformersTracker:
    """transformers' `Sam2VideoModel`, and any model of its family: `EdgeTamVideoModel`.

    pixels: how the model's frames are prepared.
    precision: `bf16` uses autocast around the model on a GPU; `fp32` does not.
    compile: torch.compile of the image encoder.
    keep_state: keep all of the session's state, as the library does (for tests; memory grows).
    """

    def __init__(
        self,
        model: Any,
        *,
        device: str,
        precision: Literal["bf16", "fp32"],
        compile: bool,
        keep_state: bool = False,
        pixels: Pixels = sam2_pixels,
    ):
        self.model = model.to(device).eval()
        self.pixels = pixels
        self.device = torch.device(device)
        self.precision = precision
        self.keep_state = keep_state
        self.image_size = int(model.config.image_size)
        if compile:
            self.model.vision_encoder.compile()

    @torch.inference_mode()
    def logits(
        self, frames: ModelFrames, prompt_frame_idx: int, boxes_xyxy: Tensor
    ) -> Iterator[Step]:
        session = self._session(frames, prompt_frame_idx, boxes_xyxy)
        last = len(frames) - 1
        for reverse in (False, True):
            order = (
                range(prompt_frame_idx - 1, -1, -1)
                if reverse
                else range(prompt_frame_idx, last + 1)
            )
            for frame_idx in order:
                with autocast(self.device, self.precision):
                    output = self.model(
                        inference_session=session, frame_idx=frame_idx, reverse=reverse
                    )
                scores = output.object_score_logits.float().flatten().sigmoid()
                yield Step(frame_idx, output.pred_masks.float(), scores)
                if not self.keep_state:
                    _drop_unread(
                        session.output_dict_per_obj,
                        session.frames_tracked_per_obj,
                        prompt_frame_idx,
                        frame_idx,
                        reverse,
                        self._limits(),
                    )

    def _limits(self) -> tuple[int, int]:
        config = self.model.config
        return config.num_maskmem - 1, config.max_object_pointers_in_encoder - 1

    def _session(self, frames: ModelFrames, prompt_frame_idx: int, boxes_xyxy: Tensor) -> Any:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        height, width = frames.frames.size
        session: Any = Sam2VideoInferenceSession(
            video_height=height,
            video_width=width,
            inference_device=self.device,
            inference_state_device=self.device,
            video_storage_device="cpu",
            dtype=torch.float32,
            max_vision_features_cache_size=1,
        )
        frames.pixels = self.pixels
        session.processed_frames = frames  # read one by one
        corners = boxes_xyxy.reshape(-1, 1, 1, 2, 2).float()  # (O, 1, 1, corner, x y)
        corners = corners / torch.tensor([width, height]) * self.image_size
        for i, points in enumerate(corners):
            labels = torch.tensor([[[2, 3]]], dtype=torch.int32)  # top left, bottom right
            session.add_point_inputs(
                session.obj_id_to_idx(i),
                prompt_frame_idx,
                {"point_coords": points[None, 0], "point_labels": labels},
            )
        session.obj_with_new_inputs = list(range(len(corners)))
        return session


class PackageTracker:
    """Meta's package `sam2`, same arguments as `TransformersTracker` (without torch.compile)."""

    def __init__(
        self,
        model: Any,
        *,
        device: str,
        precision: Literal["bf16", "fp32"],
        keep_state: bool = False,
    ):
        self.model = model.to(device).eval()
        self.device = torch.device(device)
        self.precision = precision
        self.keep_state = keep_state
        self.image_size = int(model.image_size)

    @torch.inference_mode()
    def logits(
        self, frames: ModelFrames, prompt_frame_idx: int, boxes_xyxy: Tensor
    ) -> Iterator[Step]:
        with autocast(self.device, self.precision):
            state = self._state(frames)
            for i, box in enumerate(boxes_xyxy.float()):
                self.model.add_new_points_or_box(
                    state, frame_idx=prompt_frame_idx, obj_id=i, box=box.numpy()
                )
        for reverse in (False, True):
            passes = self.model.propagate_in_video(
                state, start_frame_idx=prompt_frame_idx, reverse=reverse
            )
            while True:
                with autocast(self.device, self.precision):  # not while the caller works
                    step = next(passes, None)
                if step is None:
                    break
                frame_idx, _, logits = step
                if not (reverse and frame_idx == prompt_frame_idx):
                    yield Step(frame_idx, logits.float(), _object_scores(state, frame_idx))
                if not self.keep_state:
                    limits = (self.model.num_maskmem - 1, self.model.max_obj_ptrs_in_encoder - 1)
                    _drop_unread(
                        state["output_dict_per_obj"],
                        state["frames_tracked_per_obj"],
                        prompt_frame_idx,
                        frame_idx,
                        reverse,
                        limits,
                    )

    def _state(self, frames: ModelFrames) -> dict[str, Any]:
        """Meta's `init_state` on our frames; its own loader reads nothing but a folder of JPEGs."""
        import sam2.sam2_video_predictor as predictor

        loader = predictor.load_video_frames
        predictor.load_video_frames = lambda **_: (frames, *frames.frames.size)
        try:
            return self.model.init_state("")
        finally:
            predictor.load_video_frames = loader


def _object_scores(state: Mapping[str, Any], frame_idx: int) -> Tensor:
    """(O,) of a frame that is just done: Meta's package yields masks only, its state has these."""
    found = []
    for outputs in state["output_dict_per_obj"].values():
        kept = outputs["cond_frame_outputs"] | outputs["non_cond_frame_outputs"]
        found.append(kept[frame_idx]["object_score_logits"].float().flatten())
    return torch.cat(found).sigmoid()


def _drop_unread(
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


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context of a model's forward pass: bfloat16 with `bf16` on a GPU, else as it is."""
    if precision == "bf16" and device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


# ------------------------------------------------------------------------------- masklets


def track_boxes(
    tracker: Tracker,
    frames: FrameSource,
    prompt_frame_idx: int,
    boxes_xyxy: NDArray[np.float32],
    *,
    objects_at_once: int,
) -> list[Tracked]:
    """One object per box (O, 4) float32, given at one frame in pixels; in the same order.

    When the GPU's memory does not suffice, the group is split in halves that are tracked again, and
    a warning says so. Raises InputError when one object alone does not fit.
    """
    tracks: list[Tracked] = []
    todo = [torch.from_numpy(np.asarray(boxes_xyxy, np.float32)).reshape(-1, 4)]
    todo = [group for group in todo[0].split(objects_at_once) if len(group)]
    while todo:
        group = todo.pop(0)
        try:
            tracks += _track_group(tracker, frames, prompt_frame_idx, group)
        except OutOfMemory as error:
            torch.cuda.empty_cache()
            if len(group) == 1:
                raise InputError(
                    "masklets=sam2: out of GPU memory with one object; choose a smaller SAM 2 in "
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
    tracker: Tracker, frames: FrameSource, prompt_frame_idx: int, boxes: Tensor
) -> list[Tracked]:
    tracked = [Tracked([None] * len(frames), [0.0] * len(frames)) for _ in boxes]
    prepared = ModelFrames(frames, tracker.image_size)
    try:
        for frame_idx, logits, scores in tracker.logits(prepared, prompt_frame_idx, boxes):
            # one: (1, h, w)
            for found, one, score in zip(tracked, logits, scores.tolist(), strict=True):
                mask = _to_mask(one, frames.size)
                found.track[frame_idx] = encode(mask) if mask.any() else None
                found.object_scores[frame_idx] = round(score, 4)
    finally:
        prepared.close()
    return tracked


def _to_mask(logits: Tensor, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask (H, W) bool of logits (1, h, w), resized like Meta's `_get_orig_video_res_output`."""
    if tuple(logits.shape[-2:]) != size:
        logits = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    return (logits[0] > 0).cpu().numpy()


def load_tracker(
    tracker: str,
    weights: str,
    *,
    device: str,
    precision: Literal["bf16", "fp32"],
    compile: bool,
) -> Tracker:
    """The backend of a name. Raises InputError when the weights or the package are missing."""
    if tracker == "transformers":
        return TransformersTracker(
            load_transformers(weights), device=device, precision=precision, compile=compile
        )
    if tracker == "edgetam":
        return TransformersTracker(
            load_edgetam(weights),
            device=device,
            precision=precision,
            compile=compile,
            pixels=processor_pixels,
        )
    if tracker == "sam2_package":
        return PackageTracker(load_package(weights), device=device, precision=precision)
    raise InputError(f"masklets.tracker={tracker}: expected transformers, edgetam or sam2_package")


def load_package(weights: str) -> Any:
    """Meta's video predictor with the settings of its `build_sam2_video_predictor`.

    That function itself would clear the application's Hydra. Holes in masks are not filled: the
    wheel lacks the extension for this. Raises InputError for missing or unreadable weights.
    """
    path = Path(weights)
    if path.suffix != ".pt":
        raise InputError(
            f"masklets.weights={weights}: masklets.tracker=sam2_package reads Meta's "
            f".pt files only; get one from {DOWNLOAD}"
        )
    if not path.is_file():
        raise missing(weights)
    state = read_meta_file(path)
    size, version = size_of(state), version_of(state)
    name = "sam2.1" if version == "2.1" else "sam2"
    model = build_package(f"{name}/{name}_hiera_{size.name}.yaml")
    model.load_state_dict(state, strict=True)
    return model


def build_package(config: str, changes: Mapping[str, Any] | None = None) -> Any:
    """An untrained predictor from one of the package's own configs.

    changes: {dotted key: value} that replaces settings of the config. Raises InputError without
    the package.
    """
    from hydra.core.global_hydra import GlobalHydra

    application = GlobalHydra.instance().is_initialized()
    try:
        import sam2
    except ImportError:
        raise InputError(
            "masklets.tracker=sam2_package needs the package sam2: "
            "pip install --no-build-isolation sam2"
        ) from None
    if not application:  # importing sam2 takes Hydra's global state where nobody has it yet
        GlobalHydra.instance().clear()
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    settings = OmegaConf.load(Path(sam2.__file__).parent / "configs" / config).model
    settings._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    post_processing = {
        "sam_mask_decoder_extra_args.dynamic_multimask_via_stability": True,
        "sam_mask_decoder_extra_args.dynamic_multimask_stability_delta": 0.05,
        "sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh": 0.98,
        "binarize_mask_from_pts_for_mem_enc": True,
    }
    for key, value in {**post_processing, **(changes or {})}.items():
        OmegaConf.update(settings, key, value, force_add=True)
    OmegaConf.resolve(settings)
    return instantiate(settings).eval()
