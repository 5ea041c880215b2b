"""ReasonVOS -> the types of `split`, in the layout of VideoLISA or in that of VideoSEG-O3.

`<root>/{meta_expressions.json, JPEGImages/<video>/, Annotations/<source>_<video>_<object>/}`: the
expressions of a video are a list of `{obj_id, exp_id, exp_text, is_sent}`, the masks one PNG per
frame (showlab/VideoLISA, evaluation/reason_vos). Or `<root>/{meta_expressions_format.json,
mask_dict.json, JPEGImages/<video>/}`, as MeViS, with one `anno_id` per expression
(Dmmm1997/VideoSEG-O3, tools/eval/eval_reasonvos.py). There is one split.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from rvos.data.meta import find_meta, is_name, mevis_ids, parse_meta
from rvos.data.mevis import Annotations
from rvos.data.png_truth import MaskFolders
from rvos.data.split import Problem, Split, Truth
from rvos.errors import InputError
from rvos.masks import find_json

SPLIT = "valid"
LIST, DICT = "meta_expressions.json", "meta_expressions_format.json"


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Split:
    """Read the split `valid`; of both layouts that of VideoLISA counts.

    Raises as `mevis.read_split`. Expression ids are the `exp_id` of the file. In a video that has
    an `exp_id` for several objects they are `<object>_<exp_id>`. Annotation ids of masks in PNG are
    `<video>/<name of the folder>`.
    """
    folder = Path(root)
    if split != SPLIT:
        raise InputError(f"data.split: ReasonVOS has the split {SPLIT} only; got {split!r}")
    path = find_meta(folder, _metas(folder)[:1] or (LIST, DICT), meta)
    return parse_meta(folder, path, split, "anno_id", mevis_ids, bad, entry_of=_as_dict)


def has_split(root: Path, split: str, meta: str | None) -> bool:
    """Whether the dataset has a split: there are no folders of them."""
    return split == SPLIT and bool(_metas(root))


def _metas(folder: Path) -> list[str]:
    return [name for name in (LIST, DICT) if find_json(folder / name)]


def _as_dict(video: str, entry: Any) -> Any:
    """A video's entry with the list of its expressions as a dict. Raises ValueError."""
    if not isinstance(entry, dict) or not isinstance(entry.get("expressions"), list):
        return entry
    expressions = entry["expressions"]
    if not all(isinstance(e, dict) and {"obj_id", "exp_id"} <= e.keys() for e in expressions):
        raise ValueError('"expressions": expected a list of {obj_id, exp_id, exp_text}')
    times = Counter(str(e["exp_id"]) for e in expressions)
    by_id = {}
    for e in expressions:
        folder = f"{entry.get('source')}_{video}_{e['obj_id']}"
        if not is_name(folder):
            raise ValueError(f'"obj_id": expected part of the name of a folder, got {folder!r}')
        key = str(e["exp_id"]) if max(times.values()) == 1 else f"{e['obj_id']}_{e['exp_id']}"
        if key in by_id:
            raise ValueError(f'"exp_id": twice for one object: {key}')
        by_id[key] = {"exp": e.get("exp_text"), "obj_id": e["obj_id"]}
        by_id[key]["anno_id"] = f"{video}/{folder}"
    return {**entry, "expressions": by_id}


def read_truth(split: Split) -> Truth:
    """The ground truth of the split. Raises InputError if it has none."""
    listed = {i for v in split.videos for e in v.expressions for i in e.annotation_ids}
    return ObjectFolders(split) if any("/" in i for i in listed) else Annotations(split)


class ObjectFolders(MaskFolders):
    """The ground-truth tracks, `Annotations/<source>_<video>_<object>/<frame>.png`."""

    def folder(self, annotation_id: str) -> Path:
        return self.path / annotation_id.rpartition("/")[2]
