"""Ref-SAV -> the types of `split`.

`<root>/{meta_expressions_<split>.json, mask_dict.json, videos/<video>/<frame>.jpg}`. `type_id` says
whether an expression is long or short. Layout: bytedance/Sa2VA, tools/eval/eval_ref_sav.py and
projects/sa2va/evaluation/sa2va_eval_ref_vos.py.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rvos.data.meta import Ids, as_ids, find_meta, parse_meta
from rvos.data.mevis import read_truth as read_truth
from rvos.data.split import Problem, Split
from rvos.errors import InputError
from rvos.masks import find_json

TYPES = ("long", "short")  # by type_id


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Split:
    """Read a split (valid). Raises as `mevis.read_split`."""
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected data.root with videos/")
    path = find_meta(folder, (f"meta_expressions_{split}.json",), meta)
    opened = parse_meta(folder, path, split, "anno_id", _ids, bad)
    return replace(opened, frames_at="videos/{video}")


def has_split(root: Path, split: str, meta: str | None) -> bool:
    """Whether the dataset has a split: there are no folders of them."""
    return find_json(root / f"meta_expressions_{split}.json") is not None


def _ids(video: str, entry: dict[str, Any]) -> Ids:
    type_id = entry.get("type_id")
    if isinstance(type_id, bool) or type_id not in (0, 1):
        raise ValueError(f'"type_id": expected 0 or 1, got {type_id!r}')
    return Ids(as_ids(entry, "anno_id"), as_ids(entry, "obj_id"), TYPES[int(type_id)])
