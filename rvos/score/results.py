"""Scores of a split: one file per video in the run folder, and what they come to together.

`videos/<video>.json.gz` is written when a video is scored, and beside it the stamp of what it was
made from. All tables and pages are made from these files, in the order of the split: who wrote them
and when does not matter. This module is their one writer and their one reader.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from math import isnan
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SkipValidation, TypeAdapter

from rvos.data.split import Video
from rvos.errors import InputError
from rvos.masks import read_json, write_bytes, write_json
from rvos.score.ablation import COARSE, REFINED, Fingerprint, Hashes, Scored
from rvos.score.jumps import Jumps
from rvos.score.measures import Summary
from rvos.score.protocols import Unit, mean_of
from rvos.stages.records import beside
from rvos.stages.run_folder import as_written, reading

FOLDER = "videos"  # of the files, in a run folder
LAYOUT = 3  # of the files; 1 had no facts of the expressions, 2 no trivial answers
T = TypeVar("T")


@dataclass(frozen=True)
class RuleScores:
    """One rule's scores of one expression: means over its frames, in 0..1."""

    J: float
    F: float
    frames_kept_coarse: int
    says_nothing: bool  # every frame is empty
    more: dict[str, float]  # what the protocol measures beside them

    @property
    def JF(self) -> float:
        return (self.J + self.F) / 2

    @classmethod
    def of(cls, scored: Scored, more: dict[str, float]) -> "RuleScores":
        refinement = scored.refinement
        means = float(np.mean(scored.J)), float(np.mean(scored.F))
        return cls(*means, refinement.frames_kept_coarse, not any(refinement.track), more)

    def as_dict(self) -> dict[str, float]:
        """J, F and what the protocol measures."""
        return {"J": self.J, "F": self.F, **self.more}

    def row(self) -> dict[str, float]:
        """All numbers by name, for a table; `of_row` reads it."""
        return {key: float(getattr(self, key)) for key in _OF_RULE} | self.more

    @classmethod
    def of_row(cls, row: dict[str, float]) -> "RuleScores":
        J, F, kept, nothing = (row.pop(key) for key in _OF_RULE)
        return cls(J, F, int(kept), bool(nothing), row)


_OF_RULE = ("J", "F", "frames_kept_coarse", "says_nothing")


@dataclass(frozen=True)
class ExpressionResult:
    """What every rule scored on one expression, by the rule's label."""

    video: str
    expression_id: str
    expression: str  # the sentence
    noun: str
    num_frames: int
    num_targets: int  # objects that it is about; 0: a no-target expression
    type: str  # the dataset's kind of expression; empty where it has none
    scores: SkipValidation[Mapping[str, RuleScores]]
    extra: dict[str, float]  # metrics of the run's own rule, by label
    jumps: dict[str, Jumps]  # of the coarse and the refined track, for one target alone
    # of the masks of every label; empty where no table names it
    fingerprint: Annotated[Fingerprint, Field(alias="masks")]

    @property
    def coarse(self) -> RuleScores:
        """The coarse masks' scores."""
        return self.scores[COARSE]

    @property
    def refined(self) -> RuleScores:
        """The scores of the run's own rule."""
        return self.scores[REFINED]


@dataclass(frozen=True)
class VideoResult:
    """What every rule scored on one video; nothing where there is no ground truth."""

    expressions: list[ExpressionResult]
    units: dict[str, list[Unit]]  # as `Expressions.units` of the protocol
    scored_as_empty: int = 0  # expression-frames without a usable coarse mask
    lacking: Mapping[str, str] = field(default_factory=dict)  # scores that are not there: why


@dataclass
class Results:
    """What every rule scored on a split."""

    expressions: list[ExpressionResult] = field(default_factory=list)
    units: dict[str, list[Unit]] = field(default_factory=dict)
    hashes: Hashes = field(default_factory=Hashes)
    scored_as_empty: int = 0
    lacking: dict[str, str] = field(default_factory=dict)

    def add(self, video: VideoResult) -> None:
        """Add a video's, as `read_results` gives it; videos come in the order of the split."""
        for result in video.expressions:
            self.hashes.update(result.fingerprint)
        bare = Fingerprint([], {})  # the masks of a split are too many
        self.expressions += [replace(result, fingerprint=bare) for result in video.expressions]
        for name, units in video.units.items():
            self.units.setdefault(name, []).extend(units)
        self.scored_as_empty += video.scored_as_empty
        self.lacking = {**video.lacking, **self.lacking}

    def jumps(self, label: str) -> Jumps:
        """How often the coarse or refined tracks jump, over all expressions about one object."""
        counts = (r.jumps[label] for r in self.expressions if label in r.jumps)
        return sum(counts, Jumps())

    @property
    def averages_expressions(self) -> bool:
        """Whether the protocol's mean is the plain one over all expressions."""
        units = [(unit.video, unit.name, unit.group) for unit in self.units[""]]
        return units == [(r.video, r.expression_id, "") for r in self.expressions]

    def unit_scores(self, label: str, score: str) -> NDArray[np.float64]:
        """J, F or J&F of what the protocol averages under one rule, (U,) in 0..1."""
        scores = [unit.scores[label] for unit in self.units[""]]
        return np.array([Summary(s["J"], s["F"]).as_dict()[score] for s in scores])

    def summary(self, label: str) -> Summary:
        """The score of one rule."""
        return mean_of(self.units[""], label)


