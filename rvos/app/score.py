"""`python -m rvos score`: J and F of masks that any program wrote, without settings.

python -m rvos score --truth TRUTH --masks MASKS --dataset davis17
"""

import argparse
import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from rvos.app.protocols import SCORES, Scored, compared, fitting, print_protocols
from rvos.errors import InputError, list_problems
from rvos.masks import read_text, split_lines, write_json
from rvos.report.bootstrap import Bootstrap, Interval
from rvos.report.csv_tables import Table as CsvTable
from rvos.report.csv_tables import write_csv
from rvos.score.of_video import Missing, Sets, score_video
from rvos.score.protocols import PROTOCOLS, Protocol, UnitScores, make_protocol, means_of
from rvos.score.sources import Source, TruthSource, open_masks, open_truth
from rvos.score.volume import LABEL, with_volume

log = logging.getLogger(__name__)
OF_UNIT = ("video", "name", "frames", "group")  # entries of a unit that are no scores


class Dataset(NamedTuple):
    """How papers score a dataset, and its layout: one of `data.format`; none where files tell."""

    protocol: str
    format: str = ""


DATASETS = {
    "mevis": Dataset("expressions"),
    "davis17": Dataset("semi-supervised"),
    "youtube-vos": Dataset("objects"),
    "mose": Dataset("objects"),
    "ref_youtube_vos": Dataset("expressions", "ref_youtube_vos"),
    "ref_davis": Dataset("davis17", "ref_davis"),
    "long_rvos": Dataset("long_rvos", "long_rvos"),
    "revos": Dataset("revos", "revos"),
    "ref_sav": Dataset("ref_sav", "ref_sav"),
    "reason_vos": Dataset("reason_vos", "reason_vos"),
    "groundmore": Dataset("groundmore", "groundmore"),
    "mosev2": Dataset("mosev2:strict"),
}


@dataclass(frozen=True)
class Choices:
    """What the command line says of how to score."""

    protocol: Protocol
    videos: Sequence[str] | None  # None: all of the truth
    missing: Missing
    ignore_extra: bool
    workers: int
    trivial: bool  # score the trivial answers too


def score(truth: TruthSource, masks: Source, choices: Choices) -> Sets:
    """The scores of all objects or expressions, in the truth's order.

    Raises InputError with everything that is missing, too much, or does not fit.
    """
    choices.protocol.check(truth.split, truth.kind)
    names = truth.videos() if choices.videos is None else list(choices.videos)
    known, given = set(truth.videos()), set(masks.videos())
    problems = [f"video {name}: not in the truth" for name in names if name not in known]
    if not choices.ignore_extra:
        problems += [f"video {n}: masks, but no truth" for n in sorted(given - set(names))]

    def of_video(name: str) -> tuple[Sets, list[str]]:
        if name not in known:
            return {}, []
        try:
            return _score_video(name, truth, masks if name in given else None, choices)
        except InputError as error:
            return {}, [f"video {name}: {error}"]

    with ThreadPoolExecutor(choices.workers) as threads:  # decoding and scoring release the GIL
        found = list(threads.map(of_video, names))
    problems += [problem for _, of_one in found for problem in of_one]
    if problems:
        title = f"{masks.path}: does not fit {truth.path}"
        raise InputError(list_problems(title, problems, shown=50))
    sets: Sets = defaultdict(list)
    for scores, _ in found:
        for answer, units in scores.items():
            sets[answer] += units
    if not sets[""]:
        raise InputError(
            f"{truth.path}: nothing to score: no expression, no object number (255 is void)"
        )
    return sets


