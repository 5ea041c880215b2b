"""A split: its videos with their frames and expressions. The types that every dataset is read to.

`meta.py` reads a dataset's file of expressions to them; one's own video with its sentences is a
split too (`own_split`).
"""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from rvos.data.archive import FilePath, find_frames
from rvos.data.decoding import FrameError, Size, image_size
from rvos.data.frames import FrameFolder, Frames, Thinned, fingerprint, open_frames
from rvos.errors import InputError, check_texts, list_problems
from rvos.masks import (
    Mask,
    MaskError,
    Track,
    canonical,
    canonical_track,
    union,
)
from rvos.masks.files import image_suffixes


@dataclass(frozen=True)
class Expression:
    """One sentence about one video. Its identity is (video, expression_id), never the text."""

    video: str
    expression_id: str
    text: str
    annotation_ids: tuple[str, ...]  # keys of mask_dict; empty where there is no target or no truth
    object_ids: tuple[str, ...] = ()  # the dataset's numbers of the objects within the video
    type: str = ""  # the dataset's kind of expression, where it has kinds
    labelled: bool = True  # False where the dataset does not say which objects are meant

    def __post_init__(self) -> None:
        check_texts(self.video, self.expression_id, self.text)
        check_texts(*self.annotation_ids, *self.object_ids, self.type)


@dataclass(frozen=True)
class Video:
    """One video and what is said about it."""

    name: str
    frames: tuple[str, ...]  # names in their order in the video; names are not numbers
    expressions: tuple[Expression, ...]


@dataclass(frozen=True)
class Split:
    """One split of a dataset. `meta_sha256` identifies its expressions."""

    folder: Path
    name: str
    videos: tuple[Video, ...]
    meta_sha256: str
    submission_folder: str = field(default="", kw_only=True)  # on top of a zip for its server
    left_out: int = field(default=0, kw_only=True)  # videos that are another split's
    # A video's frames below the folder, with {video}; empty where they are in JPEGImages/<video>.
    frames_at: str = field(default="", kw_only=True)

    @property
    def expression_ids(self) -> dict[str, dict[str, None]]:
        """The ids of all expressions, by video and in order."""
        return {v.name: dict.fromkeys(e.expression_id for e in v.expressions) for v in self.videos}

    @property
    def said_of_left_out(self) -> str:
        """What to tell of the videos that are not used."""
        return f"{self.left_out} videos are left out, which another split lists"

    @cached_property
    def images(self) -> FilePath:
        """Where the frames lie, see `find_frames`."""
        return find_frames(self.folder)

    def frame_folder(self, video: str) -> FilePath:
        """Where a video's frames lie, which may be in an archive."""
        if self.frames_at:
            return self.folder / self.frames_at.format(video=video)
        return self.images / video

    def frame_path(self, video: str, frame: str) -> FilePath:
        """The image file of one frame, which may lie in an archive."""
        return self.frame_folder(video) / f"{frame}.jpg"

    def open_frames(self, video: Video) -> Frames:
        """The video's frames, in its order. Raises FrameError listing all that are missing."""
        return FrameFolder(self.frame_folder(video.name), video.frames)

    def files(self, video: Video) -> list[str]:
        """The names of the frames' files: those that are there, else .jpg."""
        folder = self.frame_folder(video.name)
        is_there = isinstance(folder, Path) and folder.is_dir()
        by_name = _images_in(folder, folder.stat().st_mtime_ns) if is_there else {}
        return [by_name.get(frame, f"{frame}.jpg") for frame in video.frames]

    def size(self, video: Video) -> Size | None:
        """(height, width) of the video's first frame; None where it is not there."""
        try:
            return image_size(self.frame_path(video.name, video.frames[0]))
        except FrameError:
            return None


@lru_cache(maxsize=1)  # a dataset may have all videos in one folder
def _images_in(folder: Path, changed: int) -> dict[str, str]:
    """{name of a frame: its file}, a .jpg where there are several; `changed`: the folder's time."""
    with os.scandir(folder) as entries:  # which tells a folder without a look at each file
        paths = [Path(entry.name) for entry in entries if not entry.is_dir()]
    images = [path for path in paths if path.suffix.lower() in image_suffixes()]
    return {p.stem: p.name for p in sorted(images, key=lambda path: path.suffix == ".jpg")}


@dataclass(frozen=True)
class OwnSplit(Split):
    """One's own video, a file or a folder of images, as a split of one video."""

    path: Path = Path()
    every: int = 1  # of so many frames one is used
    max_frames: int | None = None  # of those that are used; None: all
    fingerprint: str = ""  # of the file or of the images

    def open_frames(self, video: Video) -> Frames:
        return _thinned(self.path, self.every, self.max_frames)

    def frame_folder(self, video: str) -> FilePath:
        return self.path

    def size(self, video: Video) -> Size | None:
        return self.open_frames(video).size


def _thinned(path: Path | str, every: int, max_frames: int | None) -> Thinned:
    at_most = None if max_frames is None else every * (max_frames - 1) + 1
    return Thinned(open_frames(path, at_most=at_most), every, max_frames)


