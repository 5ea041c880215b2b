"""ReVOS -> the types of `split`.

`<root>/{meta_expressions_train_.json, meta_expressions_valid_.json, mask_dict.json,
mask_dict_foreground.json, JPEGImages/<video>/}`; names of videos have folders in them. `type_id`
says whether an expression refers, asks for reasoning, or is about nothing ("hallucination").
Layout: cilinyan/VISA, README and tools/eval_revos.py.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rvos.data.meta import find_meta, ids_with_type, parse_meta
from rvos.data.mevis import Annotations
from rvos.data.split import NoTruth, Problem, Split, Video
from rvos.masks import FileError, MaskError, area, canonical, find_json, stream_json

TYPES = ("referring", "reasoning", "hallucination")  # by type_id


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Split:
    """Read a split (train, valid). Raises as `mevis.read_split`."""
    folder = Path(root)
    path = find_meta(folder, (f"meta_expressions_{split}_.json",), meta)
    return parse_meta(folder, path, split, "anno_id", partial(ids_with_type, TYPES), bad)


def has_split(root: Path, split: str, meta: str | None) -> bool:
    """Whether the dataset has a split: there are no folders of them."""
    return find_json(root / f"meta_expressions_{split}_.json") is not None


def read_truth(split: Split) -> "RevosAnnotations":
    """The ground truth of a split. Raises InputError if it has none."""
    return RevosAnnotations(split)


class RevosAnnotations(Annotations):
    """The ground-truth tracks of a split, and the area of all objects in each frame."""

    def __init__(self, split: Split):
        super().__init__(split)
        foreground = find_json(split.folder / "mask_dict_foreground.json")
        if foreground is None:
            raise NoTruth(
                f"{split.folder / 'mask_dict_foreground.json'}: no such file (nor .json.gz); "
                "the robustness R needs it"
            )
        self._foreground = foreground
        self._videos = {video.name for video in split.videos}
        self._areas: dict[str, list[int]] = {}

    def foreground(self, video: Video) -> Sequence[int]:
        """Pixels of all objects in each frame, (T,); those of several objects count several times.

        Raises FileError naming the file and the video.
        """
        if not self._areas:
            self._areas = {
                name: self._areas_of(name, value)
                for name, value in stream_json(self._foreground)
                if name in self._videos
            }
        areas = self._areas.get(video.name, [])
        if len(areas) != len(video.frames):
            raise FileError(
                f"{self._foreground}: video {video.name}: expected {len(video.frames)} masks (one "
                f"per frame), got {len(areas)}"
            )
        return areas

    def _areas_of(self, video: str, value: Any) -> list[int]:
        masks = value.get("masks_rle") if isinstance(value, dict) else None
        if not isinstance(masks, list):
            raise FileError(f'{self._foreground}: video {video}: expected {{"masks_rle": [...]}}')
        try:
            frames = [entry if isinstance(entry, list) else [entry] for entry in masks]
            return [sum(area(canonical(mask)) for mask in frame) for frame in frames]
        except MaskError as error:
            raise FileError(f"{self._foreground}: video {video}: {error}") from None
