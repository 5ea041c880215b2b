"""Scores of kinds of expressions, and whether a model knows when there is nothing to segment.

MeViS v2 has expressions without a target. N-acc is the share of those whose every frame is answered
by an empty mask, T-acc the share of the others that get a mask in some frame, and
Final = (J&F + N-acc + T-acc) / 3 (arXiv 2512.10945 describes v2; no evaluator of it is public).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rvos.score.measures import Summary
from rvos.score.protocols import means_of
from rvos.score.results import ExpressionResult, RuleScores


def slices_of(results: Sequence[ExpressionResult]) -> dict[str, list[ExpressionResult]]:
    """The expressions of each slice by its name: by number of targets, then the dataset's types."""
    slices = {
        "all": list(results),
        "target": [r for r in results if r.num_targets],
        "no_target": [r for r in results if not r.num_targets],
        "single_target": [r for r in results if r.num_targets == 1],
        "multi_target": [r for r in results if r.num_targets > 1],
    }
    for type in dict.fromkeys(r.type for r in results if r.type):
        slices[type] = [r for r in results if r.type == type]
    return slices


def answers(results: Sequence[ExpressionResult], label: str) -> dict[str, Any]:
    """`slices`, `N-acc`, `T-acc` and `Final` of one rule, in 0..1; None where there is no such.

    No published number tells whether J&F in Final goes over all expressions or over those with a
    target: it is given for both.
    """
    found = {(r.video, r.expression_id): r.scores[label] for r in results}
    slices = {
        name: [found[r.video, r.expression_id] for r in members]
        for name, members in slices_of(results).items()
    }
    scores = {name: _means(members) for name, members in slices.items()}
    silent = {name: [score.says_nothing for score in slices[name]] for name in slices}
    n_acc = float(np.mean(silent["no_target"])) if silent["no_target"] else None
    t_acc = float(1 - np.mean(silent["target"])) if silent["target"] else None
    means = {name: scores[name]["J&F"] for name in ("all", "target")}
    return {
        "slices": scores,
        "N-acc": n_acc,
        "T-acc": t_acc,
        "Final": {name: final(JF, n_acc, t_acc) for name, JF in means.items()},
    }


def final(JF: float | None, n_acc: float | None, t_acc: float | None) -> float | None:
    """(J&F + N-acc + T-acc) / 3, in 0..1; None unless all three are there."""
    if JF is None or n_acc is None or t_acc is None:
        return None
    return (JF + n_acc + t_acc) / 3


def _means(members: Sequence[RuleScores]) -> dict[str, Any]:
    """J, F, J&F and what the protocol measures beside them; None without expressions."""
    if not members:
        return {"J": None, "F": None, "J&F": None, "num_expressions": 0}
    means = means_of(("", score.as_dict()) for score in members)
    J, F = means.pop("J"), means.pop("F")
    return Summary(J, F, means).as_dict() | {"num_expressions": len(members)}
