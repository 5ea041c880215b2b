"""A dataset's file of expressions -> a split.

A dataset gives `parse_meta` its file and how ids are written there.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rvos.data.split import Expression, Problem, Split, Video
from rvos.errors import InputError, is_text, list_problems
from rvos.masks import file_sha256, find_json, read_json
from rvos.masks.files import unpacked_sha256

log = logging.getLogger(__name__)


class Ids(NamedTuple):
    """What an expression's entry says of its objects; see `Expression`."""

    annotation_ids: tuple[str, ...]
    object_ids: tuple[str, ...]
    type: str = ""


def split_folder(root: Path | str, split: str) -> Path:
    """`<root>/<split>`. Raises InputError that names what lies in `root` instead."""
    root = Path(root)
    if (root / split).is_dir():
        return root / split
    names = sorted(path.name for path in root.iterdir())[:8] if root.is_dir() else []
    holds = f"; {root} holds {', '.join(names) or 'nothing'}" if root.is_dir() else ""
    raise InputError(
        f"{root / split}: no such folder; expected data.root/data.split with the split's files"
        f"{holds}"
    )


def check_root(folder: Path) -> None:
    """Raises InputError where a dataset's folder is not there."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected the dataset there (data.root)")


def find_meta(folder: Path, names: Sequence[str], chosen: str | None) -> Path:
    """The file of expressions in a folder: `chosen` (the setting data.meta), or one of `names`.

    Each may be .gz. Several are fine if their content is the same. Raises InputError.
    """
    check_root(folder)
    if chosen is not None:
        if not isinstance(chosen, str) or not is_name(chosen):
            raise InputError(f"data.meta: expected the name of a file, or null; got {chosen!r}")
        if (path := find_json(folder / chosen)) is None:
            raise InputError(f"data.meta: {folder / chosen}: no such file (nor .gz)")
        return path
    candidates = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
    existing = [path for path in candidates if path.is_file()]
    if not existing:
        others = f", or one of {', '.join(names[1:])}" if names[1:] else ""
        raise InputError(f"{folder / names[0]}: no such file (nor .json.gz{others})")
    if len(existing) > 1 and len({unpacked_sha256(path) for path in existing}) > 1:
        differing = ", ".join(path.name for path in existing)
        raise InputError(
            f"{folder}: files of expressions that differ: {differing}; "
            f"choose one by its name, e.g. data.meta={existing[0].name}"
        )
    return existing[0]


def parse_meta(
    folder: Path,
    path: Path,
    split: str,
    key: str,
    ids_of: Callable[[str, dict[str, Any]], Ids],
    bad: list[Problem] | None,
    *,
    left_out: Collection[str] = (),
    entry_of: Callable[[str, Any], Any] = lambda video, entry: entry,
) -> Split:
    """A split from its file of expressions, without the videos of `left_out`, which is logged.

    `ids_of` (video, expression entry) gives an entry's ids and type, or raises ValueError with what
    is wrong with them; `key` is where the entry has them. `entry_of` (video, entry) brings a
    video's entry to the form {"frames", "expressions"}, or raises ValueError. Raises as
    `read_split`.
    """
    entries = listed_videos(path)
    kept = {name: entry for name, entry in entries.items() if name not in left_out}
    videos, problems = parse_videos(kept, key, ids_of, entry_of)
    check_found(path, videos, problems, bad)
    opened = Split(folder, split, videos, file_sha256(path), left_out=len(entries) - len(kept))
    if opened.left_out:
        log.info("%s: %s", path, opened.said_of_left_out)
    _ = opened.images  # an archive that is damaged is named now, not amid the work
    return opened


def listed_videos(path: Path) -> dict[str, Any]:
    """{video: entry} of a file of expressions. Raises InputError for any other file."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("videos"), dict):
        raise InputError(f'{path}: expected {{"videos": {{video: ...}}}}')
    return content["videos"]


