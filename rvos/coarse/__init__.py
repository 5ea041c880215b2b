"""Frames + expressions -> coarse masks of whole videos.

Everything is imported when it is asked for. The sources import torch when they load a network.
"""

from typing import TYPE_CHECKING

from rvos import lazily

if TYPE_CHECKING:
    from rvos.coarse.files import GivenMasks
    from rvos.coarse.grounded import Grounded, Grounding
    from rvos.coarse.segment import Segmentation, segment_video
    from rvos.coarse.settings import CoarseSettings, coarse_settings
    from rvos.coarse.several import Several
    from rvos.coarse.small import SmallCoarse
    from rvos.coarse.stage import Mutr

__all__ = [
    "CoarseSettings",
    "GivenMasks",
    "Grounded",
    "Grounding",
    "Mutr",
    "Segmentation",
    "Several",
    "SmallCoarse",
    "coarse_settings",
    "segment_video",
]

__getattr__ = lazily(__name__, __file__)
