"""Frames + nouns -> every instance of each noun: found by a detector, followed by a tracker."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torchvision.ops import box_iou

from rvos.data.frames import Frame, FrameCache
from rvos.masks import Mask, MaskletScores, MaskletTracks, bounding_box
from rvos.tracking.detect import Boxes
from rvos.tracking.track import Tracker, track_boxes


def masklets_of(
    frames: FrameCache,
    nouns: Sequence[str],
    detect: Callable[[Sequence[Frame], Sequence[str]], list[Boxes]],
    tracker: Tracker,
    *,
    prompts: range,
    covered_iou: float,
    objects_at_once: int,
) -> tuple[MaskletTracks, MaskletScores]:
    """Detect every noun at the frames `prompts`, track what no masklet of the noun covers yet.

    `detect` gives the boxes of pairs of a frame and a noun, or a sentence (`Detector.detect`).
    """
    result: MaskletTracks = {noun: [] for noun in nouns}
    scores: MaskletScores = {noun: {"detector": [], "object": []} for noun in nouns}
    for prompt_frame_idx in prompts:
        frame = frames[prompt_frame_idx]
        detected = detect([frame] * len(nouns), nouns)
        fresh = {
            noun: _uncovered(boxes, [t[prompt_frame_idx] for t in result[noun]], covered_iou)
            for noun, boxes in zip(nouns, detected, strict=True)
        }
        # All nouns in one pass: the image features are shared.
        tracked = iter(
            track_boxes(
                tracker,
                frames,
                prompt_frame_idx,
                np.concatenate([boxes.xyxy for boxes in fresh.values()]),
                objects_at_once=objects_at_once,
            )
        )
        for noun, boxes in fresh.items():
            for confidence, instance in zip(boxes.confidence.tolist(), tracked, strict=False):
                result[noun].append(instance.track)
                scores[noun]["detector"].append(round(confidence, 6))
                scores[noun]["object"].append(instance.object_scores)
    return result, scores


def _uncovered(boxes: Boxes, masks: Sequence[Mask], covered_iou: float) -> Boxes:
    """The boxes that overlap no mask's bounding box by `covered_iou` or more."""
    taken = np.array([box for box in map(bounding_box, masks) if box], np.float32).reshape(-1, 4)
    overlaps = box_iou(torch.from_numpy(boxes.xyxy), torch.from_numpy(taken))  # (O, M)
    free = (overlaps < covered_iou).all(1).numpy()
    return Boxes(boxes.xyxy[free], boxes.confidence[free])
