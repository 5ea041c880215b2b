"""Frames + nouns of COCO -> instances, by three small networks on the CPU, without torch."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, ClassVar, Literal

from rvos.data.frames import FrameCache
from rvos.masks import Track
from rvos.nouns.coco import CLASSES, classes_of
from rvos.settings import Text, checked
from rvos.stages.devices import Place
from rvos.tracking.small_masks import Masking, masks_of
from rvos.tracking.small_networks import BoxTracker, Detections, Detector, SalientObject
from rvos.tracking.small_tracks import BoxTrack, Following, tracks_of
from rvos.weights.local import obtain


@checked
class SmallNetworks:
    """Names of the networks in the table of weights, or ONNX files.

    detector: PicoDet; tracker_backbone, tracker_head: NanoTrack; salient: U2-Net-p.
    """

    detector: Text
    tracker_backbone: Text
    tracker_head: Text
    salient: Text


@checked(frozen=False, kw_only=True)
class DetectAndSegment:
    """The keys and networks of what detects COCO's classes, tracks boxes and draws masks.

    unknown_noun: for a noun that is nothing of COCO's nothing is detected (`none`), or all classes
    are (`any`).
    """

    networks: SmallNetworks
    follow: Following
    masks: Masking
    unknown_noun: Literal["none", "any"]

    group: ClassVar[str] = "masklets"  # in messages
    uses_gpu: ClassVar[bool] = False
    may_have_scores: ClassVar[bool] = True

    def settings(self) -> dict[str, Any]:
        """What decides the masks, besides the weights."""
        unknown = {"unknown_noun": self.unknown_noun}
        return {"follow": vars(self.follow), "masks": vars(self.masks), **unknown}

    def weights_used(self) -> dict[str, str]:
        """{config key: name or path} of the networks."""
        return {f"{self.group}.networks.{key}": name for key, name in vars(self.networks).items()}

    def prepare(self, place: Place) -> None:
        """Read the networks. Raises InputError naming those that are not here."""
        paths = obtain(self.weights_used())
        files = {key.rpartition(".")[2]: path for key, path in paths.items()}
        self._detector = Detector(files["detector"])
        self._salient = SalientObject(files["salient"])
        self._tracker = BoxTracker(files["tracker_backbone"], files["tracker_head"])

    def classes(self, noun: str) -> tuple[int, ...]:
        """Positions of COCO's classes that the noun may be; no noun ("") may be all of them."""
        every = tuple(range(len(CLASSES)))
        if not noun:
            return every
        return classes_of(noun) or (every if self.unknown_noun == "any" else ())

    def instances(self, frames: FrameCache, nouns: Iterable[str]) -> dict[str, list[BoxTrack]]:
        """The tracks of boxes of each noun, the surest first.

        Every frame is looked at once for all nouns; nouns of the same classes share their tracks.
        """
        classes = {noun: self.classes(noun) for noun in nouns}
        asked = sorted(set(classes.values()) - {()})
        if not asked:
            return {noun: [] for noun in classes}
        detections: list[Detections] = [
            self._detector(frame, least_score=self.follow.least_score) for frame in frames
        ]
        tracks = {
            positions: tracks_of(frames, detections, positions, lambda: self._tracker, self.follow)
            for positions in asked
        }
        return {noun: tracks.get(positions, []) for noun, positions in classes.items()}

    def masks_in(self, frames: FrameCache) -> Callable[[BoxTrack], Track]:
        """What gives the masks of an instance of this video; it draws each instance once."""
        return cache(lambda instance: masks_of(frames, instance.boxes, self._salient, self.masks))
