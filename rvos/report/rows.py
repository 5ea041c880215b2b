"""Scores of a split under one rule: the rows of the tables of grid, rules and thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from rvos.refine import Rule, WithPresence
from rvos.score.measures import Summary
from rvos.score.results import Results
from rvos.score.slices import answers


@dataclass(frozen=True)
class Row:
    """The scores of a split under one rule, in 0..1."""

    label: str
    settings: dict[str, Any]  # the rule's fields, and `presence` and `threshold` on top of it
    summary: Summary
    answers: dict[str, float | None]  # N-acc, T-acc, J&F and Final of all and target
    frames_kept_coarse: int
    sha256: str  # of the masks, as in data/README.md; empty in a run without an ablation

    def values(self, columns: Sequence[str]) -> list[Any]:
        """The values of some columns of a table; None for a setting that the rule lacks."""
        known = {**self.settings, **self.summary.as_dict(), **self.answers, **vars(self)}
        return [known.get(column) for column in columns]


def make_rows(results: Results, rules: Mapping[str, Rule]) -> dict[str, Row]:
    """One row per label, in the order of `rules`, which are those that gave the results."""
    hexdigests = results.hashes.hexdigests()
    return {
        label: Row(
            label,
            fields_of(rule),
            results.summary(label),
            _flat(answers(results.expressions, label)),
            sum(r.scores[label].frames_kept_coarse for r in results.expressions),
            hexdigests.get(label, ""),
        )
        for label, rule in rules.items()
    }


def _flat(answered: Mapping[str, Any]) -> dict[str, float | None]:
    both = {f"J&F_{name}": answered["slices"][name]["J&F"] for name in answered["Final"]}
    both |= {f"Final_{name}": value for name, value in answered["Final"].items()}
    return {"N-acc": answered["N-acc"], "T-acc": answered["T-acc"], **both}


def fields_of(rule: Rule) -> dict[str, Any]:
    """The settings of a rule, and of the presence rule on top of it."""
    if isinstance(rule, WithPresence):
        presence = {"presence": rule.presence.name, "threshold": rule.presence.threshold}
        return fields_of(rule.rule) | presence
    if not is_dataclass(rule):
        return {}
    return {field.name: getattr(rule, field.name) for field in fields(rule)}


def best_agree(agrees: Sequence[Row]) -> Row | None:
    """The row of the highest J&F, the first of equals; None without rows."""
    return max(agrees, key=lambda row: row.summary.JF, default=None)


def best_threshold(thresholds: Sequence[Row]) -> Row | None:
    """The row of the highest Final over target, the lower threshold of equals; None without."""
    known = [row for row in thresholds if row.answers["Final_target"] is not None]
    ranked = sorted(known, key=lambda row: row.settings["threshold"])
    return max(ranked, key=lambda row: row.answers["Final_target"] or 0.0, default=None)
