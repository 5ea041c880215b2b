"""Folders and files of masks -> the masks of one video, by object or expression, for `rvos score`.

Four forms are told apart by what lies there:
- pictures of object numbers, `<video>/<frame>.png` (DAVIS, YouTube-VOS, MOSE); 0 is background;
- a picture per object or expression, `<video>/<name>/<frame>.png` (MeViS' submissions, SA-V);
- JSON: `{video: {name: [RLE or null, ...]}}`, one file or one per video; the other forms of
  `masks.TrackFiles` (the Sa2VA family's, COCO with track ids, YouTube-VIS);
- a split of MeViS: `meta_expressions.json` and `mask_dict.json` (ground truth alone); splits of
  other datasets where their layout is named.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rvos.data.formats import reader
from rvos.data.frames import frames_in, in_order
from rvos.data.mevis import METAS
from rvos.data.png_truth import VOID
from rvos.data.split import Expression, Split, Truth, Video, merge_tracks
from rvos.data.ytvos import largest_number, objects_of
from rvos.masks import (
    MISSING_FRAME,
    FileError,
    Track,
    TrackFiles,
    find_json,
)
from rvos.masks.files import files_below, read_numbers

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
    void: int = VOID  # no object; 0 in a prediction, where 255 is one that the truth has not
    where: str = ""  # they lie, for messages

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
        return [str(n) for n in np.flatnonzero(seen) if n not in (0, self.void)]

    def num_objects(self, video: Video | None = None) -> int:
        """The largest object number of the first frame. Raises FileError where there is none."""
        return largest_number(self.pictures[0])

    def objects(self, video: Video | None = None) -> tuple[list[Track], Track]:
        """As `data.ytvos.PaletteAnnotations.objects`."""
        return objects_of(self.pictures, self.num_objects())

    def track(self, name: str) -> Sequence[Any]:
        """The object's pixels in every frame."""
        number = int(name) if name.isdecimal() else -1
        return [MISSING_FRAME if p is None else p == number for p in self.pictures]


class Source(Protocol):
    """Masks of many videos."""

    path: Path

    def videos(self) -> list[str]: ...

    def frames(self, video: str) -> list[str] | None:
        """The names of a video's frames in their order; None where the form has none."""

    def read(self, video: str, frames: Sequence[str] | None) -> VideoMasks:
        """The masks of a video; `frames` are those of the ground truth. Raises InputError."""


class TruthSource(Source, Protocol):
    """Masks of many videos that are ground truth."""

    kind: Any  # has the methods of what `truth` gives: `Protocol.check` looks for them

    @property
    def split(self) -> Split:
        """The split; one without videos where there is none."""

    def truth(self, masks: VideoMasks) -> Any:
        """What `Protocol.read` gets for a video of these masks."""

    def video(self, name: str, names: Sequence[str]) -> Video:
        """A video with its expressions; objects are expressions without text."""


class Tree(ABC):
    """Files of masks as ground truth."""

    path: Path
    kind: Any

    @property
    def split(self) -> Split:
        return Split(self.path, self.path.name, (), "")

    def truth(self, masks: VideoMasks) -> VideoMasks:
        return masks

    def video(self, name: str, names: Sequence[str]) -> Video:
        expressions = (Expression(name, n, "", (), (n,)) for n in names)
        return Video(name, tuple(self.frames(name) or ()), tuple(expressions))

    @abstractmethod
    def frames(self, video: str) -> list[str] | None: ...


class PictureTree(Tree):
    """`<video>/<frame>.png`, pictures of object numbers."""

    kind = Pictures(())

    def __init__(self, path: Path, *, is_truth: bool):
        self.path = path
        self.is_truth = is_truth

    def videos(self) -> list[str]:
        return folders_of(self.path)

    def frames(self, video: str) -> list[str]:
        return frames_in(self.path / video, ".png")

    def read(self, video: str, frames: Sequence[str] | None) -> Pictures:
        names = self.frames(video) if frames is None else frames
        paths = [self.path / video / f"{name}.png" for name in names]
        pictures = [read_numbers(p) if p.is_file() else None for p in paths]
        return Pictures(pictures, VOID if self.is_truth else 0, str(self.path / video))


