"""Ref-YouTube-VOS and Ref-DAVIS17 -> the types of `mevis`.

`<root>/meta_expressions/<split>/meta_expressions.json`, `<root>/<split>/JPEGImages/<video>/` and
`<root>/<split>/Annotations/<video>/<frame>.png`, whose pixel values are object numbers. Every
expression is about one object (several expressions may be about the same one). This is how the
Ref-YouTube-VOS archives unpack, and how ReferFormer's and MUTR's converter lays out Ref-DAVIS17
(tools/data/convert_davis_to_ytvos.py); validation splits without `obj_id` have no ground truth.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rvos import InputError
from rvos.data.frames import FrameError, image_size
from rvos.data.split import (
    Ids,
    NoTruth,
    Problem,
    Split,
    Truth,
    Video,
    as_ids,
    check_labelled,
    find_meta,
    parse_meta,
)
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


class PaletteAnnotations(Truth):
    """The ground-truth tracks of a split, read from its PNG files when asked for."""

    def __init__(self, split: Split):
        self.path = split.folder / "Annotations"
        if not self.path.is_dir():
            raise NoTruth(f"{self.path}: no such folder; split {split.name} has no ground truth")
        check_labelled(split, "obj_id")
        self._frames = {video.name: video.frames for video in split.videos}
        self._ids = {i for v in split.videos for e in v.expressions for i in e.annotation_ids}

    def __contains__(self, annotation_id: str) -> bool:
        return annotation_id in self._ids

    def __iter__(self):
        return iter(sorted(self._ids))

    def track(self, annotation_id: str) -> Track:
        """One object's masks per frame. Raises FileError for a PNG that cannot be read."""
        video = annotation_id.rpartition("/")[0]
        return [self.mask(annotation_id, t) for t in range(len(self._frames[video]))]

    def mask(self, annotation_id: str, frame_idx: int) -> Mask:
        """One object's mask in one frame; None where it does not show."""
        video, _, number = annotation_id.rpartition("/")
        numbers = _object_numbers(self.frame_path(video, self._frames[video][frame_idx]))
        mask = numbers == int(number)
        return encode(mask) if mask.any() else None

    def objects(self, video: Video) -> tuple[list[Track], Track]:
        """The tracks of objects 1, 2, ..., and that of the pixels that do not count (label 255).

        Objects are those up to the largest label of the first frame, as in DAVIS' evaluation
        (davis2017-evaluation, davis2017/davis.py). Raises FileError.
        """
        pictures = [_object_numbers(self.frame_path(video.name, frame)) for frame in video.frames]
        first = pictures[0][pictures[0] != VOID]
        tracks = [
            [encode(p == number) if (p == number).any() else None for p in pictures]
            for number in (*range(1, int(first.max(initial=0)) + 1), VOID)
        ]
        return tracks[:-1], tracks[-1]

    def unscorable(self) -> str:
        """Public splits without masks have annotations of some frames, as a start for tracking."""
        listed = [self.frame_path(v, frame) for v in self._frames for frame in self._frames[v]]
        there = {path for name in self._frames for path in (self.path / name).glob("*.png")}
        missing = [path for path in listed if path not in there]
        if not missing:
            return ""
        return (
            f"{self.path}: {len(missing)} of {len(listed)} listed frames have no annotation, the "
            f"first is {missing[0].relative_to(self.path)}; scores need every frame"
        )

    def problems(
        self, annotation_id: str, video: Video, size: Sequence[int] | None
    ) -> Iterator[str]:
        """As `Truth.problems`, from the headers of the files."""
        for frame in video.frames:
            path = self.frame_path(video.name, frame)
            try:
                found = image_size(path)
            except FrameError as error:
                yield str(error)
                continue
            if size is not None and found != tuple(size):
                yield (
                    f"{path}: expected {size[0]} x {size[1]} pixels (height x width), got "
                    f"{found[0]} x {found[1]}"
                )

    def fingerprint(self) -> str:
        """Hex SHA-256 of the files' names and sizes."""
        files = sorted(path for name in self._frames for path in (self.path / name).glob("*.png"))
        lines = [f"{path.relative_to(self.path)} {path.stat().st_size}" for path in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def frame_path(self, video: str, frame: str) -> Path:
        """The annotation file of one frame."""
        return self.path / video / f"{frame}.png"


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
