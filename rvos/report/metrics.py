"""metrics.json: what a run comes to. This module is its one writer and its one reader."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter

from rvos.errors import InputError
from rvos.masks import read_json, write_json
from rvos.report.rows import Row
from rvos.report.windows import WindowRow
from rvos.score.ablation import COARSE, REFINED
from rvos.score.jumps import Jumps
from rvos.score.measures import Summary
from rvos.score.protocols import Expressions, Protocol, mean_of
from rvos.score.results import ExpressionResult, Results
from rvos.score.slices import answers
from rvos.score.trivial import TRIVIAL
from rvos.stages.run_folder import as_written, reading

log = logging.getLogger(__name__)
FILE = "metrics.json"  # in a run folder
AGAIN = "eval.py with the settings of the run writes it again, and runs no network"
Means = Mapping[str, Any]  # J, F, J&F and what the protocol measures; num_expressions of slices


@dataclass(frozen=True)
class MaskScores:
    """All scores of the coarse or of the refined masks, in 0..1."""

    summary: Summary
    jumps: Jumps
    slices: Mapping[str, Means] = field(default_factory=dict)  # by name, as `score.slices`
    n_acc: Annotated[float | None, Field(alias="N-acc")] = None
    t_acc: Annotated[float | None, Field(alias="T-acc")] = None
    # over `all` and over `target`
    final: Annotated[Mapping[str, float | None], Field(alias="Final")] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Means]] = field(default_factory=dict)  # {"annotators": ...}
    further: Mapping[str, Means] = field(default_factory=dict)  # other means of the protocol

    @classmethod
    def of_results(cls, results: Results, label: str, protocol: Protocol) -> "MaskScores":
        """Those of one rule."""
        units = results.units[""]
        members = {
            group: mean_of([unit for unit in units if unit.group == group], label).as_dict()
            for group in dict.fromkeys(unit.group for unit in units)
        }
        further = {
            name: mean_of(of_name, label).as_dict()
            for name, of_name in results.units.items()
            if name
        }
        answered = answers(results.expressions, label)
        return cls(
            results.summary(label),
            results.jumps(label),
            answered["slices"],
            answered["N-acc"],
            answered["T-acc"],
            answered["Final"],
            {protocol.groups: members} if protocol.groups else {},
            further,
        )

    def as_dict(self) -> dict[str, Any]:
        """As metrics.json has them: summary, groups and further means side by side."""
        return {
            **self.summary.as_dict(),
            **{kind: list(members.values()) for kind, members in self.groups.items()},
            **self.further,
            **_MASK_SCORES.dump_python(self, by_alias=True, exclude={"summary", "jumps"}),
            "identity": self.jumps.as_dict(),
            "measures": list(self.summary.more),
        }

    def answered(self) -> dict[str, float]:
        """N-acc, T-acc and Final by name, where there are expressions without target."""
        if self.n_acc is None:
            return {}
        values = {"N-acc": self.n_acc, "T-acc": self.t_acc}
        values |= {f"Final ({name})": value for name, value in self.final.items()}
        return {name: value for name, value in values.items() if value is not None}

    def kinds(self) -> dict[str, Means]:
        """By name: slices that differ from all expressions, and the protocol's other means."""
        total = self.slices["all"]["num_expressions"] if self.slices else 0
        rows = {
            name: means
            for name, means in self.slices.items()
            if name != "all" and 0 < means["num_expressions"] < total
        }
        rows = ({"all": self.slices["all"]} if rows else {}) | rows | dict(self.further)
        for kind, members in self.groups.items():
            rows |= {f"{kind.rstrip('s')} {name}": means for name, means in members.items()}
        return rows


