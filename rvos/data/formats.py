"""Which dataset is read by what, and splits that are opened only when they are sound."""

import logging
from pathlib import Path
from typing import Literal, get_args

from rvos import InputError, list_problems
from rvos.data.check import find_problems, without
from rvos.data.mevis import Annotations, Problem, Split, read_split
from rvos.data.palette import PaletteAnnotations, read_palette_split

Format = Literal["mevis", "ref_youtube_vos", "ref_davis"]
Truth = Annotations | PaletteAnnotations

log = logging.getLogger(__name__)


def open_split(format: Format, root: Path | str, split: str, bad: list[Problem] | None = None):
    """The split in `format`'s layout; see `mevis.read_split`."""
    if format not in get_args(Format):
        raise InputError(f"data.format: expected one of {get_args(Format)}, got {format!r}")
    return (read_split if format == "mevis" else read_palette_split)(root, split, bad)


def open_truth(format: Format, split: Split) -> Truth:
    """The ground truth of a split. Raises InputError if it has none."""
    return Annotations(split) if format == "mevis" else PaletteAnnotations(split)


def open_checked(
    format: Format, root: Path | str, split: str, *, with_truth: bool, skip_bad: bool
) -> tuple[Split, Truth | None]:
    """A split whose frames and masks can all be used, and its ground truth if wanted.

    Raises InputError listing everything bad; with `skip_bad` that is left out and counted in a
    warning. What was found about frames is kept on disk, so that only the first time is slow.
    """
    bad: list[Problem] | None = [] if skip_bad else None
    opened = open_split(format, root, split, bad)
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
    log.warning(
        "%s: left out %d of %d videos and %d more expressions with bad data; "
        "`python -m rvos.data verify` lists them",
        opened.folder,
        *_left_out(opened, kept, bad or []),
    )
    return kept, truth


def _left_out(before: Split, after: Split, malformed: list[Problem]) -> tuple[int, int, int]:
    """Videos left out, videos there were, expressions left out of the videos that stayed."""
    videos = sum(problem.expression_id is None for problem in malformed)
    total = len(before.videos) + videos
    kept = {video.name: video for video in after.videos}
    expressions = sum(p.expression_id is not None and p.video in kept for p in malformed)
    for video in before.videos:
        if video.name in kept:
            expressions += len(video.expressions) - len(kept[video.name].expressions)
    return total - len(kept), total, expressions