# ---------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class VideoFiles:
    """The files of scores in a run folder."""

    run_folder: Path

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.run_folder / FOLDER

    def has(self, video: Video, stamp: str) -> bool:
        """Whether the video's file is there, and was made from inputs of this stamp."""
        try:
            made_from = self._stamp(video).read_text()
        except OSError:
            return False
        return made_from == f"{stamp} {LAYOUT}" and self._file(video.name).is_file()

    def write(self, video: Video, stamp: str, result: VideoResult) -> None:
        """Write the video's file, atomically, then the hidden one with the stamp."""
        content = {
            "layout": LAYOUT,
            "scored_as_empty": result.scored_as_empty,
            "lacking": dict(result.lacking),
            "expressions": {r.expression_id: _packed(r) for r in result.expressions},
            "units": {
                name: [[u.name, u.group, _table(u.scores)] for u in units]
                for name, units in result.units.items()
            },
        }
        write_json(self._file(video.name), content)
        write_bytes(self._stamp(video), f"{stamp} {LAYOUT}".encode())

    def read(self, name: str) -> VideoResult:
        """A video's scores. Raises InputError naming a file that is missing or malformed."""
        path = self._file(name)
        with reading(path):
            content = read_json(path)
            if content.get("layout") != LAYOUT:
                raise InputError(f"{path}: written by another release; start eval.py again")
            entries = content.pop("expressions")
            kept = as_written(_FILE, content)
            units = {
                mean: [
                    Unit(name, unit, group, ByLabel.of(table, dict)) for unit, group, table in rows
                ]
                for mean, rows in kept.units.items()
            }
            expressions = [
                _unpacked(entry, video=name, expression_id=key) for key, entry in entries.items()
            ]
            return VideoResult(expressions, units, kept.scored_as_empty, kept.lacking)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json.gz"

    def _stamp(self, video: Video) -> Path:
        return beside(self.folder, video.name, "stamp")


def read_results(run_folder: Path, videos: Iterable[str]) -> Results:
    """The results of the videos of these names, in their order. Raises InputError."""
    results, files = Results(), VideoFiles(run_folder)
    for name in videos:
        results.add(files.read(name))
    return results


@dataclass(frozen=True, slots=True, eq=False)
class ByLabel(Mapping[str, T]):
    """{label of a rule: its numbers}, as one array: an ablation has many of them."""

    labels: tuple[str, ...]
    measures: tuple[str, ...]
    numbers: NDArray[np.float64]  # (labels, measures)
    make: Callable[[dict[str, float]], T]  # what is given for a label, of {measure: number}

    @classmethod
    def of(cls, table: "_Table", make: Callable[[dict[str, float]], T]) -> "ByLabel[T]":
        """From what `_table` gave."""
        names = _shared(table.labels), _shared(table.measures)
        numbers = np.asarray(table.values, np.float64).reshape(*map(len, names))
        return cls(*names, numbers, make)

    def __getitem__(self, label: str) -> T:
        row = self.numbers[_positions(self.labels)[label]].tolist()
        known = zip(self.measures, row, strict=True)
        return self.make({key: value for key, value in known if not isnan(value)})

    def __iter__(self) -> Iterator[str]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)


@cache
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """The same tuple for all videos."""
    return names


@cache
def _positions(names: tuple[str, ...]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _table(scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Null where a label lacks a measure of another."""
    measures = list(dict.fromkeys(key for row in scores.values() for key in row))
    values = [
        [float(row[key]) if key in row else None for key in measures] for row in scores.values()
    ]
    return {"labels": list(scores), "measures": measures, "values": values}


@dataclass(frozen=True)
class _Table:
    """Scores in a file, as `_table` writes them."""

    labels: tuple[str, ...]
    measures: tuple[str, ...]
    values: list[list[float | None]]  # None: it has none


@dataclass(frozen=True)
class _File:
    """The content of a video's file, without its expressions."""

    scored_as_empty: int
    lacking: dict[str, str]
    units: dict[str, list[tuple[str, str, _Table]]]


_EXPRESSION, _TABLE, _FILE = (
    TypeAdapter(ExpressionResult),
    TypeAdapter(_Table),
    TypeAdapter(_File),
)


def _packed(result: ExpressionResult) -> dict[str, Any]:
    outside = {"video", "expression_id", "scores"}
    content = _EXPRESSION.dump_python(result, mode="json", by_alias=True, exclude=outside)
    rows = {label: scores.row() for label, scores in result.scores.items()}
    return {**content, "scores": _table(rows)}


def _unpacked(entry: Mapping[str, Any], **identity: str) -> ExpressionResult:
    scores = ByLabel.of(as_written(_TABLE, entry["scores"]), RuleScores.of_row)
    return replace(as_written(_EXPRESSION, {**entry, **identity, "scores": {}}), scores=scores)