@dataclass(frozen=True)
class Metrics:
    """The content of metrics.json."""

    refined: MaskScores
    coarse: MaskScores
    num_expressions: int
    num_frames: int  # of all expressions together
    split: str
    refine: Mapping[str, Any]  # `name` and settings of the run's rule
    extra: Mapping[str, Any]  # means of `score.extra`, and counts
    protocol: str = Expressions.name
    presence: Mapping[str, Any] | None = None  # as `refine`, of the rule on top of it
    trivial: Mapping[str, Means] = field(default_factory=dict)  # by name
    videos: Sequence[str] = ()  # in the order of the split; none in files of older releases
    ablation: Sequence[Row] = ()  # the coarse masks, and the cells of the grid
    rules: Sequence[Row] = ()
    thresholds: Sequence[Row] = ()
    agrees: Sequence[Row] = ()  # one per value of the guard
    windows: Sequence[WindowRow] = ()

    @classmethod
    def of_results(
        cls,
        results: Results,
        *,
        refine: Mapping[str, Any],
        protocol: Protocol | None = None,
        **others: Any,
    ) -> "Metrics":
        """`refine`: the rule's settings; `protocol` None is the plain mean; `others`: fields."""
        protocol, expressions = protocol or Expressions(), results.expressions
        extra: dict[str, Any] = {name: _mean(name, expressions) for name in expressions[0].extra}
        extra["frames_kept_coarse"] = sum(r.refined.frames_kept_coarse for r in expressions)
        extra["frames_scored_as_empty"] = results.scored_as_empty
        return cls(
            MaskScores.of_results(results, REFINED, protocol),
            MaskScores.of_results(results, COARSE, protocol),
            num_expressions=len(expressions),
            num_frames=sum(r.num_frames for r in expressions),
            protocol=protocol.name,
            refine={key: value for key, value in refine.items() if key != "_target_"},
            extra=extra,
            trivial={
                name: results.summary(name).as_dict()
                for name in TRIVIAL
                if name in results.units[""][0].scores
            },
            videos=list(dict.fromkeys(r.video for r in expressions)),
            **others,
        )

    @property
    def cells(self) -> Sequence[Row]:
        """The rows of `ablation` but the coarse masks'."""
        return [row for row in self.ablation if row.label != COARSE]

    def as_dict(self) -> dict[str, Any]:
        """The content of the file."""
        content = _METRICS.dump_python(self, exclude={"refined"})
        if not self.presence:
            del content["presence"]
        tables = {name: content.pop(name) for name in _TABLES}
        return {
            **self.refined.as_dict(),
            **content,
            "coarse": self.coarse.as_dict(),
            "tables": tables,
        }

    def write(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        write_json(folder / FILE, self.as_dict())

    @classmethod
    def read(cls, folder: Path) -> "Metrics":
        """Raises InputError where the file is missing or not that of a run."""
        path = folder / FILE
        if not path.is_file():
            raise InputError(
                f"{folder}: expected the folder of a finished run of eval.py, found no {FILE}"
            )
        with reading(path, AGAIN):
            return cls.of(read_json(path))

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Metrics":
        """From what `as_dict` gave, or an older release."""
        masks = {"refined": _nested(content), "coarse": _nested(content["coarse"])}
        return as_written(_METRICS, {**content, **content.get("tables", {}), **masks})


_TABLES = ("ablation", "rules", "thresholds", "agrees", "windows")
_MASK_SCORES, _METRICS = TypeAdapter(MaskScores), TypeAdapter(Metrics)


def _nested(content: Mapping[str, Any]) -> dict[str, Any]:
    """Scores that stand side by side in the file as the fields of `MaskScores`."""
    measures = {name: content[name] for name in content.get("measures", ())}
    counts = content.get("identity", {})
    jumps = {"non_empty": counts.get("non_empty_frames", 0), **counts}
    return {**content, "jumps": jumps, "summary": {**content, "more": measures}}


def _mean(metric: str, results: Sequence[ExpressionResult]) -> float | None:
    """The mean of an entry of `score.extra`; None, with a warning, where a value is no number."""
    wrong = [r for r in results if not np.isfinite(r.extra[metric])]
    if not wrong:
        return float(np.mean([r.extra[metric] for r in results]))
    log.warning(
        "score.extra.%s: no mean, it is not a number for %d of %d expressions, the first is "
        "expression %s of video %s",
        *(metric, len(wrong), len(results), wrong[0].expression_id, wrong[0].video),
    )
    return None
