"""A dataset on disk -> counts against the published ones, and everything that is wrong with it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.console import Console
from rich.table import Table

from rvos.data.check import find_problems
from rvos.data.formats import find_truth, is_there, open_split, open_truth
from rvos.data.mevis import Annotations
from rvos.data.split import Problem, Split, Truth
from rvos.errors import InputError, SettingsError
from rvos.settings import Count, Flag, Text, checked

# What each release has per split. MeViS: as released. RefCOCO: the table in the description of
# TensorFlow Datasets (tensorflow/datasets, vision_language/refcoco/refcoco.py), whose "refs" are
# objects and "images" our videos.
COUNTS = {
    "v1": {
        "train": {"videos": 1662, "expressions": 23_051},
        "valid_u": {"videos": 50, "expressions": 793},
        "valid": {"videos": 140, "expressions": 2_236},
    },
    "v2": {
        "train": {"videos": 1662, "expressions": 27_502},
        "valid_u": {"videos": 50, "expressions": 907},
        "valid": {"videos": 140, "expressions": 2_523},
    },
    "refcoco_unc": {
        "train": {"videos": 16_994, "annotations": 42_404},
        "val": {"videos": 1500, "annotations": 3811},
        "testA": {"videos": 750, "annotations": 1975},
        "testB": {"videos": 750, "annotations": 1810},
    },
    "refcoco_google": {
        "train": {"videos": 19_213, "annotations": 40_000},
        "val": {"videos": 4559, "annotations": 5000},
        "test": {"videos": 4527, "annotations": 5000},
    },
    "refcoco+_unc": {
        "train": {"videos": 16_992, "annotations": 42_278},
        "val": {"videos": 1500, "annotations": 3805},
        "testA": {"videos": 750, "annotations": 1975},
        "testB": {"videos": 750, "annotations": 1798},
    },
    "refcocog_umd": {
        "train": {"videos": 21_899, "annotations": 42_226},
        "val": {"videos": 1300, "annotations": 2573},
        "test": {"videos": 2600, "annotations": 5023},
    },
    "refcocog_google": {
        "train": {"videos": 24_698, "annotations": 44_822},
        "val": {"videos": 4650, "annotations": 5000},
    },
}
RELEASES = ("any", *COUNTS)
Release = Annotated[  # the setting data.release
    Text,
    Field(pattern=f"^({'|'.join(map(re.escape, RELEASES))})$", description=" or ".join(RELEASES)),
]
MASK_DICT_SHA256 = {
    "v1": {
        "train": "f9d9b01a2a6d7a004e2e7a664ce2b9b1576218e975030f8e4df4f66111fb253f",
        "valid_u": "6e711a3f713cd95a825f536323e434b4d80f85a8e4e66d0cd662408e8779db50",
    }
}


COUNTED = ("videos", "expressions", "no target", "annotations", "frames")


@dataclass(frozen=True)
class Report:
    """What one split holds. `differences` are from the published numbers."""

    split: str
    counts: dict[str, int | None]  # by the names of COUNTED; None where it has no ground truth
    problems: tuple[str, ...]
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what is not wrong
    mask_dict_sha256: str | None = None


@checked
def verify(
    root: Path | str,
    *,
    format: str,
    release: str,
    splits: Annotated[Sequence[Text], Field(min_length=1)],
    decode: Flag,
    workers: Count,
    meta: str | None = None,
) -> list[Report]:
    """Reports of those of `splits` that exist. Raises InputError if none does.

    `decode`: look at every frame, not only at both ends of each file. `workers`: threads. Raises
    SettingsError listing every value that makes no sense.
    """
    if release not in RELEASES:
        expected = f"expected {' or '.join(RELEASES)}, got {release!r}"
        raise SettingsError([f"data.release: {expected}"])
    present = [split for split in splits if is_there(format, root, split, meta)]
    if not present:
        raise InputError(f"{root}: expected the splits {', '.join(splits)}, found none of them")
    return [
        _report(Path(root), split, format, release, meta, decode=decode, workers=workers)
        for split in present
    ]


def _report(
    root: Path,
    name: str,
    format: str,
    release: str,
    meta: str | None,
    *,
    decode: bool,
    workers: int,
) -> Report:
    malformed: list[Problem] = []
    try:
        split = open_split(format, root, name, malformed, meta)
        truth = _truth(format, split)
    except InputError as error:
        return Report(name, dict.fromkeys(COUNTED), (str(error),))
    problems = malformed + find_problems(split, truth, decode=decode, workers=workers)
    expressions = [e for video in split.videos for e in video.expressions]
    digest = truth.index.sha256 if isinstance(truth, Annotations) else None
    counts = {
        "videos": len(split.videos),
        "expressions": len(expressions),
        "no target": None if truth is None else sum(not e.annotation_ids for e in expressions),
        "annotations": None if truth is None else sum(1 for _ in truth),
        "frames": sum(len(video.frames) for video in split.videos),
    }
    return Report(
        split=name,
        counts=counts,
        problems=tuple(str(problem) for problem in problems),
        differences=tuple(_differences(release, name, counts, digest)),
        notes=(split.said_of_left_out,) if split.left_out else (),
        mask_dict_sha256=digest,
    )


def _truth(format: str, split: Split) -> Truth | None:
    """The ground truth, which a split whose expressions name no objects need not have."""
    named = any(e.annotation_ids for video in split.videos for e in video.expressions)
    return (open_truth if named else find_truth)(format, split)


def _differences(
    release: str, split: str, counts: Mapping[str, int | None], digest: str | None
) -> Iterator[str]:
    name = f"MeViS {release}" if release in ("v1", "v2") else release
    for what, number in COUNTS.get(release, {}).get(split, {}).items():
        if counts[what] != number:
            yield f"expected {number} {what} in {name}, found {counts[what]}"
    sha256 = MASK_DICT_SHA256.get(release, {}).get(split)
    if sha256 is not None and digest != sha256:
        yield f"mask_dict.json: expected SHA-256 {sha256} in {name}, found {digest}"


def show(reports: Sequence[Report], console: Console) -> bool:
    """Print a table, then everything that is wrong; False if anything is."""
    table = Table("split")
    for name in (*COUNTED, "problems"):
        table.add_column(name, justify="right", no_wrap=True)
    for report in reports:
        wrong = len(report.problems) + len(report.differences)
        numbers = [*report.counts.values(), wrong]
        shown = ["-" if number is None else f"{number:,}" for number in numbers]
        table.add_row(report.split, *shown)
    console.print(table)
    for report in reports:
        if report.mask_dict_sha256:
            console.print(
                f"{report.split}/mask_dict.json SHA-256 {report.mask_dict_sha256}", soft_wrap=True
            )
    for report in reports:
        for text in (*report.notes, *report.differences, *report.problems):
            console.print(f"{report.split}: {text}", markup=False, soft_wrap=True)
    return not any(report.problems or report.differences for report in reports)
