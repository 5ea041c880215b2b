"""Which dataset is read by what, and splits that are opened only when they are sound."""

import logging
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from rvos.data.check import find_problems, without
from rvos.data.split import NoTruth, Problem, Split, Truth
from rvos.errors import InputError, list_problems

# The module that reads a layout: `read_split(root, split, bad)` and `read_truth(split)`.
FORMATS = {
    "mevis": "rvos.data.mevis",
    "ref_youtube_vos": "rvos.data.ytvos",
    "ref_davis": "rvos.data.ytvos",
    "long_rvos": "rvos.data.long_rvos",
    "revos": "rvos.data.revos",
    "ref_sav": "rvos.data.ref_sav",
    "reason_vos": "rvos.data.reason_vos",
    "groundmore": "rvos.data.groundmore",
    "refcoco": "rvos.data.refcoco",
}

log = logging.getLogger(__name__)


def reader(format: str) -> Any:
    """The module that reads a layout: one of FORMATS, or the dotted name of another module.

    Raises InputError naming the key when there is no such module.
    """
    name = FORMATS.get(format, format)
    known = f"expected one of {', '.join(FORMATS)}, or the dotted name of a module that reads it"
    if not isinstance(name, str) or "." not in name:
        raise InputError(f"data.format: {known}; got {format!r}")
    try:
        module = import_module(name)
    except ImportError as error:
        raise InputError(f"data.format: {known}; got {format!r}: {error}") from None
    for function in ("read_split", "read_truth"):
        if not callable(getattr(module, function, None)):
            raise InputError(f"data.format: {name} has no function {function}")
    return module


def open_split(
    format: str,
    root: Path | str,
    split: str,
    bad: list[Problem] | None = None,
    meta: str | None = None,
) -> Split:
    """The split in `format`'s layout; see `mevis.read_split`."""
    read_split = reader(format).read_split
    if meta is None:  # a reader of one's own need not know it
        return read_split(root, split, bad)
    if "meta" not in signature(read_split).parameters:
        raise InputError(f"data.meta: expected null, {format} has one file only; got {meta!r}")
    return read_split(root, split, bad, meta=meta)


def is_there(format: str, root: Path | str, split: str, meta: str | None = None) -> bool:
    """Whether a dataset's folder has the split."""
    has_split = getattr(reader(format), "has_split", lambda root, split, _: (root / split).is_dir())
    return bool(has_split(Path(root), split, meta))


def open_truth(format: str, split: Split) -> Truth:
    """The ground truth of a split. Raises InputError if it has none."""
    return reader(format).read_truth(split)


def find_truth(format: str, split: Split) -> Truth | None:
    """The ground truth of a split, None if it has none."""
    try:
        return open_truth(format, split)
    except NoTruth:
        return None


def open_checked(
    format: str,
    root: Path | str,
    split: str,
    *,
    with_truth: bool,
    skip_bad: bool,
    meta: str | None = None,
) -> tuple[Split, Truth | None]:
    """A split whose frames and masks can all be used, and its ground truth if wanted.

    Raises InputError listing everything bad; with `skip_bad` that is left out and counted in a
    warning. What was found about frames is kept on disk, so that only the first time is slow.
    """
    bad: list[Problem] | None = [] if skip_bad else None
    opened = open_split(format, root, split, bad, meta)
    truth = open_truth(format, opened) if with_truth else None
    problems = (bad or []) + find_problems(opened, truth)
    if not problems:
        return opened, truth
    lines = [str(problem) for problem in problems]
    if not skip_bad:
        text = list_problems(f"{opened.folder}: bad data", lines, shown=len(lines))
        raise InputError(f"{text}\nMend them, or leave them out with data.skip_bad=true.")
    kept = without(opened, problems)
    if not any(video.expressions for video in kept.videos):
        raise InputError(list_problems(f"{opened.folder}: nothing is left without bad data", lines))
    names = {video.name for video in opened.videos} | {problem.video for problem in problems}
    remaining = {video.name for video in kept.videos}
    expressions = {(p.video, p.expression_id) for p in problems if p.video in remaining}
    log.warning(
        "%s: left out %d of %d videos and %d more expressions with bad data; "
        "`python -m rvos data verify` lists them",
        opened.folder,
        *(len(names - remaining), len(names), len(expressions)),
    )
    return kept, truth
