"""Noun -> boxes -> masklets: every instance a noun may mean, tracked over the whole video.

Everything is imported when it is asked for, so that `masklets=files` needs neither torch nor scipy.
"""

from typing import TYPE_CHECKING

from rvos import lazily

if TYPE_CHECKING:
    from rvos.masklets.detect_and_track import Detection, Sam2
    from rvos.masklets.files import GivenMasklets
    from rvos.masklets.flow import Flow, FlowTracker
    from rvos.masklets.noun import NounFinder
    from rvos.masklets.oracle import Oracle, OracleMasklets
    from rvos.masklets.sam3 import Sam3
    from rvos.masklets.source import Masklets, MaskletSource, VideoTask
    from rvos.masklets.stage import MadeMasklets

_MODULES = {
    "Detection": "detect_and_track",
    "Flow": "flow",
    "FlowTracker": "flow",
    "GivenMasklets": "files",
    "MadeMasklets": "stage",
    "MaskletSource": "source",
    "Masklets": "source",
    "NounFinder": "noun",
    "Oracle": "oracle",
    "OracleMasklets": "oracle",
    "Sam2": "detect_and_track",
    "Sam3": "sam3",
    "VideoTask": "source",
}

__all__ = [
    "Detection",
    "Flow",
    "FlowTracker",
    "GivenMasklets",
    "MadeMasklets",
    "MaskletSource",
    "Masklets",
    "NounFinder",
    "Oracle",
    "OracleMasklets",
    "Sam2",
    "Sam3",
    "VideoTask",
]

__getattr__ = lazily(__name__, _MODULES)
