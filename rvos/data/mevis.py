"""MeViS folder -> videos, expressions and ground-truth tracks.

`<root>/<split>/meta_expressions.json`, `mask_dict.json` (splits with ground truth) and
`JPEGImages/<video>/<frame>.jpg`; every .json may be .json.gz. Format: henghuiding/MeViS, README.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from rvos import InputError, list_problems
from rvos.data.mask_index import open_index
from rvos.masks import (
    FileError,
    Mask,
    MaskError,
    Track,
    canonical,
    canonical_track,
    find_json,
    read_json,
    union,
)
from rvos.stores import file_sha256

Ids = tuple[tuple[str, ...], tuple[str, ...]]  # annotation ids, object ids


@dataclass(frozen=True)
class Expression:
    """One sentence about one video. Its identity is (video, expression_id), never the text."""

    video: str
    expression_id: str
    text: str
    annotation_ids: tuple[str, ...]  # keys of mask_dict; empty where there is no target or no truth
    object_ids: tuple[str, ...] = ()  # the dataset's numbers of the objects within the video


@dataclass(frozen=True)
class Video:
    name: str
    frames: tuple[str, ...]  # names in their order in the video; names are not numbers
    expressions: tuple[Expression, ...]


@dataclass(frozen=True)
class Split:
    """One split of a dataset."""

    folder: Path
    name: str
    videos: tuple[Video, ...]
    meta_sha256: str

    def frame_path(self, video: str, frame: str) -> Path:
        return self.folder / "JPEGImages" / video / f"{frame}.jpg"

    def frame_size(self, video: Video) -> tuple[int, int]:
        """(height, width) of a video's frames in pixels, from the header of the first one."""
        return _image_size(self.frame_path(video.name, video.frames[0]))


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


@lru_cache(maxsize=4096)
def _image_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.height, image.width


def read_split(root: Path | str, split: str, bad: list[Problem] | None = None) -> Split:
    """Read the expressions and frame names of a split.

    Raises InputError naming the file and listing everything that is wrong with it. With `bad`,
    malformed videos and expressions are left out and appended there instead.
    """
    folder = Path(root) / split
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; expected data.root/data.split with "
            "meta_expressions.json in it"
        )
    return parse_meta(folder, folder / "meta_expressions.json", split, _mevis_ids, bad)


def parse_meta(
    folder: Path,
    meta: Path,
    split: str,
    ids_of: Callable[[str, dict[str, Any]], Ids],
    bad: list[Problem] | None,
) -> Split:
    """A split from its meta_expressions.json[.gz].

    `ids_of` (video, expression entry) gives annotation ids and object ids. Raises as `read_split`.
    """
    path = find_json(meta)
    if path is None:
        raise InputError(f"{meta}: no such file (nor .json.gz)")
    try:
        content = read_json(path)
    except FileError as error:
        raise InputError(str(error)) from None
    if not isinstance(content, dict) or not isinstance(content.get("videos"), dict):
        raise InputError(f'{path}: expected {{"videos": {{video: ...}}}}')
    found: list[Problem] = []
    parsed = [_video(name, entry, ids_of, found) for name, entry in content["videos"].items()]
    videos = tuple(video for video in parsed if video is not None)
    if found and bad is None:
        problems = [str(problem) for problem in found]
        raise InputError(list_problems(f"{path}: malformed entries", problems, shown=len(problems)))
    if bad is not None:
        bad.extend(found)
    if not any(video.expressions for video in videos):
        raise InputError(f"{path}: the split is empty; expected at least one expression")
    return Split(folder, split, videos, file_sha256(path))


def _video(
    name: str, entry: Any, ids_of: Callable[[str, dict[str, Any]], Ids], problems: list[Problem]
) -> Video | None:
    """The video without its malformed expressions; None if the video itself is malformed."""

    def wrong(text: str, expression_id: str | None = None) -> None:
        problems.append(Problem(name, expression_id, text))

    if not isinstance(entry, dict) or not {"expressions", "frames"} <= entry.keys():
        wrong('expected "expressions" and "frames"')
        return None
    frames, expressions = entry["frames"], entry["expressions"]
    if not isinstance(frames, list) or not frames or not all(isinstance(f, str) for f in frames):
        wrong('"frames": expected a non-empty list of frame names')
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
        if not isinstance(item, dict) or not isinstance(item.get("exp"), str):
            wrong('expected a text "exp"', expression_id)
            continue
        parsed.append(Expression(name, expression_id, item["exp"], *ids_of(name, item)))
    return Video(name, tuple(frames), tuple(parsed))


def _mevis_ids(video: str, entry: dict[str, Any]) -> Ids:
    return as_ids(entry.get("anno_id", [])), as_ids(entry.get("obj_id", []))


def as_ids(value: Any) -> tuple[str, ...]:
    """One id or a list of ids, numbers or strings -> strings."""
    return tuple(str(i) for i in (value if isinstance(value, list) else [value]))


class Annotations:
    """The ground-truth tracks of a split, by annotation id (`mask_dict.json`, indexed on disk).

    The first use of a file parses it once (`mask_index.py`); after that nothing is held in memory.
    """

    def __init__(self, split: Split):
        path = find_json(split.folder / "mask_dict.json")
        if path is None:
            raise InputError(
                f"{split.folder / 'mask_dict.json'}: no such file (nor .json.gz); "
                f"split {split.name} has no ground truth to score against "
                "(submission=true writes its masks without scores)"
            )
        self.path = path
        self.index = open_index(path)

    def __contains__(self, annotation_id: str) -> bool:
        return annotation_id in self.index

    def __iter__(self) -> Iterator[str]:
        return iter(self.index)

    def track(self, annotation_id: str) -> Any:
        """One annotation's masks per frame as in the file, unchecked."""
        return self.index.track(annotation_id)

    def mask(self, annotation_id: str, frame_idx: int) -> Mask:
        """One annotation's mask in one frame, unchecked."""
        return self.index.mask(annotation_id, frame_idx)


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
