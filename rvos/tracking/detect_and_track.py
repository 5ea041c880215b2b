"""Settings and networks of what detects boxes with Grounding DINO and tracks them.

Torch is imported when the networks are loaded, so that wrong settings are named at once.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from rvos.data.frames import FrameCache
from rvos.masks import MaskletScores, MaskletTracks
from rvos.settings import Count, Flag, Share, Text, checked, wrong
from rvos.stages.devices import Place
from rvos.weights.kinds import HubFolder, names_file
from rvos.weights.local import find


@checked(frozen=False, kw_only=True)
class Detection:
    """`detect.*`: where and how Grounding DINO looks for the noun or the sentence."""

    weights: HubFolder
    frames: Literal["first", "stride"]
    stride: Count  # frames
    box_threshold: Share  # least confidence of a box
    text_threshold: Share  # least confidence of the noun's words
    nms_iou: Share  # of two boxes that overlap more, the less confident goes
    covered_iou: Share  # a box that overlaps a masklet this much starts no other
    batch_size: Count  # pairs of frame and noun at once

    def prompt_frames(self, num_frames: int) -> range:
        """The frames in which objects are looked for."""
        return range(0, num_frames, self.stride) if self.frames == "stride" else range(1)

    def settings(self) -> dict[str, Any]:
        """What decides the boxes, besides the weights."""
        free = {"weights", "batch_size"} | ({"stride"} if self.frames == "first" else set())
        return {key: value for key, value in vars(self).items() if key not in free}


@checked(frozen=False, kw_only=True)
class Tracking:
    """The keys and the network of whatever tracks by SAM 2 or a model of its family."""

    tracker: Literal["transformers", "edgetam", "sam2_package"]
    weights: Text
    objects_at_once: Count
    precision: Literal["bf16", "fp32"]
    compile: Flag

    group: ClassVar[str] = "masklets"  # in messages
    uses_gpu: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises SettingsError for weights that the tracker does not read."""
        row, is_file = find(self.weights), names_file(self.weights)
        model_type = row.model_type if row else None  # None: not known
        reads, expected = {
            "transformers": (
                model_type in (None, "sam2_video"),
                "SAM 2's folder or name on the hub, or Meta's .pt file",
            ),
            "edgetam": (
                model_type in (None, "edgetam_video") and not is_file,
                "EdgeTAM's folder, or yonigozlan/EdgeTAM-hf",
            ),
            "sam2_package": (is_file, "Meta's .pt file"),
        }[self.tracker]
        if not reads:
            raise wrong("weights", f"{expected}, for tracker={self.tracker}", self.weights)

    def settings(self) -> dict[str, Any]:
        """What decides the masks. Batch and group sizes do not, beyond the last float digits."""
        return {"tracker": self.tracker, "precision": self.precision}

    def weights_used(self) -> dict[str, str]:
        """{config key: path, or name on the hub} of the weights."""
        return {f"{self.group}.weights": self.weights}

    def prepare(self, place: Place) -> None:
        """Load the network."""
        from rvos.tracking.sam2 import load_tracker

        self._tracker = load_tracker(
            self.tracker,
            self.weights,
            device=place.device,
            precision=self.precision,
            compile=self.compile,
        )


@checked(frozen=False, kw_only=True)
class DetectAndTrack(Tracking):
    """The keys and networks of whatever detects boxes and tracks them."""

    detect: Detection

    may_have_scores: ClassVar[bool] = True

    def settings(self) -> dict[str, Any]:
        return {"detect": self.detect.settings(), **super().settings()}

    def weights_used(self) -> dict[str, str]:
        return {f"{self.group}.detect.weights": self.detect.weights, **super().weights_used()}

    def prepare(self, place: Place) -> None:
        from rvos.tracking.detect import Detector, load_detector

        self._detector = Detector(
            *load_detector(self.detect.weights, key=f"{self.group}.detect.weights"),
            box_threshold=self.detect.box_threshold,
            text_threshold=self.detect.text_threshold,
            nms_iou=self.detect.nms_iou,
            batch_size=self.detect.batch_size,
            device=place.device,
        )
        super().prepare(place)

    def instances(
        self,
        frames: FrameCache,
        nouns: Sequence[str],
        subjects: Sequence[str | None] | None = None,
    ) -> tuple[MaskletTracks, MaskletScores]:
        """Tracks and scores of all instances of each noun; `subjects` as `Detector.detect`."""
        from rvos.tracking.instances import masklets_of

        return masklets_of(
            frames,
            nouns,
            partial(self._detector.detect, subjects=subjects),
            self._tracker,
            prompts=self.detect.prompt_frames(len(frames)),
            covered_iou=self.detect.covered_iou,
            objects_at_once=self.objects_at_once,
        )
