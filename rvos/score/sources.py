"""Folders and files of masks -> the masks of one video, by object or expression, for `rvos score`.

Four forms are told apart by what lies there:
- pictures of object numbers, `<video>/<frame>.png` (DAVIS, YouTube-VOS, MOSE); 0 is background;
- a picture per object or expression, `<video>/<name>/<frame>.png` (MeViS' submissions, SA-V);
- JSON: `{video: {name: [RLE or null, ...]}}`, one file or one per video; the other forms of
  `masks.TrackFiles` (the Sa2VA family's, COCO with track ids, YouTube-VIS);
- a split of MeViS: `meta_expressions.json` and `mask_dict.json` (ground truth alone).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rvos.data.mevis import METAS, Annotations, read_split
from rvos.data.split import Split, Video, merge_tracks
from rvos.masks import (
    IMAGE_ERRORS,
    MISSING_FRAME,
    FileError,
    TrackFiles,
    canonical_track,
    find_json,
    sound_image,
)
from rvos.score.given import shape_of

VOID = 255  # the number of pixels that DAVIS does not score
INNER = ("Annotations", "480p")  # a dataset's folder above those of its videos


class VideoMasks(Protocol):
    """The masks of one video."""

    @property
    def names(self) -> Sequence[str]:
        """Its objects or expressions."""

    @property
    def num_frames(self) -> int: ...

    def track(self, name: str) -> Sequence[Any]:
        """A mask per frame: (H, W) pixels, RLE, None, or MISSING_FRAME where a file is missing."""


@dataclass(frozen=True)
class Tracks:
    """Masks that lie in memory by name."""

    tracks: Mapping[str, Sequence[Any]]
    num_frames: int

    @property
    def names(self) -> Sequence[str]:
        return list(self.tracks)

    def track(self, name: str) -> Sequence[Any]:
        return self.tracks[name]


@dataclass(frozen=True)
class Pictures:
    """Pictures of object numbers, (H, W) uint8 each; None for a frame without a file."""

    pictures: Sequence[NDArray[np.uint8] | None]

    @property
    def num_frames(self) -> int:
        return len(self.pictures)

    @cached_property
    def names(self) -> Sequence[str]:
        """Object numbers in any frame, without background and void."""
        seen = np.zeros(256, bool)
        for picture in self.pictures:
            if picture is not None:
                seen |= np.bincount(picture.ravel(), minlength=256) > 0
        return [str(n) for n in np.flatnonzero(seen) if n not in (0, VOID)]

    @property
    def last_of_first(self) -> int:
        """The largest object number of the first frame."""
        first = self.pictures[0]
        return 0 if first is None else int(first[first != VOID].max(initial=0))

    def track(self, name: str) -> Sequence[Any]:
        """The object's pixels in every frame."""
        number = int(name) if name.isdecimal() else -1
        return [MISSING_FRAME if p is None else p == number for p in self.pictures]


@dataclass(frozen=True)
class Trivial:
    """An answer without a look at the video, for every name of the truth: see `TRIVIAL`."""

    truth: VideoMasks
    answer: str

    @property
    def names(self) -> Sequence[str]:
        return self.truth.names

    @property
    def num_frames(self) -> int:
        return self.truth.num_frames

    def track(self, name: str) -> Sequence[Any]:
        if self.answer == "empty":
            return [None] * self.num_frames
        sizes = [shape_of(mask) for mask in self.truth.track(name)]
        size = next((size for size in sizes if size), (1, 1))  # of a truth that is never there
        return [np.ones(size, np.uint8)] * self.num_frames


TRIVIAL = ("empty", "whole frame")


class Source(Protocol):
    """Masks of many videos."""

    path: Path

    def videos(self) -> list[str]: ...

    def frames(self, video: str) -> list[str] | None:
        """The names of a video's frames in their order; None where the form has none."""

    def read(self, video: str, frames: Sequence[str] | None) -> VideoMasks:
        """The masks of a video; `frames` are those of the ground truth. Raises InputError."""


class PictureTree:
    """`<video>/<frame>.png`, pictures of object numbers."""

    def __init__(self, path: Path):
        self.path = path

    def videos(self) -> list[str]:
        return folders_of(self.path)

    def frames(self, video: str) -> list[str]:
        return sorted(p.stem for p in (self.path / video).glob("*.png"))

    def read(self, video: str, frames: Sequence[str] | None) -> Pictures:
        names = self.frames(video) if frames is None else frames
        paths = [self.path / video / f"{name}.png" for name in names]
        return Pictures([read_numbers(p) if p.is_file() else None for p in paths])


