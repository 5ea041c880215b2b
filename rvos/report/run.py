"""A run folder, read back: its tables, its settings, and each video's masks, decisions, scores."""

import csv
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rvos.data.archive import FilePath
from rvos.data.formats import open_split
from rvos.errors import InputError, list_problems
from rvos.masks import FileError, Track, TrackFiles, read_json
from rvos.report.bootstrap import Bootstrap
from rvos.report.strips import FramePath
from rvos.stages.run_folder import MASKLETS_FILE, read_settings

SCORES = ("J", "F", "J&F")


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
    metrics: dict[str, Any]
    expressions: tuple[dict[str, Any], ...]  # rows of per_expression.csv
    ablation: tuple[dict[str, Any], ...]  # rows of ablation.csv; empty without
    rules: tuple[dict[str, Any], ...]  # rows of rules.csv; empty without
    settings: dict[str, Any]  # config.yaml; empty without
    units: tuple[dict[str, Any], ...] = ()  # rows of units.csv; empty without
    presence: tuple[dict[str, Any], ...] = ()  # rows of presence.csv; empty without
    windows: tuple[dict[str, Any], ...] = ()  # rows of windows.csv; empty without

    @classmethod
    def read(cls, folder: Path | str) -> "Run":
        """Raises InputError naming what is missing or malformed."""
        folder = Path(folder)
        if not (folder / "metrics.json").is_file():
            raise InputError(
                f"{folder}: expected the folder of a finished run of eval.py, found no metrics.json"
            )
        metrics = _read(folder / "metrics.json")
        expressions = read_csv(folder / "per_expression.csv")
        if not expressions:
            raise InputError(f"{folder / 'per_expression.csv'}: expected one row per expression")
        return cls(
            folder,
            metrics,
            tuple(expressions),
            tuple(read_csv(folder / "ablation.csv", optional=True)),
            tuple(read_csv(folder / "rules.csv", optional=True)),
            read_settings(folder),
            tuple(read_csv(folder / "units.csv", optional=True)),
            tuple(read_csv(folder / "presence.csv", optional=True)),
            tuple(read_csv(folder / "windows.csv", optional=True)),
        )

    @property
    def config(self) -> dict[str, Any]:
        """The settings that the run was made with, resolved; empty where they are not recorded."""
        return self.settings.get("config") or {}

    @cached_property
    def identities(self) -> list[tuple[str, str]]:
        """(video, expression_id) of each row."""
        return [(row["video"], row["expression_id"]) for row in self.expressions]

    @property
    def protocol(self) -> str:
        """How the scores are averaged; older runs knew one way."""
        return self.metrics.get("protocol", "expressions")

    def bootstrap(self, **settings: Any) -> Bootstrap:
        """Intervals for what `unit_scores` gives, of the settings of `Bootstrap`."""
        rows = self.units or self.expressions
        groups = [row.get("group", "") for row in rows]
        return Bootstrap([row["video"] for row in rows], groups, **settings)

    def unit_scores(self, column: str) -> NDArray[np.float64]:
        """One score of what the protocol averages, (U,) in 0..1: expressions, or units.csv."""
        return np.array([row[column] for row in self.units or self.expressions])

    @cached_property
    def videos(self) -> list[str]:
        """The videos' names, in the order of the rows."""
        return list(dict.fromkeys(row["video"] for row in self.expressions))

    def scores(self, column: str) -> NDArray[np.float64]:
        """One column of per_expression.csv, (E,) in 0..1."""
        return np.array([row[column] for row in self.expressions])

    def video(self, name: str) -> VideoResults:
        """One video's masks, decisions and scores. Raises InputError naming a missing file."""
        inputs = self._of_video("inputs", name)
        refined = self._of_video("refined", name)
        decisions = self._of_video("decisions", name, "json")
        scores = self._of_video("scores", name)
        try:
            tracks = {
                key: {
                    "coarse": inputs["tracks"][inputs["coarse"][key]],
                    "refined": refined[key],
                    "truth": inputs["tracks"][inputs["truth"][key]],
                }
                for key in inputs["coarse"]
            }
            return VideoResults(name, tuple(inputs["frames"]), tracks, decisions, scores)
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(f"{self.folder}: malformed files of video {name}: {error}") from None

    def _of_video(self, folder: str, name: str, kind: str = "json.gz") -> Any:
        return _read(self.folder / folder / f"{name}.{kind}")

    def masklets(self, name: str) -> dict[str, list[Track]]:
        """The masklets that one video's expressions chose from, by expression_id.

        Nothing where they are not there any more: a run folder has their address only.
        """
        try:
            record, files = self._masklets
            found = files.read(name)
        except FileError:
            return {}
        nouns = {key: d["noun"] for key, d in self._of_video("decisions", name, "json").items()}
        keys = {key: key if record["by_expression"] else noun for key, noun in nouns.items()}
        return {key: found[at] for key, at in keys.items() if at in found}

    @cached_property
    def _masklets(self) -> tuple[dict[str, Any], TrackFiles]:
        record = read_json(self.folder / MASKLETS_FILE)
        return record, TrackFiles(self.folder / record["path"])

    def explorer(self, name: str) -> dict[str, Any] | None:
        """What the run kept of one video for the page's explorer, as docs/formats.md describes."""
        path = self.folder / "explorer" / f"{name}.json.gz"
        return _read(path) if path.is_file() else None

    @cached_property
    def frame_path(self) -> FramePath | None:
        """(video, frame name) -> where the image of a frame may be.

        None where the run's settings name no split, or one that is not there.
        """
        data = self.config.get("data") or {}
        try:
            named = data["format"], data["root"], data["split"]
            return open_split(*named, meta=data.get("meta")).frame_path
        except (KeyError, InputError, OSError):
            return None

    def images(self, video: VideoResults) -> list[FilePath | None]:
        """Where the image of each frame may be."""
        path = self.frame_path
        return [path(video.name, frame) if path else None for frame in video.frames]

    def in_order_of(self, other: "Run") -> "Run":
        """The run with its rows in the other's order.

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
        if self.protocol != other.protocol:
            raise InputError(
                f"{self.folder}: scored by the protocol {self.protocol}, expected that of "
                f"{other.folder}, {other.protocol}"
            )
        rows = dict(zip(self.identities, self.expressions, strict=True))
        units = {_unit(row): row for row in self.units}
        if units.keys() != {_unit(row) for row in other.units}:
            raise InputError(f"{self.folder}: units.csv has other rows than that of {other.folder}")
        return replace(
            self,
            expressions=tuple(rows[identity] for identity in other.identities),
            units=tuple(units[_unit(row)] for row in other.units),
        )


def _unit(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["video"], row["group"], row["unit"]


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except FileError as error:
        raise InputError(f"{error}; eval.py writes it: run it again") from None


_TEXT = {"group", "type", "unit", "video", "expression_id", "expression", "noun", "sha256", "rule"}
_NUMBERS = {"num_frames", "window", "tau", "box_ratio", "threshold", "frames_kept_coarse"}
_NUMBERS |= {f"{kind}{score}" for kind in ("", "coarse_") for score in SCORES}


def read_csv(path: Path, *, optional: bool = False) -> list[dict[str, Any]]:
    """Rows of a table that `tables` wrote; empty cells are None, all but texts are numbers."""
    if not path.is_file():
        if optional:
            return []
        raise InputError(f"{path}: no such file")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return [{key: _value(key, text) for key, text in row.items()} for row in rows]
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: malformed table: {error}") from None


def _value(column: str, text: str) -> Any:
    if column in _TEXT:
        return text
    if text == "":
        return None
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        return float(text)
    except ValueError:
        if column in _NUMBERS:
            raise
        return text  # a setting of somebody's own rule


def changes(before: ArrayLike, after: ArrayLike) -> list[int]:
    """Positions in order of how much they changed: the largest absolute difference first."""
    difference = np.abs(np.asarray(after) - np.asarray(before))
    return np.argsort(-difference, kind="stable").tolist()
