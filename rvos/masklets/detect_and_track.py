"""Noun -> Grounding DINO -> SAM 2 -> masklets: `masklets=sam2`, one video at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torchvision.ops import box_iou

from rvos import flag, one_of, real, require, whole, words
from rvos.data.frames import Frame, FrameCache, Frames
from rvos.masklets.detect import Boxes, load_detector
from rvos.masklets.sam2 import load_tracker
from rvos.masklets.source import Masklets, MaskletScores, VideoTask
from rvos.masklets.stage import MadeMasklets
from rvos.masklets.tracking import Tracker, track_boxes
from rvos.masks import Mask, bounding_box
from rvos.stages.devices import Place


@dataclass(kw_only=True)
class Detection:
    """`masklets.detect.*`: where and how Grounding DINO looks for the noun."""

    group: ClassVar[str] = "masklets"  # in messages
    weights: str  # Hugging Face folder or name
    frames: str  # first | stride
    stride: int  # frames
    box_threshold: float  # least confidence of a box
    text_threshold: float  # least confidence of the noun's words
    nms_iou: float  # of two boxes that overlap more, the less confident goes
    covered_iou: float  # a box that overlaps a masklet this much starts no other
    batch_size: int  # pairs of frame and noun at once

    def __post_init__(self) -> None:
        share = real(least=0, most=1)
        require(
            self,
            f"{self.group}.detect",
            weights=words(),
            frames=one_of("first", "stride"),
            stride=whole(1),
            box_threshold=share,
            text_threshold=share,
            nms_iou=share,
            covered_iou=share,
            batch_size=whole(1),
        )

    def prompt_frames(self, num_frames: int) -> range:
        """The frames in which objects are looked for."""
        return range(0, num_frames, self.stride) if self.frames == "stride" else range(1)

    def settings(self) -> dict[str, Any]:
        """What decides the boxes, besides the weights."""
        free = {"weights", "batch_size"} | ({"stride"} if self.frames == "first" else set())
        return {key: value for key, value in vars(self).items() if key not in free}


class Finder(Protocol):
    """What finds the boxes of nouns, or of sentences, in frames; see `Detector.detect`."""

    def detect(self, frames: Sequence[Frame], nouns: Sequence[str]) -> list[Boxes]: ...


@dataclass(kw_only=True)
class DetectAndTrack:
    """The keys and networks of whatever detects boxes and tracks them."""

    detect: Detection
    tracker: str
    weights: str
    objects_at_once: int
    precision: Literal["bf16", "fp32"]
    compile: bool

    group: ClassVar[str] = "masklets"  # in messages
    uses_gpu: ClassVar[bool] = True
    may_have_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(
            self,
            self.group,
            tracker=one_of("transformers", "edgetam", "sam2_package"),
            weights=words(),
            objects_at_once=whole(1),
            precision=one_of("bf16", "fp32"),
            compile=flag(),
        )

    def settings(self) -> dict[str, Any]:
        """What decides the masks. Batch and group sizes do not, beyond the last float digits."""
        return {
            "detect": self.detect.settings(),
            "tracker": self.tracker,
            "precision": self.precision,
        }

    def weights_used(self) -> dict[str, str]:
        """{config key: path, or name on the hub} of the detector's and the tracker's weights."""
        return {
            f"{self.group}.detect.weights": self.detect.weights,
            f"{self.group}.weights": self.weights,
        }

    def prepare(self, place: Place) -> None:
        """Load the networks."""
        self._detector = load_detector(
            self.detect.weights,
            key=f"{self.group}.detect.weights",
            box_threshold=self.detect.box_threshold,
            text_threshold=self.detect.text_threshold,
            nms_iou=self.detect.nms_iou,
            batch_size=self.detect.batch_size,
            device=place.device,
        )
        self._tracker = load_tracker(
            self.tracker,
            self.weights,
            device=place.device,
            precision=self.precision,
            compile=self.compile,
        )

    def open(self, frames: Frames) -> FrameCache:
        """The frames, decoded once."""
        return FrameCache(frames).fill()


@dataclass(kw_only=True)
class Sam2(DetectAndTrack, MadeMasklets):
    """`masklets=sam2`: Grounding DINO's boxes of the noun, tracked by SAM 2."""

    name = "sam2"

    def make(self, task: VideoTask, frames: Frames | None) -> Masklets:
        return self.make_scored(task, frames)[0]

    def make_scored(self, task: VideoTask, frames: Frames | None) -> tuple[Masklets, MaskletScores]:
        assert isinstance(frames, FrameCache)
        return masklets_of(
            frames,
            task.wanted,
            self._detector,
            self._tracker,
            prompts=self.detect.prompt_frames(len(frames)),
            covered_iou=self.detect.covered_iou,
            objects_at_once=self.objects_at_once,
        )


def masklets_of(
    frames: FrameCache,
    nouns: Sequence[str],
    detector: Finder,
    tracker: Tracker,
    *,
    prompts: range,
    covered_iou: float,
    objects_at_once: int,
) -> tuple[Masklets, MaskletScores]:
    """Detect every noun at the frames `prompts`, track what no masklet of the noun covers yet.

    Where the detector takes sentences, these stand in place of the nouns.
    """
    result: Masklets = {noun: [] for noun in nouns}
    scores: MaskletScores = {noun: {"detector": [], "object": []} for noun in nouns}
    for prompt_frame_idx in prompts:
        frame = frames[prompt_frame_idx]
        found = detector.detect([frame] * len(nouns), nouns)
        fresh = {
            noun: _uncovered(boxes, [t[prompt_frame_idx] for t in result[noun]], covered_iou)
            for noun, boxes in zip(nouns, found, strict=True)
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
            for confidence, one in zip(boxes.confidence.tolist(), tracked, strict=False):
                result[noun].append(one.track)
                scores[noun]["detector"].append(round(confidence, 6))
                scores[noun]["object"].append(one.object_scores)
    return result, scores


def _uncovered(boxes: Boxes, masks: Sequence[Mask], covered_iou: float) -> Boxes:
    """The boxes that overlap no mask's bounding box by `covered_iou` or more."""
    taken = np.array([box for box in map(bounding_box, masks) if box], np.float32).reshape(-1, 4)
    overlaps = box_iou(torch.from_numpy(boxes.xyxy), torch.from_numpy(taken))  # (O, M)
    free = (overlaps < covered_iou).all(1).numpy()
    return Boxes(boxes.xyxy[free], boxes.confidence[free])
