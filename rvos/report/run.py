"""A run folder, read back: its scores, its settings, and each video's masks and decisions."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import NonNegativeInt, TypeAdapter

from rvos.data.archive import FilePath
from rvos.data.formats import open_split
from rvos.data.split import check_track
from rvos.errors import InputError, list_problems
from rvos.masks import FileError, Track, TrackFiles, read_json
from rvos.report.bootstrap import Bootstrap
from rvos.report.metrics import AGAIN, FILE, Metrics
from rvos.report.strips import FramePath
from rvos.score.ablation import COARSE, REFINED
from rvos.score.protocols import Unit
from rvos.score.results import ExpressionResult, Results, read_results
from rvos.stages.run_folder import (
    MASKLETS_FILE,
    MaskletsRecord,
    as_written,
    read_decisions,
    read_settings,
    reading,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoResults:
    """What a run left of one video; dicts are by expression_id."""

    name: str
    frames: tuple[str, ...]  # names
    tracks: dict[str, dict[str, Track]]  # coarse, refined, truth of each expression
    decisions: dict[str, dict[str, Any]]  # as in decisions/<video>.json
    scores: dict[str, dict[str, dict[str, list[float]]]]  # coarse, refined: J, F per frame, 0..1


@dataclass(frozen=True)
class Run:
    """What a finished run of eval.py left in its folder. Scores are in 0..1."""

    folder: Path
    metrics: Metrics
    results: Results
    settings: dict[str, Any]  # config.yaml; empty without

    def __repr__(self) -> str:
        coarse, refined = (100 * s.summary.JF for s in (self.metrics.coarse, self.metrics.refined))
        return (
            f"Run({str(self.folder)!r}: {self.metrics.split}, {len(self.videos)} videos, "
            f"{self.metrics.num_expressions} expressions, {self.metrics.refine['name']}, "
            f"J&F {coarse:.2f} -> {refined:.2f})"
        )

    @classmethod
    def read(cls, folder: Path | str) -> "Run":
        """Raises InputError naming what is missing or malformed."""
        folder = Path(folder)
        metrics = Metrics.read(folder)
        if not metrics.videos:
            raise InputError(f"{folder / FILE}: written by an older release; {AGAIN}")
        results = read_results(folder, metrics.videos)
        with reading(folder / FILE, AGAIN):
            for label, masks in ((COARSE, metrics.coarse), (REFINED, metrics.refined)):
                kept, found = masks.summary, results.summary(label)
                if not np.allclose((kept.J, kept.F), (found.J, found.F), rtol=0, atol=1e-9):
                    raise InputError(
                        f"{folder / FILE}: J&F of the {label} masks is {kept.JF} there, and "
                        f"{found.JF} in the files of the videos; {AGAIN}"
                    )
        return cls(folder, metrics, results, read_settings(folder))

    @property
    def config(self) -> dict[str, Any]:
        """The settings that the run was made with, resolved; empty where they are not recorded."""
        return self.settings.get("config") or {}

    @property
    def expressions(self) -> Sequence[ExpressionResult]:
        """What every expression scored, in the order of the split."""
        return self.results.expressions

    @cached_property
    def identities(self) -> list[tuple[str, str]]:
        """(video, expression_id) of each expression."""
        return [(result.video, result.expression_id) for result in self.expressions]

    def bootstrap(self, **settings: Any) -> Bootstrap:
        """Intervals for what `unit_scores` gives, of the settings of `Bootstrap`."""
        return Bootstrap.of_units(self.results.units[""], **settings)

    def unit_scores(self, label: str, score: str) -> NDArray[np.float64]:
        """J, F or J&F of what the protocol averages under one rule, (U,) in 0..1."""
        return self.results.unit_scores(label, score)

    @property
    def videos(self) -> Sequence[str]:
        """The videos' names, in the order of the split."""
        return self.metrics.videos

    def JF(self, label: str) -> NDArray[np.float64]:
        """J&F of every expression under one rule, (E,) in 0..1."""
        return np.array([result.scores[label].JF for result in self.expressions])

    def video(self, name: str) -> VideoResults:
        """One video's masks, decisions and scores. Raises InputError naming a missing file."""
        decisions = read_decisions(self.folder, name)
        refined, scores = self._of_video("refined", name), self._of_video("scores", name)
        with reading(self.folder / "inputs" / name):
            content = self._of_video("inputs", name)
            masks = content.pop("tracks")  # `check_track` looks at those that are used
            inputs = as_written(_INPUTS, content)
            problems: list[str] = []

            def checked(key: str, kind: str, track: Any) -> Track:
                where = f"video {name}, expression {key}, {kind}"
                return check_track(track, inputs.frames, None, where, problems)

            tracks = {
                key: {
                    "coarse": checked(key, "coarse", masks[coarse]),
                    "refined": checked(key, "refined", refined[key]),
                    "truth": checked(key, "truth", masks[inputs.truth[key]]),
                }
                for key, coarse in inputs.coarse.items()
            }
            if problems:
                raise InputError(list_problems(f"{self.folder}: malformed masks", problems))
            scores = as_written(_SCORES, scores)
            return VideoResults(name, inputs.frames, tracks, decisions, scores)

    def _of_video(self, folder: str, name: str) -> Any:
        path = self.folder / folder / f"{name}.json.gz"
        with reading(path):
            return read_json(path)

    def masklets(self, name: str) -> dict[str, list[Track]]:
        """The masklets that one video's expressions chose from, by expression_id.

        Nothing where they are not there any more: a run folder has their address only.
        """
        if not (self.folder / MASKLETS_FILE).is_file():
            return {}
        try:
            record, files = self._masklets
            tracks = files.read(name, self._of_video("inputs", name)["frames"])
        except FileError:
            return {}
        nouns = {key: d["noun"] for key, d in read_decisions(self.folder, name).items()}
        keys = {key: key if record.by_expression else noun for key, noun in nouns.items()}
        return {key: tracks[at] for key, at in keys.items() if at in tracks}

    @cached_property
    def _masklets(self) -> tuple[MaskletsRecord, TrackFiles]:
        record = MaskletsRecord.read(self.folder)
        return record, TrackFiles(self.folder / record.path, instances=True)

    def explorer(self, name: str) -> dict[str, Any] | None:
        """What the run kept of one video for the page's explorer, as docs/formats.md describes."""
        is_there = (self.folder / "explorer" / f"{name}.json.gz").is_file()
        return self._of_video("explorer", name) if is_there else None

    @cached_property
    def frame_path(self) -> FramePath | None:
        """(video, frame name) -> where the image of a frame may be.

        None where the run's settings name no split, or one that is not there.
        """
        data = self.config.get("data") or {}
        try:
            named = data["format"], data["root"], data["split"]
            return open_split(*named, meta=data.get("meta")).frame_path
        except KeyError:
            return None
        except (InputError, OSError) as error:
            log.warning("%s. There are no pictures of frames", error)
            return None

    def images(self, video: VideoResults) -> list[FilePath | None]:
        """Where the image of each frame may be."""
        path = self.frame_path
        return [path(video.name, frame) if path else None for frame in video.frames]

    def in_order_of(self, other: "Run") -> "Run":
        """The run with its expressions in the other's order.

        Raises InputError listing the expressions that only one of them scored.
        """
        mine, theirs = set(self.identities), set(other.identities)
        alone = [
            f"video {video}, expression {expression_id}: only in {run.folder}"
            for run, only in ((self, mine - theirs), (other, theirs - mine))
            for video, expression_id in sorted(only)
        ]
        if alone:
            raise InputError(list_problems("The runs scored different expressions", alone))
        ours, others = self.metrics.protocol, other.metrics.protocol
        if ours != others:
            raise InputError(
                f"{self.folder}: scored by the protocol {ours}, expected that of "
                f"{other.folder}, {others}"
            )
        expressions = dict(zip(self.identities, self.expressions, strict=True))
        units = {_unit(unit): unit for unit in self.results.units[""]}
        if units.keys() != {_unit(unit) for unit in other.results.units[""]}:
            raise InputError(f"{self.folder}: averages other units than {other.folder}")
        in_order = replace(
            self.results,
            expressions=[expressions[identity] for identity in other.identities],
            units={"": [units[_unit(unit)] for unit in other.results.units[""]]},
        )
        return replace(self, results=in_order)


@dataclass(frozen=True)
class _Inputs:
    """A file of inputs/: coarse and truth are positions in its tracks, by expression_id."""

    frames: tuple[str, ...]
    coarse: dict[str, NonNegativeInt]
    truth: dict[str, NonNegativeInt]


_INPUTS = TypeAdapter(_Inputs)
_SCORES = TypeAdapter(dict[str, dict[str, dict[str, list[float]]]])


def _unit(unit: Unit) -> tuple[str, str, str]:
    return unit.video, unit.group, unit.name


def changes(before: ArrayLike, after: ArrayLike) -> list[int]:
    """Positions in order of how much they changed: the largest absolute difference first."""
    difference = np.abs(np.asarray(after) - np.asarray(before))
    return np.argsort(-difference, kind="stable").tolist()
