"""Frames + classes of COCO -> instances, by three small networks on the CPU, without torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from rvos.data.frames import FrameCache
from rvos.masks import Track
from rvos.settings import Text, checked
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
    """The keys and networks of what detects COCO's classes, tracks boxes and draws masks."""

    networks: SmallNetworks
    follow: Following
    masks: Masking

    def settings(self) -> dict[str, Any]:
        """What decides the masks, besides the weights."""
        return {"follow": vars(self.follow), "masks": vars(self.masks)}

    def network_files(self, group: str) -> dict[str, str]:
        """{config key: name or path} of the networks."""
        return {f"{group}.networks.{key}": given for key, given in vars(self.networks).items()}

    def load(self, group: str) -> None:
        """Read the networks. Raises InputError naming those that are not here."""
        paths = obtain(self.network_files(group))
        files = {key.rpartition(".")[2]: path for key, path in paths.items()}
        self._detector = Detector(files["detector"])
        self._salient = SalientObject(files["salient"])
        self._tracker = BoxTracker(files["tracker_backbone"], files["tracker_head"])

    def instances(
        self, frames: FrameCache, classes: Mapping[str, Sequence[int]]
    ) -> dict[str, list[BoxTrack]]:
        """The tracks of boxes of each noun, the surest first; `classes` are by noun.

        Every frame is looked at once for all nouns; nouns of the same classes share their tracks.
        """
        asked = {tuple(of_noun) for of_noun in classes.values() if of_noun}
        if not asked:
            return {noun: [] for noun in classes}
        detections: list[Detections] = [
            self._detector(frame, least_score=self.follow.least_score) for frame in frames
        ]
        tracks = {
            of_noun: tracks_of(frames, detections, of_noun, lambda: self._tracker, self.follow)
            for of_noun in sorted(asked)
        }
        return {noun: tracks.get(tuple(of_noun), []) for noun, of_noun in classes.items()}

    def mask_track(self, frames: FrameCache, instance: BoxTrack) -> Track:
        """The masks of an instance."""
        return masks_of(frames, instance.boxes, self._salient, self.masks)
