"""Moving objects -> masklets without weights: `masklets=flow`."""

import logging
from typing import Any

from rvos.data.frames import Frames
from rvos.masklets.source import VideoTask
from rvos.masklets.stage import MadeMasklets
from rvos.masks import MaskletTracks
from rvos.settings import checked
from rvos.stages.work import Work
from rvos.tracking.flow import FlowTracker

log = logging.getLogger(__name__)
HARM = (
    "masklets=flow is for still cameras and for the demo: on 11 real videos its best masklet per "
    "object had IoU 0.36, and the vote over it took coarse masks from J&F 57.0 to 47.7. "
    "masklets=small needs no GPU; refine.agree=0.5 keeps the coarse masks where masklets disagree"
)


@checked(frozen=False, kw_only=True)
class Flow(MadeMasklets):
    """`masklets=flow`: moving objects, the same for every noun."""

    flow: FlowTracker

    name = "flow"

    def check(self, work: Work) -> None:
        super().check(work)
        if not (work.split.folder / "objects.json").is_file():  # synthetic data have it
            log.warning(HARM)

    def settings(self) -> dict[str, Any]:
        return {"flow": vars(self.flow)}

    def open(self, frames: Frames) -> Frames:
        return frames  # read once, in their order

    def make(self, task: VideoTask, frames: Frames) -> MaskletTracks:
        tracks = self.flow.track(frames, frames.size)
        return {noun: tracks for noun in task.wanted}
