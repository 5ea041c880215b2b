"""Ref-YouTube-VOS and Ref-DAVIS17 -> the types of `mevis`.

`<root>/meta_expressions/<split>/meta_expressions.json`, `<root>/<split>/JPEGImages/<video>/` and
`<root>/<split>/Annotations/<video>/<frame>.png`, whose pixel values are object numbers. Every
expression is about one object (several expressions may be about the same one). This is how the
Ref-YouTube-VOS archives unpack, and how ReferFormer's and MUTR's converter lays out Ref-DAVIS17
(tools/data/convert_davis_to_ytvos.py); validation splits without `obj_id` have no ground truth.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rvos.data.png_truth import PngTruth
from rvos.data.split import Ids, Problem, Split, Video, as_ids, find_meta, parse_meta
from rvos.errors import InputError
from rvos.masks import IMAGE_ERRORS, FileError, Mask, Track, encode, sound_image

VOID = 255  # the label of pixels that DAVIS does not score


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Split:
    """Read a split; annotation ids are `<video>/<object number>`. Raises as `mevis.read_split`."""
    folder = Path(root) / split
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected data.root/data.split with JPEGImages")
    names = ("meta_expressions.json",)
    path = find_meta(Path(root) / "meta_expressions" / split, names, meta)
    return parse_meta(folder, path, split, "obj_id", _ids, bad)


def _ids(video: str, entry: dict[str, Any]) -> Ids:
    objects = as_ids(entry, "obj_id")
    if wrong := [number for number in objects if not number.isdecimal()]:
        raise ValueError(f'"obj_id": expected the number of an object, got {wrong[0]!r}')
    return Ids(tuple(f"{video}/{number}" for number in objects), objects)


def read_truth(split: Split) -> "PaletteAnnotations":
    """The ground truth of a split. Raises InputError if it has none."""
    return PaletteAnnotations(split)


class PaletteAnnotations(PngTruth):
    """The ground-truth tracks of a split: one picture per frame, of the numbers of its objects."""

    def file(self, annotation_id: str, frame: str) -> Path:
        """The annotation file of one frame, which all objects of the video share."""
        return self.path / annotation_id.rpartition("/")[0] / f"{frame}.png"

    def mask(self, annotation_id: str, frame_idx: int) -> Mask:
        """One object's mask in one frame; None where it does not show."""
        video, _, number = annotation_id.rpartition("/")
        numbers = _object_numbers(self.file(annotation_id, self.frames[video][frame_idx]))
        mask = numbers == int(number)
        return encode(mask) if mask.any() else None

    def objects(self, video: Video) -> tuple[list[Track], Track]:
        """The tracks of objects 1, 2, ..., and that of the pixels that do not count (label 255).

        Objects are those up to the largest label of the first frame, as in DAVIS' evaluation
        (davis2017-evaluation, davis2017/davis.py). Raises FileError.
        """
        pictures = [_object_numbers(self.path / video.name / f"{f}.png") for f in video.frames]
        first = pictures[0][pictures[0] != VOID]
        tracks = [
            [encode(p == number) if (p == number).any() else None for p in pictures]
            for number in (*range(1, int(first.max(initial=0)) + 1), VOID)
        ]
        return tracks[:-1], tracks[-1]

    def unscorable(self) -> str:
        """Public splits without masks have annotations of some frames, as a start for tracking."""
        listed = [self.path / v / f"{frame}.png" for v, f in self.frames.items() for frame in f]
        there = {path for name in self.frames for path in (self.path / name).glob("*.png")}
        missing = [path for path in listed if path not in there]
        if not missing:
            return ""
        return (
            f"{self.path}: {len(missing)} of {len(listed)} listed frames have no annotation, the "
            f"first is {missing[0].relative_to(self.path)}; scores need every frame"
        )


@lru_cache(maxsize=64)  # the expressions of a video and the frames of a clip share their files
def _object_numbers(path: Path) -> NDArray[np.uint8]:
    """(H, W) uint8 object numbers of an annotation PNG."""
    try:
        with sound_image(path) as image:
            if image.mode not in ("P", "L"):
                raise FileError(f"{path}: expected a palette or grey PNG, got mode {image.mode}")
            return np.array(image)
    except IMAGE_ERRORS as error:
        raise FileError(f"{path}: cannot be read as an image: {error}") from None
