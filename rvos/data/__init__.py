"""Datasets on disk -> splits of videos with expressions, their frames and their ground truth."""

from rvos.data.split import Expression, Split, Video

__all__ = ["Expression", "Split", "Video"]
