"""MUTR: coarse masks from frames and a sentence.

Everything is imported when it is asked for: who names `rvos.mutr.build_mutr` needs no torch yet.
"""

from typing import TYPE_CHECKING

from rvos import lazily

if TYPE_CHECKING:
    from rvos.mutr.build import build_mutr, load_model
    from rvos.mutr.features import LevelPredictions, Predictions, VideoFeatures
    from rvos.mutr.model import MUTR
    from rvos.mutr.text import TextFeatures

__all__ = [
    "MUTR",
    "LevelPredictions",
    "Predictions",
    "TextFeatures",
    "VideoFeatures",
    "build_mutr",
    "load_model",
]

__getattr__ = lazily(__name__, __file__)