def _score_video(
    name: str, truth: TruthSource, masks: Source | None, choices: Choices
) -> tuple[Sets, list[str]]:
    frames = truth.frames(name)
    problems = []
    if masks is not None and frames is not None and not choices.ignore_extra:
        more = sorted(set(masks.frames(name) or ()) - set(frames))
        if more:
            listed = ", ".join(more[:5]) + (", ..." if len(more) > 5 else "")
            problems.append(f"video {name}: {len(more)} frames without truth: {listed}")
    sets, others = score_video(
        name,
        truth,
        truth.read(name, frames),
        None if masks is None else masks.read(name, frames),
        choices.protocol,
        missing=choices.missing,
        ignore_extra=choices.ignore_extra,
        trivial=choices.trivial,
    )
    return sets, problems + others


# ------------------------------------------------------------------------------------- results


def _scores(unit: UnitScores) -> dict[str, float]:
    return {key: value for key, value in unit.as_dict().items() if key not in OF_UNIT}


def values_of(units: Sequence[UnitScores]) -> dict[str, list[float]]:
    """J, F, J&F of every object or expression."""
    rows = [unit.as_dict() for unit in units]
    return {name: [row[name] for row in rows] for name in SCORES}


def summary_of(units: Sequence[UnitScores], bootstrap: Bootstrap) -> dict[str, Any]:
    """Means in 0..1 as the protocol takes them, the intervals of three, and what is averaged."""
    means = means_of((unit.group, _scores(unit)) for unit in units)
    means["J&F"] = (means["J"] + means["F"]) / 2
    intervals = {name: bootstrap.interval(values) for name, values in values_of(units).items()}
    return {
        **means,
        "interval": {name: [x.low, x.high] for name, x in intervals.items()},
        "videos": bootstrap.num_videos,
        "names": len(units),
    }


def differences(
    units: Sequence[UnitScores], others: Sequence[UnitScores], bootstrap: Bootstrap
) -> dict[str, Interval]:
    """The second minus the first, paired, by score."""
    before, after = values_of(units), values_of(others)
    return {name: bootstrap.interval(np.subtract(after[name], before[name])) for name in SCORES}


def table_of(units: Sequence[UnitScores]) -> CsvTable:
    """One line per object or expression."""
    rows = [unit.as_dict() for unit in units]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return CsvTable(names, [[row.get(name, "") for name in names] for row in rows])


def print_summary(
    console: Console,
    title: str,
    summaries: Sequence[Mapping[str, Any]],
    changes: Mapping[str, Interval],
    confidence: float,
) -> None:
    """A line per score in percent: one or two sets of masks, and their difference."""
    console.print(title, highlight=False)
    table = Table()
    interval = f"{100 * confidence:g} % interval"
    sets = [["score", interval]] if len(summaries) == 1 else [["A", interval], ["B", interval]]
    for column in ("", *sum(sets, []), *(["B - A", interval] if changes else [])):
        table.add_column(column, justify="right" if column else "left")
    names = [name for name in summaries[0] if name not in ("interval", "videos", "names")]
    several = summaries[0]["videos"] > 1  # one video gives no interval
    for name in names:
        cells = []
        for summary in summaries:
            ends = summary["interval"].get(name) if several else None
            cells += [f"{100 * summary[name]:.2f}", _interval(ends, "")]
        if name in changes:
            change = changes[name]
            mark = " *" if several and change.excludes_zero else "  "
            ends = [change.low, change.high] if several else None
            cells += [f"{100 * change.mean:+.2f}", _interval(ends, "+") + mark]
        table.add_row(name, *cells)
    console.print(table)
    if changes:
        console.print("B - A is paired: both see the same resampled videos. * excludes 0.")


def _interval(ends: Sequence[float] | None, sign: str) -> str:
    return "" if ends is None else " .. ".join(f"{100 * end:{sign}.2f}" for end in ends)


def print_trivial(console: Console, summaries: Mapping[str, Mapping[str, Any]]) -> None:
    """The masks beside answers without a look at the video, in percent."""
    table = Table(title="Beside trivial answers", title_justify="left")
    columns = [*SCORES, *({LABEL} & summaries["masks"].keys())]
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left")
    for name, summary in summaries.items():
        table.add_row(name, *(f"{100 * summary[key]:.2f}" for key in columns))
    console.print(table)


