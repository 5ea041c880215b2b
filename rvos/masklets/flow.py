"""Moving objects -> masklets without weights: `masklets=flow`."""

from typing import Any

from rvos.data.frames import Frames
from rvos.masklets.source import VideoTask
from rvos.masklets.stage import MadeMasklets
from rvos.masks import MaskletTracks
from rvos.settings import checked
from rvos.tracking.flow import FlowTracker


@checked(frozen=False, kw_only=True)
class Flow(MadeMasklets):
    """`masklets=flow`: moving objects, the same for every noun."""

    flow: FlowTracker

    name = "flow"

    def settings(self) -> dict[str, Any]:
        return {"flow": vars(self.flow)}

    def make(self, task: VideoTask, frames: Frames | None) -> MaskletTracks:
        assert frames is not None
        tracks = self.flow.track(frames, frames.size)
        return {noun: tracks for noun in task.wanted}
