"""Noun -> Grounding DINO -> SAM 2 -> masklets: `masklets=sam2`, one video at a time."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rvos import InputError
from rvos.frames import DecodedFrames, Frames
from rvos.masklets.detect import DOWNLOAD, Detector, load_detector
from rvos.masklets.sam2 import Tracker, load_tracker, track_boxes
from rvos.masklets.sam2_weights import weights_sha256
from rvos.masklets.stage import Masklets, VideoTask
from rvos.masks import Mask, bounding_box


class Sam2Method:
    """The arguments are the keys of conf/masklets/sam2.yaml. Weights load at the first video."""

    reads_frames = True

    def __init__(
        self,
        *,
        detect: Mapping[str, Any],
        tracker: str,
        weights: str,
        objects_at_once: int,
        precision: Literal["bf16", "fp32"],
        compile: bool,
        device: str,
    ):
        given = dict(detect)
        self.frames: str = given.pop("frames")
        self.stride: int = given.pop("stride")
        self.covered_iou: float = given.pop("covered_iou")
        if self.frames not in ("first", "stride"):
            raise InputError(f"masklets.detect.frames={self.frames}: expected first or stride")
        if self.stride < 1:
            raise InputError(f"masklets.detect.stride={self.stride}: expected frames, at least 1")
        if objects_at_once < 1:
            raise InputError(f"masklets.objects_at_once={objects_at_once}: expected at least 1")
        if precision not in ("bf16", "fp32"):
            raise InputError(f"masklets.precision={precision}: expected bf16 or fp32")
        self.detect = given
        self.tracker_name = tracker
        self.weights = weights
        self.objects_at_once = objects_at_once
        self.precision: Literal["bf16", "fp32"] = precision
        self.compile = compile
        self.device = device
        self._loaded: tuple[Detector, Tracker] | None = None

    def settings(self) -> dict[str, Any]:
        """What decides the masks. Batch and group sizes do not, beyond the last float digits."""
        detect = {k: v for k, v in self.detect.items() if k not in ("weights", "batch_size")}
        detect |= {"frames": self.frames, "covered_iou": self.covered_iou}
        if self.frames == "stride":
            detect["stride"] = self.stride
        return {"detect": detect, "tracker": self.tracker_name, "precision": self.precision}

    def checkpoint_sha256(self) -> str:
        """Of the detector's and the tracker's weights. Raises InputError where they are missing."""
        return "+".join(
            [
                weights_sha256(
                    "masklets.detect.weights", self.detect["weights"], download=DOWNLOAD
                ),
                weights_sha256("masklets.weights", self.weights),
            ]
        )

    def make(self, task: VideoTask, frames: Frames | None) -> Masklets:
        assert frames is not None
        detector, tracker = self._models()
        with DecodedFrames(frames) as decoded:
            return masklets_of(
                decoded,
                task.wanted,
                detector,
                tracker,
                prompts=self._prompt_frames(len(frames)),
                covered_iou=self.covered_iou,
                objects_at_once=self.objects_at_once,
            )

    def _prompt_frames(self, num_frames: int) -> range:
        return range(0, num_frames, self.stride) if self.frames == "stride" else range(1)

    def _models(self) -> tuple[Detector, Tracker]:
        if self._loaded is None:
            self._loaded = (
                load_detector(**self.detect, device=self.device),
                load_tracker(
                    self.tracker_name,
                    self.weights,
                    device=self.device,
                    precision=self.precision,
                    compile=self.compile,
                ),
            )
        return self._loaded


def masklets_of(
    frames: DecodedFrames,
    nouns: Sequence[str],
    detector: Detector,
    tracker: Tracker,
    *,
    prompts: range,
    covered_iou: float,
    objects_at_once: int,
) -> Masklets:
    """Detect every noun at the frames `prompts`, track what no masklet of the noun covers yet."""
    result: Masklets = {noun: [] for noun in nouns}
    for prompt_frame_idx in prompts:
        frame = frames[prompt_frame_idx]
        found = detector.detect([frame] * len(nouns), nouns)
        fresh = {
            noun: _uncovered(boxes.xyxy, [t[prompt_frame_idx] for t in result[noun]], covered_iou)
            for noun, boxes in zip(nouns, found, strict=True)
        }
        # All nouns in one pass: the image features are shared.
        tracks = track_boxes(
            tracker,
            frames,
            prompt_frame_idx,
            np.concatenate([*fresh.values()]),
            objects_at_once=objects_at_once,
        )
        for noun, boxes_xyxy in fresh.items():
            result[noun] += tracks[: len(boxes_xyxy)]
            del tracks[: len(boxes_xyxy)]
    return result


def _uncovered(
    boxes_xyxy: NDArray[np.float32], masks: Sequence[Mask], covered_iou: float
) -> NDArray[np.float32]:
    """The boxes (O, 4) that overlap no mask's bounding box by `covered_iou` or more."""
    taken = np.array([box for box in map(bounding_box, masks) if box], np.float32).reshape(-1, 4)
    return boxes_xyxy[(box_iou(boxes_xyxy, taken) < covered_iou).all(1)]


def box_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of boxes (M, 4) and (N, 4) xyxy -> (M, N)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = (high - low).clip(0).prod(-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b))
    return inside / np.maximum(area_a[:, None] + area_b[None] - inside, 1e-9)
