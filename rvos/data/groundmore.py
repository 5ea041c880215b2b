"""GroundMoRe -> the types of `split`.

`<root>/<split>_v2.json` and `<root>/annotations/<video>/{images/<frame>.jpg, masks/}`. An
expression is a question about one object in the time of an action: its truth is empty outside of
it. The mask of the t-th image is `masks/frame_<t>.png`, six digits, or `masks/<t>.png`, seven;
pixel values are object numbers, and there is no file where nothing shows. A video's name ends in
the time at which it begins and ends, as in `x_0120_0130`; times of an action are those of the whole
film; there are six frames a second. Layout: dengandong/GroundMoRe, evaluate_groundmore.py
(`groundmore_<split>.json`, `groundmore_videos/`), and Dmmm1997/VideoSEG-O3,
tools/eval/eval_groundmore.py.
"""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rvos.data.frames import frames_in
from rvos.data.meta import Ids, as_ids, find_meta, parse_meta
from rvos.data.png_truth import NumberedPictures
from rvos.data.split import Problem, Split, Truth
from rvos.errors import InputError
from rvos.masks import Mask, find_json

METAS = ("{}_v2.json", "groundmore_{}.json", "{}.json")  # of a split; the first that is there
FOLDERS = ("annotations", "groundmore_videos")
FRAMES_PER_SECOND = 6
ACTION = re.compile(r"(.+)@(-?\d+)\.\.(-?\d+)")  # object, first and last frame


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Split:
    """Read a split (train, test); annotation ids are `<video>/<object>@<first>..<last frame>`.

    Raises as `mevis.read_split`.
    """
    folder = Path(root)
    names = [name.format(split) for name in METAS]
    existing = [name for name in names if find_json(folder / name)]
    path = find_meta(folder, existing[:1] or names, meta)
    videos = next((folder / name for name in FOLDERS if (folder / name).is_dir()), None)
    if videos is None:
        raise InputError(f"{folder / FOLDERS[0]}: no such folder; expected the images and masks")
    entry_of = partial(_as_expressions, videos)
    opened = parse_meta(folder, path, split, "obj_id", _ids, bad, entry_of=entry_of)
    return replace(opened, frames_at=f"{videos.name}/{{video}}/images")


def has_split(root: Path, split: str, meta: str | None) -> bool:
    """Whether the dataset has a split: there are no folders of them."""
    return any(find_json(root / name.format(split)) for name in METAS)


def _as_expressions(videos: Path, video: str, entry: Any) -> Any:
    """A video's questions as expressions, and its images. Raises ValueError."""
    questions = entry.get("questions") if isinstance(entry, dict) else None
    if not isinstance(questions, dict) or not all(isinstance(q, dict) for q in questions.values()):
        raise ValueError('expected {"questions": {id: {question, obj_id, q_type, ...}}}')
    folder = videos / video / "images"
    frames = frames_in(folder, ".jpg") if folder.is_dir() else []
    if not frames:
        raise ValueError(f"{folder}: expected the video's images, *.jpg")
    expressions = {key: {**q, "exp": q.get("question")} for key, q in questions.items()}
    return {"frames": frames, "expressions": expressions}


def _ids(video: str, entry: dict[str, Any]) -> Ids:
    objects = as_ids(entry, "obj_id")
    if len(objects) != 1 or not objects[0].isdecimal() or not int(objects[0]):
        raise ValueError(f'"obj_id": expected the number of an object, got {entry.get("obj_id")!r}')
    type = entry.get("q_type")
    if not isinstance(type, str):
        raise ValueError(f'"q_type": expected a text, got {type!r}')
    if not (named := re.search(r"(\d\d)(\d\d)_\d{4}$", video)):
        raise ValueError(f"expected a video named ..._0120_0130 (minutes, seconds), got {video}")
    begins = 60 * int(named[1]) + int(named[2])
    first = (_seconds(entry, "action_start") - begins) * FRAMES_PER_SECOND
    last = (_seconds(entry, "action_end") - begins) * FRAMES_PER_SECOND - 1
    number = str(int(objects[0]))
    return Ids((f"{video}/{number}@{first}..{last}",), (number,), type)


def _seconds(entry: dict[str, Any], key: str) -> int:
    """A time, `[hours:]minutes:seconds`. Raises ValueError."""
    text = entry.get(key)
    if not isinstance(text, str) or not re.fullmatch(r"(\d+:){0,2}\d+", text):
        raise ValueError(f'"{key}": expected a time such as 1:20, got {text!r}')
    hours, minutes, seconds = ([0, 0] + [int(part) for part in text.split(":")])[-3:]
    return 3600 * hours + 60 * minutes + seconds


def read_truth(split: Split) -> Truth:
    """The ground truth of a split. Raises InputError if it has none."""
    return ActionMasks(split, split.frames_at.partition("/")[0])


class ActionMasks(NumberedPictures):
    """The ground-truth tracks of a split: an object while an action lasts."""

    def folder(self, annotation_id: str) -> Path:
        return super().folder(annotation_id) / "masks"

    def file(self, annotation_id: str, frame: str) -> Path | None:
        """The picture of objects of one frame; None where there is none."""
        t = self.frames[annotation_id.rpartition("/")[0]].index(frame)
        masks = self.folder(annotation_id)
        paths = (masks / f"frame_{t:06d}.png", masks / f"{t:07d}.png")
        return next((path for path in paths if path.is_file()), None)

    def mask(self, annotation_id: str, frame_idx: int) -> Mask:
        """The object's mask in one frame; None where it does not show or outside of the action."""
        _, first, last = _action(annotation_id)
        return super().mask(annotation_id, frame_idx) if first <= frame_idx <= last else None

    def number(self, annotation_id: str) -> int:
        return _action(annotation_id)[0]


def _action(annotation_id: str) -> tuple[int, int, int]:
    """The object, and the first and last frame of its action."""
    named = ACTION.fullmatch(annotation_id.rpartition("/")[2])
    assert named, annotation_id
    return int(named[1]), int(named[2]), int(named[3])
