"""Noun -> boxes -> masklets: every instance a noun may mean, tracked over the whole video.

Everything is imported when it is asked for, so that `masklets=files` needs neither torch nor scipy.
"""

from typing import TYPE_CHECKING

from rvos import lazily

if TYPE_CHECKING:
    from rvos.masklets.files import GivenMasklets, NoMasklets
    from rvos.masklets.flow import Flow
    from rvos.masklets.keyframe import KeyFrames
    from rvos.masklets.oracle import Oracle, OracleMasklets
    from rvos.masklets.sam2 import Sam2
    from rvos.masklets.sam3 import Sam3
    from rvos.masklets.small import Small
    from rvos.masklets.source import CoarseTrack, VideoTask
    from rvos.masklets.stage import MadeMasklets

__all__ = [
    "CoarseTrack",
    "Flow",
    "GivenMasklets",
    "KeyFrames",
    "MadeMasklets",
    "NoMasklets",
    "Oracle",
    "OracleMasklets",
    "Sam2",
    "Sam3",
    "Small",
    "VideoTask",
]

__getattr__ = lazily(__name__, __file__)
