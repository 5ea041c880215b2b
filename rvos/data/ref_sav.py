"""Ref-SAV -> the types of `split`.

`<root>/{meta_expressions_<split>.json, mask_dict.json, videos/<video>/<frame>.jpg}`. `type_id` says
whether an expression is long or short. Layout: bytedance/Sa2VA, tools/eval/eval_ref_sav.py and
projects/sa2va/evaluation/sa2va_eval_ref_vos.py.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from rvos.data.meta import find_meta, ids_with_type, parse_meta
from rvos.data.mevis import read_truth as read_truth
from rvos.data.split import Problem, Split
from rvos.masks import find_json

TYPES = ("long", "short")  # by type_id


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Split:
    """Read a split (valid). Raises as `mevis.read_split`."""
    folder = Path(root)
    path = find_meta(folder, (f"meta_expressions_{split}.json",), meta)
    opened = parse_meta(folder, path, split, "anno_id", partial(ids_with_type, TYPES), bad)
    return replace(opened, frames_at="videos/{video}")


def has_split(root: Path, split: str, meta: str | None) -> bool:
    """Whether the dataset has a split: there are no folders of them."""
    return find_json(root / f"meta_expressions_{split}.json") is not None
