"""Long-RVOS -> the types of `split`.

`<root>/<split>/{meta_expressions.json, JPEGImages/<video>/}` and one mask per file,
`Annotations/<video>/<object>/<frame>.png`, without a file where the object is not to be seen. An
expression is about one object; its `type` is static, dynamic or both (hybrid). Layout:
iSEE-Laboratory/Long_RVOS, README and eval/eval_long_rvos.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
    is_name,
    parse_meta,
)
from rvos.masks import Mask, Track, encode, read_pixels

# As the file has them -> as papers call them (eval_hybrid.py takes "static+dynamic").
TYPES = {name: name for name in ("static", "dynamic", "hybrid")} | {"static+dynamic": "hybrid"}


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Split:
    """Read a split; annotation ids are `<video>/<object>`. Raises as `mevis.read_split`."""
    folder = Path(root) / split
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected data.root/data.split with JPEGImages")
    path = find_meta(folder, ("meta_expressions.json",), meta)
    return parse_meta(folder, path, split, "obj_id", _ids, bad)


def _ids(video: str, entry: dict[str, Any]) -> Ids:
    objects = as_ids(entry, "obj_id")
    if wrong := [name for name in objects if not is_name(name)]:
        raise ValueError(f'"obj_id": expected the name of a folder, got {wrong[0]!r}')
    type = entry.get("type", "")
    if not isinstance(type, str) or type not in ("", *TYPES):
        raise ValueError(f'"type": expected {", ".join(TYPES)}, got {type!r}')
    return Ids(tuple(f"{video}/{name}" for name in objects), objects, TYPES.get(type, ""))


def read_truth(split: Split) -> "MaskFolders":
    """The ground truth of a split. Raises InputError if it has none."""
    return MaskFolders(split)


class MaskFolders(Truth):
    """The ground-truth tracks of a split, a folder of PNG masks for each object."""

    def __init__(self, split: Split):
        self.path = split.folder / "Annotations"
        if not self.path.is_dir():
            raise NoTruth(f"{self.path}: no such folder; split {split.name} has no ground truth")
        check_labelled(split, "obj_id")
        self._frames = {
            i: video.frames
            for video in split.videos
            for e in video.expressions
            for i in e.annotation_ids
        }

    def __contains__(self, annotation_id: str) -> bool:
        return annotation_id in self._frames and (self.path / annotation_id).is_dir()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._frames))

    def track(self, annotation_id: str) -> Track:
        """One object's masks per frame. Raises FileError for a PNG that cannot be read."""
        return [self.mask(annotation_id, t) for t in range(len(self._frames[annotation_id]))]

    def mask(self, annotation_id: str, frame_idx: int) -> Mask:
        """One object's mask in one frame; None where it does not show."""
        path = self._file(annotation_id, self._frames[annotation_id][frame_idx])
        pixels = read_pixels(path) if path.is_file() else None
        return encode(pixels) if pixels is not None and pixels.any() else None

    def problems(
        self, annotation_id: str, video: Video, size: Sequence[int] | None
    ) -> Iterator[str]:
        """As `Truth.problems`, from the headers of the files."""
        for frame in video.frames:
            path = self._file(annotation_id, frame)
            try:
                found = image_size(path) if path.is_file() else None
            except FrameError as error:
                yield str(error)
                continue
            if size is not None and found is not None and found != tuple(size):
                yield (
                    f"{path}: expected {size[0]} x {size[1]} pixels (height x width), got "
                    f"{found[0]} x {found[1]}"
                )

    def fingerprint(self) -> str:
        """Hex SHA-256 of the files' names and sizes."""
        files = sorted(path for i in self._frames for path in (self.path / i).glob("*.png"))
        lines = [f"{path.relative_to(self.path)} {path.stat().st_size}" for path in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _file(self, annotation_id: str, frame: str) -> Path:
        return self.path / annotation_id / f"{frame}.png"