class TrackTree(Tree):
    """JSON, and `<video>/<name>/<frame>.png`; as ground truth, pictures name their own frames."""

    kind = Tracks({}, 0)

    def __init__(self, path: Path, *, is_truth: bool):
        self.files = TrackFiles(path)
        self.path = self.files.path
        self.is_truth = is_truth

    def videos(self) -> list[str]:
        return self.files.videos()

    def frames(self, video: str) -> list[str] | None:
        folder = self.path / video
        if not folder.is_dir():
            return self.files.frames(video)
        names = {name for one in folders_of(folder) for name in frames_in(folder / one, ".png")}
        return [p.stem for p in in_order([folder / f"{name}.png" for name in sorted(names)])]

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
        for name, track in tracks.items():  # a protocol need not look at every frame's mask
            if wrong := [mask for mask in track if not isinstance(mask, dict | str | None)]:
                raise FileError(f"{source}: {name}: expected RLE or null, got {wrong[0]!r:.80}")
        lengths = sorted({len(track) for track in tracks.values()})
        if len(lengths) > 1:
            raise FileError(f"{source}: expected tracks of one length, got {lengths} masks")
        return Tracks(tracks, lengths[0] if lengths else 0)


class SplitSource:
    """The ground truth of a split of any layout; the names are expression ids."""

    def __init__(self, path: Path, format: str):
        """`path` is `<root>/<split>`, `format` one of `data.format`. Raises InputError."""
        module = reader(format)
        self.path = path
        self.split: Split = module.read_split(path.parent, path.name)
        self.annotations: Truth = module.read_truth(self.split)
        self.kind = self.annotations
        self.by_name: dict[str, Video] = {video.name: video for video in self.split.videos}

    def truth(self, masks: VideoMasks) -> Truth:
        return self.annotations

    def video(self, name: str, names: Sequence[str]) -> Video:
        return self.by_name[name]

    def videos(self) -> list[str]:
        return list(self.by_name)

    def frames(self, video: str) -> list[str]:
        return list(self.by_name[video].frames)

    def read(self, video: str, frames: Sequence[str] | None) -> Tracks:
        entry = self.by_name[video]
        ids = [a for e in entry.expressions for a in e.annotation_ids]
        parts = self.annotations.tracks(entry, ids)
        tracks = {
            e.expression_id: merge_tracks([parts[a] for a in e.annotation_ids], len(entry.frames))
            for e in entry.expressions
        }
        return Tracks(tracks, len(entry.frames))


def open_truth(path: Path, format: str = "") -> TruthSource:
    """The ground truth at `path`: a split `<root>/<split>` of a layout, or as `open_masks`.

    Without a `format`, what has files of MeViS is a split of it. Raises InputError.
    """
    if format:
        return SplitSource(path, format)
    if path.is_dir() and any(find_json(path / name) for name in METAS):
        return SplitSource(path, "mevis")
    return open_masks(path, is_truth=True)


def open_masks(path: Path, *, is_truth: bool = False) -> PictureTree | TrackTree:
    """The masks at `path`. Raises InputError."""
    for name in INNER:
        path = path / name if (path / name).is_dir() else path
    videos = folders_of(path) if path.is_dir() else []
    if any(frames_in(path / video, ".png") for video in videos):
        return PictureTree(path, is_truth=is_truth)
    if videos and not any(
        p.name.endswith((".png", ".json", ".json.gz")) for p in files_below(path)
    ):
        raise FileError(f"{path}: expected masks in PNG or JSON files, found neither")
    return TrackTree(path, is_truth=is_truth)


def folders_of(path: Path) -> list[str]:
    """The names of the folders in it."""
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
