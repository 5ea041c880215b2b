"""Boxes at their frames -> masklets over the whole video, by SAM 2, forward and backward.

Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024. Two backends with the same pixels
and weights: transformers' `Sam2VideoModel` and Meta's own package `sam2`. Memory does not grow with
the length of the video: frames are read when needed, and of the tracking state only what a later
frame reads is kept. Objects are tracked in groups of `objects_at_once`, each group in its own pass.
"""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from rvos import InputError
from rvos.frames import Frame
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

MEAN = (0.485, 0.456, 0.406)  # ImageNet, as SAM 2 was trained
STD = (0.229, 0.224, 0.225)
OutOfMemory = torch.cuda.OutOfMemoryError


class FrameSource(Protocol):
    size: tuple[int, int]

    def __len__(self) -> int: ...

    def __getitem__(self, frame_idx: int) -> Frame: ...


class ModelFrames:
    """Frames as SAM 2 takes them, made when asked: (3, S, S) float32, normalised.

    Resized by Pillow's bicubic filter without regard to the aspect ratio, as Meta's loader does.
    While the model works on one frame, a thread prepares the next in the same direction.
    """

    def __init__(self, frames: FrameSource, image_size: int):
        self.frames = frames
        self.image_size = image_size
        self._thread = ThreadPoolExecutor(1)  # the only reader of `frames`
        self._ready: dict[int, Future[Tensor]] = {}
        self._last = -1

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, frame_idx: int) -> Tensor:
        if frame_idx == self._last:
            return self._ready[frame_idx].result()
        step = -1 if frame_idx < self._last else 1
        wanted = [i for i in (frame_idx, frame_idx + step) if 0 <= i < len(self)]
        self._ready = {
            i: self._ready.get(i) or self._thread.submit(self._prepare, i) for i in wanted
        }
        self._last = frame_idx
        return self._ready[frame_idx].result()

    def close(self) -> None:
        self._thread.shutdown()

    def _prepare(self, frame_idx: int) -> Tensor:
        size = (self.image_size, self.image_size)
        image = Image.fromarray(self.frames[frame_idx]).resize(size)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255  # (3, S, S)
        return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


class Tracker(Protocol):
    """Follows boxes through a video."""

    image_size: int

    def logits(
        self, frames: ModelFrames, prompt_frame_idx: int, boxes_xyxy: Tensor
    ) -> Iterator[tuple[int, Tensor]]:
        """Boxes (O, 4) float32, in pixels of the original frame, given at one frame.

        Yields (frame_idx, mask logits (O, 1, h, w) float32 at the model's or the video's
        resolution), every frame once: from the prompt on, then backward from it.
        """


class TransformersTracker:
    """transformers' `Sam2VideoModel`.

    precision: `bf16` uses autocast around the model on a GPU; `fp32` does not.
    compile: torch.compile of the image encoder.
    keep_state: keep all state of the session, as the library does (for tests; memory grows).
    """

    def __init__(
        self,
        model: Any,
        *,
        device: str,
        precision: Literal["bf16", "fp32"],
        compile: bool,
        keep_state: bool = False,
    ):
        self.model = model.to(device).eval()
        self.device = torch.device(device)
        self.precision = precision
        self.keep_state = keep_state
        self.image_size = int(model.config.image_size)
        if compile:
            self.model.vision_encoder.compile()

    @torch.inference_mode()
    def logits(
        self, frames: ModelFrames, prompt_frame_idx: int, boxes_xyxy: Tensor
    ) -> Iterator[tuple[int, Tensor]]:
        session = self._session(frames, prompt_frame_idx, boxes_xyxy)
        last = len(frames) - 1
        for reverse in (False, True):
            order = (
                range(prompt_frame_idx - 1, -1, -1)
                if reverse
                else range(prompt_frame_idx, last + 1)
            )
            for frame_idx in order:
                with _autocast(self.device, self.precision):
                    output = self.model(
                        inference_session=session, frame_idx=frame_idx, reverse=reverse
                    )
                yield frame_idx, output.pred_masks.float()
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
    ) -> Iterator[tuple[int, Tensor]]:
        with _autocast(self.device, self.precision):
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
                with _autocast(self.device, self.precision):  # not while the caller works
                    step = next(passes, None)
                if step is None:
                    break
                frame_idx, _, logits = step
                if not (reverse and frame_idx == prompt_frame_idx):
                    yield frame_idx, logits.float()
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
        """Meta's `init_state` on our frames: it would only read a folder of JPEGs."""
        import sam2.sam2_video_predictor as predictor

        loader = predictor.load_video_frames
        predictor.load_video_frames = lambda **_: (frames, *frames.frames.size)
        try:
            return self.model.init_state("")
        finally:
            predictor.load_video_frames = loader


def _drop_unread(
    outputs: Mapping[int, dict],
    tracked: Mapping[int, dict],
    prompt_frame_idx: int,
    frame_idx: int,
    reverse: bool,
    limits: tuple[int, int],
) -> None:
    """Remove from the state after `frame_idx` what neither direction will read again.

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


def _autocast(device: torch.device, precision: str) -> AbstractContextManager:
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
) -> list[Track]:
    """Boxes (O, 4) float32 at one frame, in pixels -> one track per box, in the same order.

    When the GPU's memory does not suffice, a group is tracked again in halves, with a warning.
    Raises InputError when one object alone does not fit.
    """
    tracks: list[Track] = []
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
) -> list[Track]:
    tracks: list[Track] = [[None] * len(frames) for _ in boxes]
    prepared = ModelFrames(frames, tracker.image_size)
    try:
        for frame_idx, logits in tracker.logits(prepared, prompt_frame_idx, boxes):
            for track, one in zip(tracks, logits, strict=True):  # one: (1, h, w)
                mask = _to_mask(one, frames.size)
                track[frame_idx] = encode(mask) if mask.any() else None
    finally:
        prepared.close()
    return tracks


def _to_mask(logits: Tensor, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(1, h, w) logits -> (H, W) bool, resized as Meta's `_get_orig_video_res_output` does."""
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
    """The backend by name. Raises InputError where weights or package are missing."""
    if tracker == "transformers":
        return TransformersTracker(
            load_transformers(weights), device=device, precision=precision, compile=compile
        )
    if tracker == "sam2_package":
        return PackageTracker(load_package(weights), device=device, precision=precision)
    raise InputError(f"masklets.tracker={tracker}: expected transformers or sam2_package")


def load_package(weights: str) -> Any:
    """Meta's video predictor with the settings of its `build_sam2_video_predictor`.

    That function itself would clear the application's Hydra. Holes are not filled (an extension
    that the wheel does not have).
    """
    from pathlib import Path

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
    folder = "sam2.1" if version == "2.1" else "sam2"
    prefix = "sam2.1" if version == "2.1" else "sam2"
    model = build_package(f"{folder}/{prefix}_hiera_{size.name}.yaml")
    model.load_state_dict(state, strict=True)
    return model


def build_package(config: str, changes: Mapping[str, Any] | None = None) -> Any:
    """An untrained predictor from one of the package's own configs; `changes` by dotted key."""
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
    from pathlib import Path

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
