"""Noun -> Grounding DINO -> SAM 2 -> masklets: `masklets=sam2`, one video at a time."""

from rvos.data.frames import FrameCache, Frames
from rvos.masklets.source import VideoTask
from rvos.masklets.stage import MadeMasklets
from rvos.masks import MaskletScores, MaskletTracks
from rvos.settings import checked
from rvos.tracking.detect_and_track import DetectAndTrack


@checked(frozen=False, kw_only=True)
class Sam2(DetectAndTrack, MadeMasklets):
    """`masklets=sam2`: Grounding DINO's boxes of the noun, tracked by SAM 2."""

    name = "sam2"

    def make(self, task: VideoTask, frames: Frames | None) -> MaskletTracks:
        return self.make_scored(task, frames)[0]

    def make_scored(
        self, task: VideoTask, frames: Frames | None
    ) -> tuple[MaskletTracks, MaskletScores]:
        from rvos.tracking.instances import masklets_of

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