def parse_videos(
    entries: dict[str, Any],
    key: str,
    ids_of: Callable[[str, dict[str, Any]], Ids],
    entry_of: Callable[[str, Any], Any] = lambda video, entry: entry,
) -> tuple[tuple[Video, ...], list[Problem]]:
    """`{video: {"frames", "expressions"}}` -> videos, and what is wrong with the others."""
    problems: list[Problem] = []
    videos: list[Video] = []
    for name, entry in entries.items():
        parsed: list[Expression] = []
        try:
            frames, expressions = _checked_video(name, entry_of(name, entry))
        except ValueError as error:
            problems.append(Problem(name, None, str(error)))
            continue
        for expression_id, item in expressions.items():
            try:
                text = _checked_text(expression_id, item)
                ids = ids_of(name, item)
                one = Expression(name, expression_id, text, *ids, labelled=key in item)
            except ValueError as error:
                problems.append(Problem(name, expression_id, str(error)))
                continue
            parsed.append(one)
        videos.append(Video(name, tuple(frames), tuple(parsed)))
    return tuple(videos), problems


def check_found(
    path: Path, videos: Sequence[Video], malformed: list[Problem], bad: list[Problem] | None
) -> None:
    """Raises InputError for malformed entries, which `bad` takes if given, and for no videos."""
    if malformed and bad is None:
        problems = [str(problem) for problem in malformed]
        raise InputError(list_problems(f"{path}: malformed entries", problems, shown=len(problems)))
    if bad is not None:
        bad.extend(malformed)
    if not any(video.expressions for video in videos):
        raise InputError(f"{path}: the split is empty; expected at least one expression")


LONGEST = 240  # bytes of a name: endings as .json.gz follow it, and file systems take 255
_NO_NAME = (
    "expected a name that can be a file's: not empty, without a dot in front, without / or \\, of "
    f"at most {LONGEST} bytes"
)


def is_name(text: str) -> bool:
    """Whether a name in data stays in its folder as the name of a file."""
    allowed = is_text(text) and not any(c in "/\\" or ord(c) < 32 for c in text)
    allowed = allowed and not text.startswith(".")  # hidden files are no results
    return allowed and 0 < len(text.encode()) <= LONGEST


def _checked_video(name: str, entry: Any) -> tuple[list[str], dict[str, Any]]:
    """The frames and expressions of a video's entry. Raises ValueError."""
    if not all(map(is_name, name.split("/"))):  # ReVOS has videos in folders
        raise ValueError(_NO_NAME)
    if not isinstance(entry, dict) or not {"expressions", "frames"} <= entry.keys():
        raise ValueError('expected "expressions" and "frames"')
    frames, expressions = entry["frames"], entry["expressions"]
    if not isinstance(frames, list) or not frames or not all(isinstance(f, str) for f in frames):
        raise ValueError('"frames": expected a non-empty list of frame names')
    if bad_names := [frame for frame in frames if not is_name(frame)]:
        raise ValueError(f'"frames": {bad_names[0]!r}: {_NO_NAME}')
    if twice := [frame for frame, count in Counter(frames).items() if count > 1]:
        raise ValueError(f'"frames": listed twice: {", ".join(twice)}')
    if not isinstance(expressions, dict):
        raise ValueError('"expressions": expected {expression_id: ...}')
    return frames, expressions


def _checked_text(expression_id: str, item: Any) -> str:
    """The text of an expression's entry. Raises ValueError."""
    if not is_name(expression_id):
        raise ValueError(_NO_NAME)
    if not isinstance(item, dict) or not isinstance(item.get("exp"), str):
        raise ValueError('expected a text "exp"')
    return str(item["exp"])


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


def mevis_ids(video: str, entry: dict[str, Any]) -> Ids:
    """Ids as MeViS names them. Raises ValueError."""
    return Ids(as_ids(entry, "anno_id"), as_ids(entry, "obj_id"))


def ids_with_type(types: Sequence[str], video: str, entry: dict[str, Any]) -> Ids:
    """As `mevis_ids`, with the type whose position in `types` is `type_id`. Raises ValueError."""
    type_id = entry.get("type_id")
    if type(type_id) is not int or type_id not in range(len(types)):
        *numbers, last = range(len(types))
        expected = f"{', '.join(map(str, numbers))} or {last}"
        raise ValueError(f'"type_id": expected {expected}, got {type_id!r}')
    return mevis_ids(video, entry)._replace(type=types[type_id])
