"""Nouns -> all their instances in a video, by SAM 3.

Carion et al., SAM 3: Segment Anything with Concepts, 2025, as transformers' `Sam3VideoModel`. All
nouns of a video share a pass: the image features do. What transformers leaves to the hub package
`kernels`, and silently skips without it, is done here (`MaskKernels`), and the tracking state
keeps only what a later frame reads.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from rvos.data.frames import FrameCache
from rvos.errors import InputError
from rvos.masks import MaskletScores, MaskletTracks, Track, encode
from rvos.tracking.pretrained import load_processor, load_strictly
from rvos.tracking.sam2_frames import ModelFrames, open_session, processor_pixels
from rvos.tracking.track import VideoModel

DOWNLOAD = "https://huggingface.co/facebook/sam3"
PROMPT_TOKENS = 32  # the text encoder has no more positions
HALF = (0.5, 0.5, 0.5)  # mean and deviation of the input


def load_sam3(weights: str) -> tuple[Any, Any]:
    """`Sam3VideoModel` (eval mode, CPU, float32) and its processor, from a folder or a hub's name.

    Raises InputError for weights that are missing, not granted, or of another model.
    """
    from transformers import Sam3VideoModel
    from transformers.models.sam3_video import modeling_sam3_video

    modeling_sam3_video.cv_utils_kernel = MaskKernels()
    model = load_strictly(Sam3VideoModel, weights, kind="SAM 3 video", download=DOWNLOAD)
    return model, load_sam3_processor(weights)


def load_sam3_processor(weights: str) -> Any:
    """The processor alone. Raises InputError as `load_sam3`."""
    from transformers import Sam3VideoProcessor

    return load_processor(Sam3VideoProcessor, weights, download=DOWNLOAD)


def check_nouns(processor: Any, nouns: Sequence[str]) -> None:
    """Raises InputError for the first that has more tokens than the text encoder reads."""
    for noun in nouns:
        if (count := len(processor.tokenizer(noun)["input_ids"])) > PROMPT_TOKENS:
            raise InputError(
                f"noun {noun!r:.60}: expected at most {PROMPT_TOKENS} tokens for SAM 3, got {count}"
            )


class MaskKernels:
    """What transformers calls of `kernels-community/cv-utils`, on any device."""

    def generic_nms(
        self, ious: Tensor, scores: Tensor, iou_threshold: float, use_iou_matrix: bool = True
    ) -> Tensor:
        """Positions (K,) of those of (N,) that overlap no better one by more than the threshold.

        `ious` is (N, N). Of equal scores the earlier is the better.
        """
        assert use_iou_matrix
        better = (ious > iou_threshold).cpu()
        kept: list[int] = []
        for i in scores.cpu().argsort(descending=True, stable=True).tolist():
            if not better[i, kept].any():
                kept.append(i)
        return torch.tensor(kept, dtype=torch.long, device=scores.device)

    def cc_2d(self, masks: Tensor, get_counts: bool = True) -> tuple[Tensor, Tensor]:
        """Labels, and each pixel's area of its component, of (N, 1, H, W) uint8; int32.

        Pixels that touch at a corner are connected. The background has label and area 0.
        """
        assert get_counts
        labels = np.zeros(masks.shape, np.int32)
        areas = np.zeros(masks.shape, np.int32)
        for i, mask in enumerate(masks[:, 0].cpu().numpy()):
            _, labels[i, 0], stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            stats[0, cv2.CC_STAT_AREA] = 0
            areas[i, 0] = stats[labels[i, 0], cv2.CC_STAT_AREA]
        return torch.from_numpy(labels).to(masks.device), torch.from_numpy(areas).to(masks.device)


class ConceptSegmenter(VideoModel):
    """SAM 3 on whole videos; `settings` of `VideoModel`."""

    def __init__(self, model: Any, processor: Any, **settings: Any):
        super().__init__(model, **settings)
        self.processor = processor
        self._before: dict[int, float] = {}  # the tracker's scores of the frame, by object
        self._propagate, self._build = model.run_tracker_propagation, model.build_outputs
        model.run_tracker_propagation = self._run_tracker_propagation
        model.build_outputs = self._build_outputs

    # In the frame in which it takes an object back, transformers 5.23 pairs the masks and scores of
    # the objects before that with the objects left: each behind it would get its neighbour's.

    def _run_tracker_propagation(self, inference_session: Any, **named: Any) -> tuple[Any, Any]:
        ids = list(inference_session.obj_ids)
        masks, scores = self._propagate(inference_session=inference_session, **named)
        self._before = dict(zip(ids, scores.flatten().sigmoid().tolist(), strict=True))
        return masks, scores

    def _build_outputs(self, inference_session: Any, **named: Any) -> dict[int, Tensor]:
        before = SimpleNamespace(obj_ids=list(self._before))
        return self._build(inference_session=before, **named)

    def _output(self, session: Any, frame_idx: int) -> Any:
        """The model's output of a frame; a new object's tracker score is the detector's."""
        with self.autocast():
            output = self.model(inference_session=session, frame_idx=frame_idx)
        output.obj_id_to_tracker_score = {
            key: self._before.get(key, output.obj_id_to_score[key]) for key in output.obj_id_to_mask
        }
        return output

    def segment(
        self, frames: FrameCache, nouns: Sequence[str]
    ) -> tuple[MaskletTracks, MaskletScores]:
        """Tracks and scores of every instance, by noun, in the order in which they were found.

        `detector` is the score with which an instance was found, `object` the tracker's that it is
        visible: 0 before that and where it has no mask.
        """
        tracks: dict[str, dict[int, Track]] = {noun: {} for noun in nouns}
        seen: dict[int, list[float]] = {}
        sure: dict[int, float] = {}
        for result, frame_idx, visible in self._frames(frames, nouns):
            masks = dict(zip(result["object_ids"].tolist(), result["masks"], strict=True))
            sure |= dict(zip(masks, result["scores"].tolist(), strict=True))
            for noun, ids in result["prompt_to_obj_ids"].items():
                for key in ids:
                    mask = masks[key].cpu().numpy()
                    if mask.any():
                        track = tracks[noun].setdefault(key, [None] * len(frames))
                        track[frame_idx] = encode(mask)
                        scores = seen.setdefault(key, [0.0] * len(frames))
                        scores[frame_idx] = round(visible[key], 4)
        scored: MaskletScores = {
            noun: {
                "detector": [round(sure[key], 6) for key in objects],
                "object": [seen[key] for key in objects],
            }
            for noun, objects in tracks.items()
        }
        return {noun: list(objects.values()) for noun, objects in tracks.items()}, scored

    @torch.inference_mode()
    def _frames(
        self, frames: FrameCache, nouns: Sequence[str]
    ) -> Iterator[tuple[dict[str, Any], int, dict[int, float]]]:
        """The processor's result, the frame, and the tracker's scores by object, frame by frame.

        They come `hotstart_delay` frames late: by then the model may have taken back an object.
        """
        pixels = partial(processor_pixels, mean=HALF, std=HALF)
        prepared = ModelFrames(frames, self.image_size, pixels)
        session = self._session(prepared, nouns)
        waiting: deque[Any] = deque()
        delay = max(self.model.config.hotstart_delay, 1)
        try:
            for frame_idx in range(len(frames)):
                waiting.append(self._output(session, frame_idx))
                session.hotstart_removed_obj_ids |= waiting[-1].removed_obj_ids
                if not self.keep_state:
                    drop_unread(session, frame_idx, self.model.config.tracker_config)
                while len(waiting) >= (delay if frame_idx < len(frames) - 1 else 1):
                    output = waiting.popleft()
                    result = self.processor.postprocess_outputs(session, output)
                    yield result, output.frame_idx, output.obj_id_to_tracker_score
        finally:
            prepared.close()

    def _session(self, frames: ModelFrames, nouns: Sequence[str]) -> Any:
        """A session of the library that reads frames one by one, asked for these nouns."""
        from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

        session = open_session(Sam3VideoInferenceSession, frames, self.device)
        check_nouns(self.processor, nouns)
        self.processor.add_text_prompt(session, list(nouns))
        return session


