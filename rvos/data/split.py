"""A split: its videos with their frames and expressions. The types that every dataset is read to.

A dataset gives `parse_meta` its file of expressions and how ids are written there; one's own video
with its sentences is a split too (`own_split`).
"""

import hashlib
import json
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rvos.data.archive import FilePath, find_frames
from rvos.data.frames import FrameFolder, Frames, Thinned, fingerprint, open_frames
from rvos.errors import InputError, list_problems
from rvos.masks import (
    FileError,
    Mask,
    MaskError,
    Track,
    canonical,
    canonical_track,
    file_sha256,
    find_json,
    open_json,
    read_json,
    union,
)


class Ids(NamedTuple):
    """What an expression's entry says of its objects; see `Expression`."""

    annotation_ids: tuple[str, ...]
    object_ids: tuple[str, ...]
    type: str = ""


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

    @property
    def expression_ids(self) -> dict[str, dict[str, None]]:
        """The ids of all expressions, by video and in order."""
        return {v.name: dict.fromkeys(e.expression_id for e in v.expressions) for v in self.videos}

    @cached_property
    def images(self) -> FilePath:
        """Where the frames lie, see `find_frames`."""
        return find_frames(self.folder)

    def frame_path(self, video: str, frame: str) -> FilePath:
        """The image file of one frame, which may lie in an archive."""
        return self.images / video / f"{frame}.jpg"

    def open_frames(self, video: Video) -> Frames:
        """The video's frames, in its order. Raises FrameError listing all that are missing."""
        return FrameFolder(self.images / video.name, video.frames)


@dataclass(frozen=True)
class OwnSplit(Split):
    """One's own video, a file or a folder of images, as a split of one video."""

    path: Path = Path()
    every: int = 1  # of so many frames one is used
    max_frames: int | None = None  # of those that are used; None: all

    def open_frames(self, video: Video) -> Frames:
        return Thinned(open_frames(self.path), self.every, self.max_frames)


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
    path = Path(path)
    if empty := [str(i) for i, text in enumerate(sentences) if not text.strip()]:
        raise InputError(list_problems("sentences without words; number", empty))
    frames, name = Thinned(open_frames(path), every, max_frames), path.resolve().stem
    expressions = [Expression(name, str(i), text, ()) for i, text in enumerate(sentences)]
    video = Video(name, tuple(frames.names), tuple(expressions))
    identity = json.dumps([fingerprint(path), every, max_frames, *sentences])
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return OwnSplit(path.parent, name, (video,), digest, path, every, max_frames)


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

    def problems(
        self, annotation_id: str, video: Video, size: Sequence[int] | None
    ) -> Iterator[str]:
        """What is wrong with one annotation; `size` (h, w) is that of the video's frames."""
        found: list[str] = []
        where = f"annotation {annotation_id}"
        check_track(self.track(annotation_id), len(video.frames), size, where, found)
        yield from found


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


def find_meta(folder: Path, names: Sequence[str], chosen: str | None) -> Path:
    """The file of expressions in a folder: `chosen` (the setting data.meta), or one of `names`.

    Each may be .gz. Several are fine if their content is the same. Raises InputError.
    """
    if chosen is not None:
        if not isinstance(chosen, str) or not is_name(chosen):
            raise InputError(f"data.meta: expected the name of a file, or null; got {chosen!r}")
        if (path := find_json(folder / chosen)) is None:
            raise InputError(f"data.meta: {folder / chosen}: no such file (nor .gz)")
        return path
    candidates = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
    there = [path for path in candidates if path.is_file()]
    if not there:
        others = f", or one of {', '.join(names[1:])}" if names[1:] else ""
        raise InputError(f"{folder / names[0]}: no such file (nor .json.gz{others})")
    if len(there) > 1 and len({_unpacked(path) for path in there}) > 1:
        found = ", ".join(path.name for path in there)
        raise InputError(
            f"{folder}: files of expressions that differ: {found}; "
            f"choose one by its name, e.g. data.meta={there[0].name}"
        )
    return there[0]


