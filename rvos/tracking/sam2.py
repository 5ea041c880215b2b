"""SAM 2 as a tracker, and the choice among trackers: `masklets.tracker`.

Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024, by transformers' `Sam2VideoModel`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from rvos.tracking.sam2_frames import (
    ModelFrames,
    Pixels,
    open_session,
    processor_pixels,
    sam2_pixels,
)
from rvos.tracking.sam2_package import PackageTracker, load_package
from rvos.tracking.sam2_weights import load_edgetam, load_transformers
from rvos.tracking.track import Step, Tracker, VideoModel, drop_unread


class TransformersTracker(VideoModel):
    """transformers' `Sam2VideoModel`, and any model of its family: `EdgeTamVideoModel`.

    compile: torch.compile of the image encoder.
    pixels: how the model's frames are prepared.
    settings: of `VideoModel`.
    """

    def __init__(self, model: Any, *, compile: bool, pixels: Pixels = sam2_pixels, **settings: Any):
        super().__init__(model, **settings)
        self.pixels = pixels
        if compile:
            self.model.vision_encoder.compile()
        _take_masks_as_meta(self.model)

    @torch.inference_mode()
    def logits(self, frames: ModelFrames, prompt_frame_idx: int, prompts: Tensor) -> Iterator[Step]:
        session, config = self._session(frames, prompt_frame_idx, prompts), self.model.config
        forward = range(prompt_frame_idx, len(frames))
        backward = range(prompt_frame_idx - 1, -1, -1)
        for reverse, order in ((False, forward), (True, backward)):
            for frame_idx in order:
                with self.autocast():
                    output = self.model(
                        inference_session=session, frame_idx=frame_idx, reverse=reverse
                    )
                scores = output.object_score_logits.float().flatten().sigmoid()
                yield Step(frame_idx, output.pred_masks.float(), scores)
                if not self.keep_state:
                    drop_unread(
                        session.output_dict_per_obj,
                        session.frames_tracked_per_obj,
                        prompt_frame_idx,
                        frame_idx,
                        reverse,
                        (config.num_maskmem - 1, config.max_object_pointers_in_encoder - 1),
                    )

    def _session(self, frames: ModelFrames, prompt_frame_idx: int, prompts: Tensor) -> Any:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        frames.pixels = self.pixels
        session = open_session(
            Sam2VideoInferenceSession, frames, self.device, max_vision_features_cache_size=1
        )
        if prompts.ndim == 3:
            for i, mask in enumerate(self._resized(prompts)):
                session.add_mask_inputs(session.obj_id_to_idx(i), prompt_frame_idx, mask[None])
        else:
            corners = prompts.reshape(-1, 1, 1, 2, 2).float()  # (O, 1, 1, corner, x y)
            corners = corners / torch.tensor(frames.frames.size[::-1]) * self.image_size
            for i, points in enumerate(corners):
                labels = torch.tensor([[[2, 3]]], dtype=torch.int32)  # top left, bottom right
                session.add_point_inputs(
                    session.obj_id_to_idx(i),
                    prompt_frame_idx,
                    {"point_coords": points[None, 0], "point_labels": labels},
                )
        session.obj_with_new_inputs = list(range(len(prompts)))
        return session

    def _resized(self, masks: Tensor) -> Tensor:
        """Masks (O, H, W) bool -> (O, 1, S, S) float32, as Meta's `add_new_mask` resizes them."""
        size = (self.image_size, self.image_size)
        pixels = F.interpolate(
            masks[:, None].float(), size, mode="bilinear", align_corners=False, antialias=True
        )
        return (pixels >= 0.5).float()


def _take_masks_as_meta(model: Any) -> None:
    """Let transformers' model take a mask as prompt as Meta's predictor does.

    Meta's (`SAM2Base._use_mask_as_output`, `propagate_in_video_preflight`) asks the decoder for one
    mask instead of three, and remembers the mask at a quarter of the resolution, enlarged.
    """
    forward, whole = model._single_frame_forward, model._use_mask_as_output
    model._single_frame_forward = partial(forward, multimask_output=False)  # else said by who calls

    def use_mask_as_output(*arguments: Any, **named: Any) -> Any:
        output = whole(*arguments, **named)
        size = output.high_res_masks.shape[-2:]
        output.high_res_masks = F.interpolate(
            output.pred_masks.float(), size, mode="bilinear", align_corners=False
        )
        return output

    model._use_mask_as_output = use_mask_as_output


def load_tracker(
    tracker: Literal["transformers", "edgetam", "sam2_package"],
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
    return PackageTracker(load_package(weights), device=device, precision=precision)