def drop_unread(session: Any, frame_idx: int, config: Any) -> None:
    """Remove from a session's state what no frame after `frame_idx` will read.

    A frame reads, of the frames before it: the memories of the last `num_maskmem` - 1 and of the
    last `max_cond_frame_num` conditioning frames (those in which a detection confirmed the
    object), the object pointers of the last `max_object_pointers_in_encoder` - 1 and of all
    conditioning frames. Masks and scores are read in their own frame only.
    """
    num_memories = config.num_maskmem - 1
    num_pointers = config.max_object_pointers_in_encoder - 1
    for entry in session.output_dict_per_obj.values():
        conditioning, others = entry["cond_frame_outputs"], entry["non_cond_frame_outputs"]
        num_confirmed = config.max_cond_frame_num
        confirmed = sorted(conditioning)[-num_confirmed if num_confirmed > 0 else 0 :]
        for outputs in (conditioning, others):
            for t in list(outputs):
                age = frame_idx - t
                for key in ("pred_masks", "high_res_masks", "object_score_logits"):
                    outputs[t].pop(key, None)
                if age >= num_memories and not (outputs is conditioning and t in confirmed):
                    outputs[t].pop("maskmem_features", None)
                    outputs[t].pop("maskmem_pos_enc", None)
                if outputs is others and age >= max(num_pointers, num_memories):
                    del outputs[t]
    for by_object in (session.mask_inputs_per_obj, session.frames_tracked_per_obj):
        for by_frame in by_object.values():
            by_frame.clear()
    for by_frame in (session.obj_id_to_tracker_score_frame_wise, session.suppressed_obj_ids):
        by_frame.clear()
