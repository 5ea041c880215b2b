"""Networks and flow that find objects in frames and follow them through a video.

Everything is imported when it is asked for: settings need no torch.
"""

from typing import TYPE_CHECKING

from rvos import lazily

if TYPE_CHECKING:
    from rvos.tracking.detect_and_track import DetectAndTrack, Detection
    from rvos.tracking.flow import FlowTracker
    from rvos.tracking.small import DetectAndSegment, SmallNetworks
    from rvos.tracking.small_masks import Masking
    from rvos.tracking.small_tracks import Following

__all__ = [
    "DetectAndSegment",
    "DetectAndTrack",
    "Detection",
    "FlowTracker",
    "Following",
    "Masking",
    "SmallNetworks",
]

__getattr__ = lazily(__name__, __file__)
