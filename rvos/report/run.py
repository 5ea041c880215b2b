"""The tables of a run folder, read back: metrics.json, per_expression.csv, ablation.csv."""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from rvos import InputError, list_problems
from rvos.app.entry import SETTINGS_FILE
from rvos.masks import FileError, read_json

SCORES = ("J", "F", "J&F")


@dataclass(frozen=True)
class Run:
    """What a finished run of eval.py left in its folder. Scores are in 0..1."""

    folder: Path
    metrics: dict[str, Any]
    expressions: tuple[dict[str, Any], ...]  # rows of per_expression.csv
    ablation: tuple[dict[str, Any], ...]  # rows of ablation.csv; empty without
    rules: tuple[dict[str, Any], ...]  # rows of rules.csv; empty without
    settings: dict[str, Any]  # config.yaml; empty without

    @classmethod
    def read(cls, folder: Path | str) -> "Run":
        """Raises InputError naming what is missing or malformed."""
        folder = Path(folder)
        metrics_file = folder / "metrics.json"
        if not metrics_file.is_file():
            raise InputError(
                f"{folder}: expected the folder of a finished run of eval.py, found no metrics.json"
            )
        try:
            metrics = read_json(metrics_file)
        except FileError as error:
            raise InputError(str(error)) from None
        expressions = read_csv(folder / "per_expression.csv")
        if not expressions:
            raise InputError(f"{folder / 'per_expression.csv'}: expected one row per expression")
        config = folder / SETTINGS_FILE
        settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
        return cls(
            folder,
            metrics,
            tuple(expressions),
            tuple(read_csv(folder / "ablation.csv", optional=True)),
            tuple(read_csv(folder / "rules.csv", optional=True)),
            {str(key): value for key, value in settings.items()},
        )

    @cached_property
    def identities(self) -> list[tuple[str, str]]:
        """(video, expression_id) of each row."""
        return [(row["video"], row["expression_id"]) for row in self.expressions]

    def scores(self, column: str) -> NDArray[np.float64]:
        """One column of per_expression.csv, (E,) in 0..1."""
        return np.array([row[column] for row in self.expressions])

    def in_order_of(self, other: "Run") -> "Run":
        """This run with its rows in the other's order.

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
        rows = dict(zip(self.identities, self.expressions, strict=True))
        ordered = tuple(rows[identity] for identity in other.identities)
        return Run(self.folder, self.metrics, ordered, self.ablation, self.rules, self.settings)


_TEXT = {"video", "expression_id", "expression", "noun", "sha256", "rule"}


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
    return int(text) if text.lstrip("-").isdigit() else float(text)


def changes(before: ArrayLike, after: ArrayLike) -> list[int]:
    """Positions in order of how much they changed: the largest absolute difference first."""
    difference = np.abs(np.asarray(after) - np.asarray(before))
    return np.argsort(-difference, kind="stable").tolist()