def print_units(console: Console, units: Sequence[UnitScores], count: int) -> None:
    """The `count` lowest J&F, in the order of the truth, in percent."""
    rows = [unit.as_dict() for unit in units]
    lowest = np.argsort([row["J&F"] for row in rows], kind="stable")[:count]
    if not len(lowest):
        return
    title = "All" if len(lowest) == len(rows) else f"The {len(lowest)} lowest of {len(rows)}"
    table = Table(title=title, title_justify="left")
    for column in ("video", "name", "frames", *SCORES):
        table.add_column(column, justify="left" if column in ("video", "name") else "right")
    for i in sorted(lowest.tolist()):
        row = rows[i]
        scores = [f"{100 * row[key]:.2f}" for key in SCORES]
        table.add_row(row["video"], row["name"], str(row["frames"]), *scores)
    console.print(table)


# ------------------------------------------------------------------------------------ command


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    listed = "; ".join(f"{p.name}: {p.text}" for p in PROTOCOLS.values() if not p.quirk)
    result = argparse.ArgumentParser(
        prog="python -m rvos score",
        description="J and F of masks that any program wrote: PNG trees or JSON (docs/scorer.md).",
    )
    add = result.add_argument
    add("--truth", type=Path, required=True, help="folder or file of the ground truth")
    add("--masks", type=Path, required=True, help="folder or file of the masks to score")
    add("--compare", type=Path, metavar="OTHER", help="other masks; the difference is paired")
    add("--dataset", choices=sorted(DATASETS), default="mevis", help="says protocol and layout")
    add("--protocol", help=f"instead of the dataset's (docs/protocols.md); {listed}")
    add("--all-protocols", action="store_true", help="show all that fit the truth, and scripts'")
    switch = argparse.BooleanOptionalAction
    add("--trivial", action=switch, default=True, help="show what trivial answers would score")
    add("--volumetric", action="store_true", help="J&F of masks as one volume, by our formula")
    add("--videos", type=Path, metavar="FILE", help="score these alone: one name per line")
    choices = get_args(Missing)
    add("--missing", choices=choices, default="error", help="what to do where masks are missing")
    add("--extra", choices=["error", "ignore"], default="error", help="masks without truth")
    add("--json", type=Path, metavar="FILE", help="write all numbers, in 0..1")
    add("--csv", type=Path, metavar="FILE", help="write a line per object or expression")
    add("--rows", type=int, default=20, help="of the lowest J&F to print (default 20)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="threads; all cores by default")
    add("--resamples", type=int, default=10000, help="of the bootstrap (default 10000)")
    add("--confidence", type=float, default=0.95, help="of the intervals (default 0.95)")
    add("--seed", type=int, default=0, help="of the resampling (default 0)")
    return result


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos score`: score one or two sets of masks."""
    given = parser().parse_args(arguments)
    for name, lowest in (("workers", 1), ("rows", 0)):
        if (number := getattr(given, name)) < lowest:
            raise InputError(f"--{name}: expected {lowest} or more, got {number}")
    settings = {key: getattr(given, key) for key in ("resamples", "confidence", "seed")}
    Bootstrap([""], **settings)  # wrong settings are said before the work
    dataset = DATASETS[given.dataset]
    protocol = make_protocol(given.protocol or dataset.protocol)
    choices = Choices(
        with_volume(protocol) if given.volumetric else protocol,
        None if given.videos is None else _names_in(given.videos),
        given.missing,
        given.extra == "ignore",
        given.workers,
        given.trivial,
    )
    truth = open_truth(given.truth, dataset.format)
    paths = [path for path in (given.masks, given.compare) if path is not None]
    sources = [open_masks(path) for path in paths]
    found = score(truth, sources[0], choices)
    sets = [found.pop("")]
    sets += [score(truth, s, replace(choices, trivial=False))[""] for s in sources[1:]]
    _check_paired(paths, sets)
    units = sets[0]
    bootstrap = Bootstrap([u.video for u in units], [u.group for u in units], **settings)
    summaries = [summary_of(units, bootstrap) for units in sets]
    changes = differences(sets[0], sets[1], bootstrap) if len(sets) == 2 else {}
    trivial = {answer: summary_of(units, bootstrap) for answer, units in found.items()}
    beside: list[Scored] = []
    if given.all_protocols:
        alone = replace(choices, trivial=False)
        others = fitting(truth, protocol, dataset.protocol)
        beside = compared([(protocol, units), *_of_others(truth, sources[0], alone, others)])

    console = Console(markup=False)  # names are shown as they are
    for i, path in enumerate(paths if changes else []):
        console.print(f"{'AB'[i]}: {path}", soft_wrap=True, highlight=False)
    counts = f"{len(sets[0])} names in {bootstrap.num_videos} videos"
    title = f"{counts}, protocol {choices.protocol.name} (percent)"
    print_summary(console, title, summaries, changes, given.confidence)
    if trivial:
        print_trivial(console, {"masks": summaries[0], **trivial})
    if given.volumetric:
        console.print(f"{LABEL}: our formula; that of arXiv 2610.02946 could not be read.")
    if beside:
        print_protocols(console, beside, given.rows)
    else:
        print_units(console, sets[0], given.rows)
    if given.csv is not None:
        write_csv(given.csv, table_of(sets[0]))
    if given.json is not None:
        of_run: dict[str, Any] = {"truth": str(given.truth), "protocol": choices.protocol.name}
        of_run |= {"bootstrap": settings} | ({"trivial": trivial} if trivial else {})
        of_run |= {"protocols": {s.protocol.name: s.as_dict() for s in beside}} if beside else {}
        both = [_numbers(*x) for x in zip(paths, summaries, sets, strict=True)]
        if changes:
            both[0]["compare"] = both[1] | {"difference": _as_dict(changes)}
        write_json(given.json, of_run | both[0])
    return 0


def _check_paired(paths: Sequence[Path], sets: Sequence[Sequence[UnitScores]]) -> None:
    """Raises InputError where what is missing in one of the sets is left out of its mean."""
    names = [{(unit.video, unit.name): None for unit in units} for units in sets]
    alone = [
        f"video {video}: {name}: only in {path}"
        for path, own, others in zip(paths, names, reversed(names), strict=True)
        for video, name in own
        if (video, name) not in others
    ]
    if alone:
        title = "--compare: the means go over other names; --missing empty counts all of them"
        raise InputError(list_problems(title, alone))


def _names_in(path: Path) -> list[str]:
    lines = (line.strip() for line in split_lines(read_text(path)))
    names = list(dict.fromkeys(filter(None, lines)))
    if not names:
        raise InputError(f"--videos {path}: expected a name of a video per line, found none")
    return names


def _of_others(
    truth: TruthSource, masks: Source, choices: Choices, protocols: Sequence[Protocol]
) -> Iterator[tuple[Protocol, list[UnitScores]]]:
    """The units of each protocol; a message for one that cannot score the masks."""
    for protocol in protocols:
        try:
            yield protocol, score(truth, masks, replace(choices, protocol=protocol))[""]
        except InputError as error:
            log.warning("protocol %s: %s", protocol.name, error)


def _numbers(path: Path, summary: Mapping[str, Any], units: Sequence[UnitScores]) -> dict[str, Any]:
    return {"masks": str(path), **summary, "per_name": [unit.as_dict() for unit in units]}


def _as_dict(changes: Mapping[str, Interval]) -> dict[str, Any]:
    return {n: {"mean": c.mean, "interval": [c.low, c.high]} for n, c in changes.items()}
