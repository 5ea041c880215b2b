"""Networks and flow that find objects in frames and follow them through a video.

Everything is imported when it is asked for: settings need no torch.
"""

from typing import TYPE_CHECKING

from rvos import lazily

if TYPE_CHECKING:
    from rvos.tracking.detect_and_track import DetectAndTrack, Detection
    from rvos.tracking.flow import FlowTracker

_MODULES = {
    "DetectAndTrack": "detect_and_track",
    "Detection": "detect_and_track",
    "FlowTracker": "flow",
}

__all__ = ["DetectAndTrack", "Detection", "FlowTracker"]

__getattr__ = lazily(__name__, _MODULES)