class TrackTree:
    """JSON, and `<video>/<name>/<frame>.png`; as ground truth, pictures name their own frames."""

    def __init__(self, path: Path, *, is_truth: bool):
        self.files = TrackFiles(path)
        self.path = self.files.path
        self.is_truth = is_truth

    def videos(self) -> list[str]:
        return self.files.videos()

    def frames(self, video: str) -> list[str] | None:
        folder = self.path / video
        if folder.is_dir():
            return sorted({p.stem for p in folder.glob("*/*.png")})
        return self.files.frames(video)

    def read(self, video: str, frames: Sequence[str] | None) -> Tracks:
        source = self.files.source(video)
        if frames is None and (self.path / video).is_dir():
            if not self.is_truth:
                raise FileError(
                    f"{source}: pictures can be scored where the truth says the names of its "
                    "frames: a PNG tree, or a split of MeViS"
                )
            frames = self.frames(video)
        tracks = self.files.read(video, frames)
        if not isinstance(tracks, dict) or not all(isinstance(t, list) for t in tracks.values()):
            raise FileError(f"{source}: expected {{name: [RLE or null, ...]}}")
        lengths = sorted({len(track) for track in tracks.values()})
        if len(lengths) > 1:
            raise FileError(f"{source}: expected tracks of one length, got {lengths} masks")
        return Tracks(tracks, lengths[0] if lengths else 0)


class MevisSplit:
    """The ground truth of a split of MeViS; the names are expression ids."""

    def __init__(self, path: Path):
        self.path = path
        self.split: Split = read_split(path.parent, path.name)
        self.truth = Annotations(self.split)
        self.by_name: dict[str, Video] = {video.name: video for video in self.split.videos}

    def videos(self) -> list[str]:
        return list(self.by_name)

    def frames(self, video: str) -> list[str]:
        return list(self.by_name[video].frames)

    def read(self, video: str, frames: Sequence[str] | None) -> Tracks:
        entry, tracks = self.by_name[video], {}
        for expression in entry.expressions:
            parts = [canonical_track(self.truth.track(a)) for a in expression.annotation_ids]
            if any(part is None or len(part) != len(entry.frames) for part in parts):
                raise FileError(
                    f"{self.truth.path}: video {video}, expression {expression.expression_id}: "
                    "malformed masks; `python -m rvos data verify` names them"
                )
            tracks[expression.expression_id] = merge_tracks(
                [part for part in parts if part is not None], len(entry.frames)
            )
        return Tracks(tracks, len(entry.frames))


class TrivialSource:
    """A trivial answer to all videos of a truth."""

    def __init__(self, truth: Source, answer: str):
        self.truth, self.answer, self.path = truth, answer, Path(answer)

    def videos(self) -> list[str]:
        return self.truth.videos()

    def frames(self, video: str) -> list[str] | None:
        return self.truth.frames(video)

    def read(self, video: str, frames: Sequence[str] | None) -> Trivial:
        return Trivial(self.truth.read(video, frames), self.answer)


def open_masks(path: Path, *, is_truth: bool) -> Source:
    """The masks at `path`; what is ground truth may be a split of MeViS. Raises InputError."""
    if is_truth and path.is_dir() and any(find_json(path / name) for name in METAS):
        return MevisSplit(path)
    for name in INNER:
        path = path / name if (path / name).is_dir() else path
    videos = folders_of(path) if path.is_dir() else []
    if videos and any((path / videos[0]).glob("*.png")):
        return PictureTree(path)
    return TrackTree(path, is_truth=is_truth)


def folders_of(path: Path) -> list[str]:
    """The names of the folders in it."""
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def read_numbers(path: Path) -> NDArray[np.uint8]:
    """(H, W) uint8 object numbers of a palette or grey picture. Raises FileError."""
    try:
        with sound_image(path) as image:
            mode, numbers = image.mode, np.asarray(image)
    except IMAGE_ERRORS as error:
        raise FileError(f"{path}: cannot be read as an image: {error}") from None
    if mode not in ("P", "L", "1"):
        raise FileError(f"{path}: expected a palette or grey picture of numbers, got mode {mode}")
    return numbers.astype(np.uint8)
