"""Scores of the rules that an ablation lists by name -> rules.csv."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rvos.evaluation import ExpressionResult
from rvos.refine import Rule
from rvos.report.tables import write_csv
from rvos.score import Summary


def write_rules(
    folder: Path,
    results: Sequence[ExpressionResult],
    rules: Mapping[str, Rule],
    hexdigests: Sequence[str],
    *,
    first: int,
) -> None:
    """One row per rule; `first` is the position of the first rule among the results' cells.

    `hexdigests` are those of the coarse masks and of all cells, as `Hashes` gives them.
    """
    rows = []
    for i, (name, rule) in enumerate(rules.items(), start=first):
        scores = Summary.of([r.cells[i][0] for r in results], [r.cells[i][1] for r in results])
        kept = sum(r.cells[i][2] for r in results)
        settings = [getattr(rule, key, None) for key in ("window", "tau", "box_ratio")]
        rows.append([name, *settings, *scores.as_dict().values(), kept, hexdigests[1 + i]])
    header = ["rule", "window", "tau", "box_ratio", "J", "F", "J&F", "frames_kept_coarse", "sha256"]
    write_csv(folder / "rules.csv", header, rows)
