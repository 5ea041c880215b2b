"""MeViS folder -> videos, expressions and ground-truth tracks.

`<root>/<split>/meta_expressions.json`, `mask_dict.json` (splits with ground truth) and
`JPEGImages/<video>/<frame>.jpg`; every .json may be .json.gz. Format: henghuiding/MeViS, README.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvos import InputError, list_problems
from rvos.masks import (
    FileError,
    MaskError,
    Track,
    canonical,
    canonical_track,
    find_json,
    read_json,
    union,
)
from rvos.stores import file_sha256


@dataclass(frozen=True)
class Expression:
    """One sentence about one video. Its identity is (video, expression_id), never the text."""

    video: str
    expression_id: str
    text: str
    annotation_ids: tuple[str, ...]  # keys of mask_dict; empty where there is no target or no truth


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


def read_split(root: Path | str, split: str) -> Split:
    """Read the expressions and frame names of a split.

    Raises InputError naming the file and listing everything that is wrong with it.
    """
    folder = Path(root) / split
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected data.root/data.split with "
                         "meta_expressions.json in it")
    path = find_json(folder / "meta_expressions.json")
    if path is None:
        raise InputError(f"{folder / 'meta_expressions.json'}: no such file (nor .json.gz)")
    try:
        content = read_json(path)
    except FileError as error:
        raise InputError(str(error)) from None
    if not isinstance(content, dict) or not isinstance(content.get("videos"), dict):
        raise InputError(f'{path}: expected {{"videos": {{video: ...}}}}')
    problems: list[str] = []
    videos = [_video(name, entry, problems) for name, entry in content["videos"].items()]
    if problems:
        raise InputError(list_problems(f"{path}: malformed entries", problems))
    if not any(video is not None and video.expressions for video in videos):
        raise InputError(f"{path}: the split is empty; expected at least one expression")
    return Split(folder, split, tuple(v for v in videos if v is not None), file_sha256(path))


def _video(name: str, entry: Any, problems: list[str]) -> Video | None:
    if not isinstance(entry, dict) or not {"expressions", "frames"} <= entry.keys():
        problems.append(f'video {name}: expected "expressions" and "frames"')
        return None
    frames, expressions = entry["frames"], entry["expressions"]
    if not isinstance(frames, list) or not frames or not all(isinstance(f, str) for f in frames):
        problems.append(f'video {name}: "frames": expected a non-empty list of frame names')
        return None
    if len(set(frames)) < len(frames):
        twice = next(frame for frame in frames if frames.count(frame) > 1)
        problems.append(f'video {name}: "frames": {twice} is listed twice')
    if not isinstance(expressions, dict):
        problems.append(f'video {name}: "expressions": expected {{expression_id: ...}}')
        return None
    parsed = []
    for expression_id, item in expressions.items():
        if not isinstance(item, dict) or not isinstance(item.get("exp"), str):
            problems.append(f'video {name}, expression {expression_id}: expected a text "exp"')
            continue
        ids = item.get("anno_id", [])
        ids = ids if isinstance(ids, list) else [ids]
        parsed.append(Expression(name, expression_id, item["exp"], tuple(str(i) for i in ids)))
    return Video(name, tuple(frames), tuple(parsed))


class Annotations:
    """The ground-truth tracks of a split, by annotation id (`mask_dict.json`)."""

    def __init__(self, split: Split):
        path = find_json(split.folder / "mask_dict.json")
        if path is None:
            raise InputError(f"{split.folder / 'mask_dict.json'}: no such file (nor .json.gz); "
                             f"split {split.name} has no ground truth to score against")
        try:
            self._tracks: dict[str, Any] = read_json(path)
        except FileError as error:
            raise InputError(str(error)) from None
        if not isinstance(self._tracks, dict):
            raise InputError(f"{path}: expected {{annotation id: [mask per frame]}}")
        self.path = path

    def __contains__(self, annotation_id: str) -> bool:
        return annotation_id in self._tracks

    def track(self, annotation_id: str) -> Any:
        """One annotation's masks per frame as in the file, unchecked."""
        return self._tracks[annotation_id]


def check_track(track: Any, num_frames: int, size: Sequence[int] | None, where: str,
                problems: list[str]) -> Track:
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
