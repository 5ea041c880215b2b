"""Long-RVOS -> the types of `split`.

`<root>/<split>/{meta_expressions.json, JPEGImages/<video>/}` and one mask per file,
`Annotations/<video>/<object>/<frame>.png`, without a file where the object is not to be seen. An
expression is about one object; its `type` is static, dynamic or both (hybrid). Layout:
iSEE-Laboratory/Long_RVOS, README and eval/eval_long_rvos.
"""

from pathlib import Path
from typing import Any

from rvos.data.meta import Ids, as_ids, find_meta, is_name, parse_meta, split_folder
from rvos.data.png_truth import MaskFolders
from rvos.data.split import Problem, Split

# As the file has them -> as papers call them (eval_hybrid.py takes "static+dynamic").
TYPES = {name: name for name in ("static", "dynamic", "hybrid")} | {"static+dynamic": "hybrid"}


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Split:
    """Read a split; annotation ids are `<video>/<object>`. Raises as `mevis.read_split`."""
    folder = split_folder(root, split)
    path = find_meta(folder, ("meta_expressions.json",), meta)
    return parse_meta(folder, path, split, "obj_id", _ids, bad)


def _ids(video: str, entry: dict[str, Any]) -> Ids:
    objects = as_ids(entry, "obj_id")
    if wrong := [name for name in objects if not is_name(name)]:
        raise ValueError(f'"obj_id": expected the name of a folder, got {wrong[0]!r}')
    type = entry.get("type", "")
    if not isinstance(type, str) or type not in ("", *TYPES):
        raise ValueError(f'"type": expected {", ".join(TYPES)}, got {type!r}')
    return Ids(tuple(f"{video}/{name}" for name in objects), objects, TYPES.get(type, ""))


def read_truth(split: Split) -> MaskFolders:
    """The ground truth of a split. Raises InputError if it has none."""
    return MaskFolders(split)
