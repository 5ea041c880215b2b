"""Noun -> COCO classes -> boxes -> tracks -> masks on a CPU, without torch: `masklets=small`."""

from rvos.data.frames import FrameCache
from rvos.masklets.source import VideoTask
from rvos.masklets.stage import ScoredMasklets
from rvos.masks import MaskletScores, MaskletTracks
from rvos.settings import checked
from rvos.tracking.small import DetectAndSegment


@checked(frozen=False, kw_only=True)
class Small(DetectAndSegment, ScoredMasklets):
    """`masklets=small`: PicoDet's boxes of the noun's classes, NanoTrack, U2-Net-p's masks."""

    name = "small"

    def make_scored(
        self, task: VideoTask, frames: FrameCache
    ) -> tuple[MaskletTracks, MaskletScores]:
        instances = self.instances(frames, task.wanted)
        masks = self.masks_in(frames)
        scores: MaskletScores = {
            noun: {
                "detector": [round(track.score, 6) for track in tracks],
                "object": [[round(score, 4) for score in track.scores] for track in tracks],
            }
            for noun, tracks in instances.items()
        }
        return {
            noun: [masks(track) for track in tracks] for noun, tracks in instances.items()
        }, scores
