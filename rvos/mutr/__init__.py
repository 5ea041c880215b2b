"""MUTR: coarse masks from frames and a sentence."""

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