def own_split(
    path: Path | str,
    sentences: Sequence[str],
    *,
    every: int = 1,
    max_frames: int | None = None,
) -> OwnSplit:
    """One's own video and what is to be segmented in it; expression ids are 0, 1, ...

    Every `every`-th frame is used, at most `max_frames` of them.

    Raises FrameError when the video cannot be read, InputError for an empty sentence.
    """
    if empty := [str(i) for i, text in enumerate(sentences) if not text.strip()]:
        raise InputError(list_problems("sentences without words; number", empty))
    check_texts(str(path), *sentences)
    frames, path = _thinned(path, every, max_frames), Path(path)
    name = path.resolve().stem.lstrip(".") or "video"  # hidden files are no results
    expressions = [Expression(name, str(i), text, ()) for i, text in enumerate(sentences)]
    video = Video(name, tuple(frames.names), tuple(expressions))
    content = fingerprint(path, images=True)
    identity = json.dumps([content, every, max_frames, *sentences])
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return OwnSplit(path.parent, name, (video,), digest, path, every, max_frames, content)


class NoTruth(InputError):
    """A split has no ground truth."""


def check_labelled(split: Split, key: str) -> None:
    """Raises NoTruth unless `key` says of every expression which objects it is about.

    An expression without the key is not one without target, which has an empty list there.
    """
    unknown = [e for video in split.videos for e in video.expressions if not e.labelled]
    if unknown:
        count = sum(len(video.expressions) for video in split.videos)
        raise NoTruth(
            f"split {split.name} has no ground truth: {len(unknown)} of {count} expressions have "
            f"no {key}, the first is {unknown[0].expression_id} of video {unknown[0].video}"
        )


class Truth(ABC):
    """The ground-truth tracks of a split, by annotation id. `path` is what messages name."""

    path: Path

    @abstractmethod
    def __contains__(self, annotation_id: str) -> bool: ...

    @abstractmethod
    def __iter__(self) -> Iterator[str]: ...

    @abstractmethod
    def track(self, annotation_id: str) -> Any:
        """One annotation's masks per frame as in the file, unchecked."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hex SHA-256 that changes with the masks."""

    def mask(self, annotation_id: str, frame_idx: int) -> Mask:
        """One annotation's mask in one frame, unchecked."""
        return self.track(annotation_id)[frame_idx]

    def length(self, annotation_id: str) -> int | None:
        """How many masks an annotation has; None where only reading them tells."""
        return None

    def unscorable(self) -> str:
        """Why the split cannot be scored; empty where it can."""
        return ""

    def label_problems(self, annotation_id: str) -> Iterator[str]:
        """What is wrong with an annotation that only its pixels tell."""
        yield from ()

    def problems(
        self, annotation_id: str, video: Video, size: Sequence[int] | None
    ) -> Iterator[str]:
        """What is wrong with one annotation; `size` (h, w) is that of the video's frames."""
        problems: list[str] = []
        where = f"annotation {annotation_id}"
        check_track(self.track(annotation_id), video.frames, size, where, problems)
        yield from problems

    def tracks(
        self, video: Video, annotation_ids: Iterable[str], size: Sequence[int] | None = None
    ) -> dict[str, Track]:
        """Annotations of a video by id, each once, in canonical form; `size` as `check_track`.

        Raises InputError listing those that are missing or malformed.
        """
        tracks: dict[str, Track] = {}
        problems: list[str] = []
        for id_ in dict.fromkeys(annotation_ids):
            where = f"annotation {id_} (video {video.name})"
            if id_ not in self:
                problems.append(f"{where}: no such annotation")
                continue
            track = self.track(id_)
            tracks[id_] = check_track(track, video.frames, size, where, problems)
        if problems:
            raise InputError(list_problems(f"{self.path}: ground truth", problems))
        return tracks


@dataclass(frozen=True)
class Problem:
    """Something wrong with a video, or with one of its expressions, in a sentence."""

    video: str
    expression_id: str | None  # None: the whole video cannot be used
    text: str

    def __str__(self) -> str:
        where = f"video {self.video}"
        if self.expression_id is not None:
            where += f", expression {self.expression_id}"
        return f"{where}: {self.text}"


def check_track(
    track: Any,
    frames: Sequence[str],
    size: Sequence[int] | None,
    where: str,
    problems: list[str],
) -> Track:
    """A track with every mask in canonical form; problems are appended, naming the frame.

    `size` (h, w) is what the masks must have; None accepts any one size.
    """
    if not isinstance(track, list) or len(track) != len(frames):
        got = len(track) if isinstance(track, list) else type(track).__name__
        problems.append(f"{where}: expected {len(frames)} masks (one per frame), got {got}")
        return []
    checked = canonical_track(track, size)
    if checked is not None:
        return checked
    result: Track = []
    for frame, mask in zip(frames, track, strict=True):
        try:
            result.append(canonical(mask, size))
        except MaskError as error:
            problems.append(f"{where}, frame {frame}: {error}")
            result.append(None)
    return result


def merge_tracks(tracks: Sequence[Track], num_frames: int) -> Track:
    """The union of several objects' tracks, frame by frame; all None where there are none."""
    return [union(track[t] for track in tracks) for t in range(num_frames)]
