"""metrics.json: what a run comes to. This module is its one writer and its one reader."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rvos.errors import InputError
from rvos.masks import FileError, read_json, write_json
from rvos.report.rows import Row
from rvos.report.windows import WindowRow
from rvos.score.ablation import COARSE, REFINED
from rvos.score.jumps import Jumps
from rvos.score.measures import Summary
from rvos.score.protocols import Expressions, mean_of
from rvos.score.results import ExpressionResult, Results
from rvos.score.slices import answers

log = logging.getLogger(__name__)
FILE = "metrics.json"  # in a run folder
AGAIN = "eval.py with the settings of the run writes it again, and runs no network"
Means = Mapping[str, Any]  # J, F, J&F and what the protocol measures; num_expressions of slices


@dataclass(frozen=True)
class MaskScores:
    """All scores of the coarse or of the refined masks, in 0..1."""

    summary: Summary
    slices: Mapping[str, Means]  # by name, as `score.slices`
    n_acc: float | None
    t_acc: float | None
    final: Mapping[str, float | None]  # over `all` and over `target`
    jumps: Jumps
    groups: Mapping[str, Mapping[str, Means]]  # {"annotators": {"0": ...}} of the protocol
    further: Mapping[str, Means]  # other means of the protocol, by name

    @classmethod
    def of_results(cls, results: Results, label: str, protocol: Expressions) -> "MaskScores":
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
            answered["slices"],
            answered["N-acc"],
            answered["T-acc"],
            answered["Final"],
            results.jumps(label),
            {protocol.groups: members} if protocol.groups else {},
            further,
        )

    def as_dict(self) -> dict[str, Any]:
        """As metrics.json has them."""
        return {
            **self.summary.as_dict(),
            **{kind: list(members.values()) for kind, members in self.groups.items()},
            **self.further,
            "slices": self.slices,
            "N-acc": self.n_acc,
            "T-acc": self.t_acc,
            "Final": self.final,
            "identity": self.jumps.as_dict(),
            "measures": list(self.summary.more),
            "groups": self.groups,
            "further": self.further,
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "MaskScores":
        """From what `as_dict` gave; older releases had no `measures`, `groups`, `further`."""
        more = {name: content[name] for name in content.get("measures", ())}
        counts = content.get("identity", {})
        return cls(
            Summary(content["J"], content["F"], more),
            content.get("slices", {}),
            content.get("N-acc"),
            content.get("T-acc"),
            content.get("Final", {}),
            Jumps(*(counts.get(key, 0) for key in ("jumps", "pairs", "non_empty_frames"))),
            content.get("groups", {}),
            content.get("further", {}),
        )

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
    protocol: str
    refine: Mapping[str, Any]  # `name` and settings of the run's rule
    presence: Mapping[str, Any] | None  # the same of the rule on top of it
    extra: Mapping[str, Any]  # means of `score.extra`, and counts
    videos: Sequence[str]  # in the order of the split; none in files of older releases
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
        split: str,
        refine: Mapping[str, Any],
        presence: Mapping[str, Any] | None = None,
        protocol: Expressions | None = None,
        ablation: Sequence[Row] = (),
        rules: Sequence[Row] = (),
        thresholds: Sequence[Row] = (),
        agrees: Sequence[Row] = (),
        windows: Sequence[WindowRow] = (),
    ) -> "Metrics":
        """`refine`, `presence`: configs of the rules; `protocol` None is the plain mean."""
        protocol, expressions = protocol or Expressions(), results.expressions
        extra: dict[str, Any] = {name: _mean(name, expressions) for name in expressions[0].extra}
        extra["frames_kept_coarse"] = sum(r.refined.frames_kept_coarse for r in expressions)
        extra["frames_scored_as_empty"] = results.scored_as_empty
        return cls(
            MaskScores.of_results(results, REFINED, protocol),
            MaskScores.of_results(results, COARSE, protocol),
            num_expressions=len(expressions),
            num_frames=sum(r.num_frames for r in expressions),
            split=split,
            protocol=protocol.name,
            refine={key: value for key, value in refine.items() if key != "_target_"},
            presence=presence,
            extra=extra,
            videos=list(dict.fromkeys(r.video for r in expressions)),
            ablation=ablation,
            rules=rules,
            thresholds=thresholds,
            agrees=agrees,
            windows=windows,
        )

    @property
    def cells(self) -> Sequence[Row]:
        """The rows of `ablation` but the coarse masks'."""
        return [row for row in self.ablation if row.label != COARSE]

    def as_dict(self) -> dict[str, Any]:
        """The content of the file."""
        return {
            **self.refined.as_dict(),
            "num_expressions": self.num_expressions,
            "num_frames": self.num_frames,
            "split": self.split,
            "protocol": self.protocol,
            "coarse": self.coarse.as_dict(),
            "refine": self.refine,
            **({"presence": self.presence} if self.presence else {}),
            "extra": self.extra,
            "tables": {name: [row.as_dict() for row in getattr(self, name)] for name in _TABLES},
            "videos": self.videos,
        }

    def write(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        write_json(folder / FILE, self.as_dict())

    @classmethod
    def read(cls, folder: Path) -> "Metrics":
        """Raises InputError where the file is missing or not that of a run."""
        if not (folder / FILE).is_file():
            raise InputError(
                f"{folder}: expected the folder of a finished run of eval.py, found no {FILE}"
            )
        try:
            return cls.of(read_json(folder / FILE))
        except FileError as error:
            raise InputError(f"{error}; {AGAIN}") from None
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{folder / FILE}: not the scores of a run: {error!r:.100}; {AGAIN}"
            ) from None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Metrics":
        """From what `as_dict` gave, or an older release."""
        tables = content.get("tables", {})
        return cls(
            MaskScores.of(content),
            MaskScores.of(content["coarse"]),
            num_expressions=content["num_expressions"],
            num_frames=content["num_frames"],
            split=content["split"],
            protocol=content.get("protocol", Expressions.name),
            refine=content["refine"],
            presence=content.get("presence"),
            extra=content["extra"],
            videos=content.get("videos", ()),
            **{
                name: [row.of(entry) for entry in tables.get(name, ())]
                for name, row in _TABLES.items()
            },
        )


_TABLES: Mapping[str, Any] = {
    "ablation": Row,
    "rules": Row,
    "thresholds": Row,
    "agrees": Row,
    "windows": WindowRow,
}


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
