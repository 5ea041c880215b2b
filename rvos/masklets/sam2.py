"""Noun -> Grounding DINO -> SAM 2 -> masklets: `masklets=sam2`, one video at a time."""

from rvos.data.frames import FrameCache
from rvos.masklets.source import VideoTask
from rvos.masklets.stage import ScoredMasklets
from rvos.masks import MaskletScores, MaskletTracks
from rvos.settings import checked
from rvos.tracking.detect_and_track import DetectAndTrack


@checked(frozen=False, kw_only=True)
class Sam2(DetectAndTrack, ScoredMasklets):
    """`masklets=sam2`: Grounding DINO's boxes of the noun, tracked by SAM 2."""

    name = "sam2"

    def make_scored(
        self, task: VideoTask, frames: FrameCache
    ) -> tuple[MaskletTracks, MaskletScores]:
        return self.instances(frames, task.wanted)