def _unpacked(path: Path) -> str:
    """Hex SHA-256 of a .json[.gz] file's content."""
    try:
        with open_json(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def parse_meta(
    folder: Path,
    path: Path,
    split: str,
    key: str,
    ids_of: Callable[[str, dict[str, Any]], Ids],
    bad: list[Problem] | None,
) -> Split:
    """A split from its file of expressions.

    `ids_of` (video, expression entry) gives an entry's ids and type, or raises ValueError with what
    is wrong with them; `key` is where the entry has them. Raises as `read_split`.
    """
    try:
        content = read_json(path)
    except FileError as error:
        raise InputError(str(error)) from None
    if not isinstance(content, dict) or not isinstance(content.get("videos"), dict):
        raise InputError(f'{path}: expected {{"videos": {{video: ...}}}}')
    videos, found = parse_videos(content["videos"], key, ids_of)
    check_found(path, videos, found, bad)
    opened = Split(folder, split, videos, file_sha256(path))
    _ = opened.images  # an archive that is damaged is named now, not amid the work
    return opened


def parse_videos(
    entries: dict[str, Any], key: str, ids_of: Callable[[str, dict[str, Any]], Ids]
) -> tuple[tuple[Video, ...], list[Problem]]:
    """`{video: {"frames", "expressions"}}` -> videos, and what is wrong with the others."""
    found: list[Problem] = []
    parsed = [_video(name, entry, key, ids_of, found) for name, entry in entries.items()]
    return tuple(video for video in parsed if video is not None), found


def check_found(
    path: Path, videos: Sequence[Video], found: list[Problem], bad: list[Problem] | None
) -> None:
    """Raises InputError for malformed entries, which `bad` takes if given, and for no videos."""
    if found and bad is None:
        problems = [str(problem) for problem in found]
        raise InputError(list_problems(f"{path}: malformed entries", problems, shown=len(problems)))
    if bad is not None:
        bad.extend(found)
    if not any(video.expressions for video in videos):
        raise InputError(f"{path}: the split is empty; expected at least one expression")


_NO_NAME = "expected a name that can be a file's: not empty, not .., without / or \\"


def is_name(text: str) -> bool:
    """Whether a name in data stays in its folder as the name of a file."""
    return text not in ("", ".", "..") and not any(c in "/\\" or ord(c) < 32 for c in text)


def _video(
    name: str,
    entry: Any,
    key: str,
    ids_of: Callable[[str, dict[str, Any]], Ids],
    problems: list[Problem],
) -> Video | None:
    """The video without its malformed expressions; None if the video itself is malformed."""

    def wrong(text: str, expression_id: str | None = None) -> None:
        problems.append(Problem(name, expression_id, text))

    if not all(map(is_name, name.split("/"))):  # ReVOS has videos in folders
        wrong(_NO_NAME)
        return None
    if not isinstance(entry, dict) or not {"expressions", "frames"} <= entry.keys():
        wrong('expected "expressions" and "frames"')
        return None
    frames, expressions = entry["frames"], entry["expressions"]
    if not isinstance(frames, list) or not frames or not all(isinstance(f, str) for f in frames):
        wrong('"frames": expected a non-empty list of frame names')
        return None
    if bad_names := [frame for frame in frames if not is_name(frame)]:
        wrong(f'"frames": {bad_names[0]!r}: {_NO_NAME}')
        return None
    if len(set(frames)) < len(frames):
        twice = [frame for frame, count in Counter(frames).items() if count > 1]
        wrong(f'"frames": listed twice: {", ".join(twice)}')
        return None
    if not isinstance(expressions, dict):
        wrong('"expressions": expected {expression_id: ...}')
        return None
    parsed = []
    for expression_id, item in expressions.items():
        if not is_name(expression_id):
            wrong(_NO_NAME, expression_id)
            continue
        if not isinstance(item, dict) or not isinstance(item.get("exp"), str):
            wrong('expected a text "exp"', expression_id)
            continue
        try:
            ids = ids_of(name, item)
        except ValueError as error:
            wrong(str(error), expression_id)
            continue
        parsed.append(Expression(name, expression_id, item["exp"], *ids, labelled=key in item))
    return Video(name, tuple(frames), tuple(parsed))


def as_ids(entry: dict[str, Any], key: str) -> tuple[str, ...]:
    """The id or list of ids, whole numbers or strings, under a key of an expression's entry.

    There are none where the key is missing. Raises ValueError for anything else.
    """
    value = entry.get(key, [])
    ids = value if isinstance(value, list) else [value]
    for i in ids:
        if isinstance(i, bool) or not isinstance(i, int | str) or i == "":
            raise ValueError(f'"{key}": expected an id or a list of ids, got {value!r}')
    return tuple(str(i) for i in ids)


def check_track(
    track: Any, num_frames: int, size: Sequence[int] | None, where: str, problems: list[str]
) -> Track:
    """A track with every mask in canonical form; problems are appended, naming the frame index.

    `size` (h, w) is what the masks must have; None accepts any one size.
    """
    if not isinstance(track, list) or len(track) != num_frames:
        got = len(track) if isinstance(track, list) else type(track).__name__
        problems.append(f"{where}: expected {num_frames} masks (one per frame), got {got}")
        return []
    checked = canonical_track(track, size)
    if checked is not None:
        return checked
    result: Track = []
    for frame_idx, mask in enumerate(track):
        try:
            result.append(canonical(mask, size))
        except MaskError as error:
            problems.append(f"{where}, frame {frame_idx}: {error}")
            result.append(None)
    return result


def merge_tracks(tracks: Sequence[Track], num_frames: int) -> Track:
    """The union of several objects' tracks, frame by frame; all None where there are none."""
    return [union(track[t] for track in tracks) for t in range(num_frames)]
