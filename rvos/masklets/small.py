"""Noun -> COCO classes -> boxes -> tracks -> masks on a CPU, without torch: `masklets=small`."""

from typing import Any, Literal

from rvos.data.frames import FrameCache, Frames
from rvos.masklets.source import VideoTask
from rvos.masklets.stage import MadeMasklets
from rvos.masks import MaskletScores, MaskletTracks, Track
from rvos.nouns.coco import CLASSES, classes_of
from rvos.settings import checked
from rvos.stages.devices import Place
from rvos.tracking.small import DetectAndSegment
from rvos.tracking.small_tracks import BoxTrack

UnknownNoun = Literal["none", "any"]


@checked(frozen=False, kw_only=True)
class Small(DetectAndSegment, MadeMasklets):
    """`masklets=small`: PicoDet's boxes of the noun's classes, NanoTrack, U2-Net-p's masks.

    unknown_noun: a noun that is nothing of COCO's has no masklets (`none`), or those of all classes
    (`any`).
    """

    unknown_noun: UnknownNoun

    name = "small"
    may_have_scores = True

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "unknown_noun": self.unknown_noun}

    def weights_used(self) -> dict[str, str]:
        return self.network_files("masklets")

    def prepare(self, place: Place) -> None:
        self.load("masklets")

    def open(self, frames: Frames) -> FrameCache:
        return FrameCache(frames).fill()

    def make(self, task: VideoTask, frames: Frames | None) -> MaskletTracks:
        return self.make_scored(task, frames)[0]

    def make_scored(
        self, task: VideoTask, frames: Frames | None
    ) -> tuple[MaskletTracks, MaskletScores]:
        assert isinstance(frames, FrameCache)
        classes = {noun: self.classes(noun) for noun in task.wanted}
        instances = self.instances(frames, classes)
        drawn: dict[int, Track] = {}  # nouns of the same classes share their masks

        def masks(instance: BoxTrack) -> Track:
            if id(instance) not in drawn:
                drawn[id(instance)] = self.mask_track(frames, instance)
            return drawn[id(instance)]

        tracks = {noun: [masks(one) for one in found] for noun, found in instances.items()}
        scores: MaskletScores = {
            noun: {
                "detector": [round(one.score, 6) for one in found],
                "object": [[round(score, 4) for score in one.scores] for one in found],
            }
            for noun, found in instances.items()
        }
        return tracks, scores

    def classes(self, noun: str) -> tuple[int, ...]:
        """Positions of COCO's classes that the noun may be."""
        known = classes_of(noun)
        return known or (tuple(range(len(CLASSES))) if self.unknown_noun == "any" else ())
