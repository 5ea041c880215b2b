"""Frames + expressions -> coarse masks of whole videos.

Everything is imported when it is asked for, so that `coarse=files` works without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvos.coarse.files import GivenMasks
    from rvos.coarse.segment import CoarseSettings, Segmentation, coarse_settings, segment_video
    from rvos.coarse.several import Several
    from rvos.coarse.stage import Mutr

_MODULES = {
    "CoarseSettings": "segment",
    "GivenMasks": "files",
    "Mutr": "stage",
    "Segmentation": "segment",
    "Several": "several",
    "coarse_settings": "segment",
    "segment_video": "segment",
}

__all__ = [
    "CoarseSettings",
    "GivenMasks",
    "Mutr",
    "Segmentation",
    "Several",
    "coarse_settings",
    "segment_video",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
