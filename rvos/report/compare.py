"""Two runs on the same expressions -> what changed, with paired intervals.

    python -m rvos compare RUN_A RUN_B --page

Differences are B - A per expression, averaged; the intervals come from resampling videos
(`bootstrap.py`, settings in conf/report/none.yaml).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rvos.report.bootstrap import Bootstrap, Interval
from rvos.report.console import percent, range_of, signed, table_of
from rvos.report.csv_tables import SCORES
from rvos.report.run import Run, changes
from rvos.report.scores import answers_of
from rvos.score.ablation import REFINED
from rvos.score.results import ExpressionResult
from rvos.settings import preset
from rvos.stages.run_folder import has_no_effect
from rvos.stages.store import differences

PICTURES = ("strips", "frames", "width", "megabytes", "player")  # settings of the page


@dataclass(frozen=True)
class Comparison:
    """Scores are in 0..1; differences are B - A."""

    a: Run
    b: Run  # rows in the order of a's
    # by J, F, J&F and, where both have them, N-acc, T-acc, Final: A, B, difference
    scores: dict[str, tuple[float, float, Interval]]
    num_better: int  # expressions whose J&F is higher in B
    num_worse: int

    def changed_most(self, count: int) -> list[tuple[ExpressionResult, float, float]]:
        """(what B scored, J&F in A, J&F in B), the largest change first."""
        before, after = self.a.JF(REFINED), self.b.JF(REFINED)
        order = [i for i in changes(before, after) if before[i] != after[i]]
        return [(self.b.expressions[i], before[i], after[i]) for i in order[:count]]

    def others(self) -> list[tuple[str, float, float]]:
        """(name, in A, in B) of what both have beside `scores`: J&F of slices."""
        before, after = (answers_of(run.metrics.refined) for run in (self.a, self.b))
        both = [(name, before[name], after.get(name)) for name in before]
        return [(name, x, y) for name, x, y in both if y is not None and name not in self.scores]

    def settings(self) -> list[tuple[str, Any, Any]]:
        """(key, value in A, value in B) of the settings that differ."""
        rows = differences(self.a.config, self.b.config)
        folders = (self.a.config.get("output_dir"), self.b.config.get("output_dir"))
        return [
            (key, before, after)
            for key, before, after in rows
            if (before, after) != folders  # other keys repeat them
            and not has_no_effect(key, on="scores")
        ]


def compare(
    folder_a: Path | str, folder_b: Path | str, *, resamples: int, confidence: float, seed: int
) -> Comparison:
    """Compare two run folders. Raises InputError if they did not score the same expressions."""
    a = Run.read(folder_a)
    b = Run.read(folder_b).in_order_of(a)
    bootstrap = a.bootstrap(resamples=resamples, confidence=confidence, seed=seed)
    scores = {}
    for score in SCORES:
        before, after = a.unit_scores(REFINED, score), b.unit_scores(REFINED, score)
        means = bootstrap.interval(before).mean, bootstrap.interval(after).mean
        scores[score] = (*means, bootstrap.interval(after - before))
    change = b.JF(REFINED) - a.JF(REFINED)
    num_better, num_worse = int((change > 0).sum()), int((change < 0).sum())
    return Comparison(a, b, scores | _answers(a, b, bootstrap), num_better, num_worse)


def _answers(a: Run, b: Run, bootstrap: Bootstrap) -> dict[str, tuple[float, float, Interval]]:
    """N-acc, T-acc and Final (score/slices.py) of two runs that have them, and the differences.

    Each of the three means is resampled with the same videos. Empty where the protocol's mean goes
    over something else than expressions.
    """
    known = a.metrics.refined.answered()
    if not (known and a.results.averages_expressions and b.results.averages_expressions):
        return {}
    resampled = []
    for run in (a, b):
        num_targets = np.array([r.num_targets for r in run.expressions])
        silent = np.array([int(r.refined.says_nothing) for r in run.expressions])
        JF, target = run.JF(REFINED), bootstrap.among(np.flatnonzero(num_targets))
        n_acc = bootstrap.among(np.flatnonzero(num_targets == 0)).resampled(silent)
        t_acc = target.resampled(1 - silent)
        means = {"N-acc": n_acc, "T-acc": t_acc}
        for name, drawn in (("all", bootstrap), ("target", target)):
            parts = drawn.resampled(JF), n_acc, t_acc
            mean = sum(part[0] for part in parts) / 3
            means[f"Final ({name})"] = mean, np.mean([part[1] for part in parts], axis=0)
        resampled.append(means)
    return {
        name: (before, after, bootstrap.around(after - before, later - earlier))
        for name in known
        for (before, earlier), (after, later) in [(resampled[0][name], resampled[1][name])]
    }


def print_comparison(console: Console, comparison: Comparison, confidence: float, top: int) -> None:
    """Settings that differ, scores with intervals, and the `top` expressions that changed most."""
    console.print(f"A: {comparison.a.folder}\nB: {comparison.b.folder}", soft_wrap=True)
    for key, before, after in comparison.settings():
        console.print(f"   {key}: {before} -> {after}", soft_wrap=True)
    videos = {video for video, _ in comparison.a.identities}
    counts = f"{len(comparison.a.identities)} expressions in {len(videos)} videos"
    rows = [
        [name, percent(before), percent(after), signed(change.mean)]
        + [range_of(change) + (" *" if change.excludes_zero else "  ") if len(videos) > 1 else ""]
        for name, (before, after, change) in comparison.scores.items()
    ]
    rows += [
        [name, percent(before), percent(after), signed(after - before), ""]
        for name, before, after in comparison.others()
    ]
    title = f"{counts}, protocol {comparison.a.metrics.protocol} (percent)"
    columns = ["", "A", "B", "B - A", f"{100 * confidence:g} % interval"]
    console.print(table_of(title, columns, rows))
    console.print(
        f"* excludes 0. J&F is higher in B for {comparison.num_better} expressions, lower for "
        f"{comparison.num_worse}.",
        soft_wrap=True,
    )
    rows = [
        [f"{result.video} {result.expression_id}: {result.expression}"]
        + [percent(before), percent(after), signed(after - before)]
        for result, before, after in comparison.changed_most(top)
    ]
    if rows:
        columns = ["expression", "A", "B", "B - A"]
        console.print(table_of("Changed most (J&F, percent)", columns, rows))


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos compare`: print what changed between two runs."""
    defaults = preset("report", "none")
    parser = argparse.ArgumentParser(
        prog="python -m rvos compare",
        description="Paired differences of two runs on the same expressions.",
    )
    parser.add_argument("run_a", type=Path, help="run folder")
    parser.add_argument("run_b", type=Path, help="run folder")
    parser.add_argument("--resamples", type=int, default=defaults["resamples"])
    parser.add_argument("--confidence", type=float, default=defaults["confidence"])
    parser.add_argument("--seed", type=int, default=defaults["seed"])
    parser.add_argument(
        "--page",
        nargs="?",
        const="",
        metavar="FILE",
        help="also write a page with the pictures of both; by default RUN_B/report/compare.html",
    )
    parser.add_argument("--top", type=int, default=10, help="expressions to list")
    given = parser.parse_args(arguments)
    settings = {key: getattr(given, key) for key in ("resamples", "confidence", "seed")}
    comparison = compare(given.run_a, given.run_b, **settings)
    print_comparison(Console(markup=False), comparison, given.confidence, given.top)
    if given.page is not None:
        from rvos.report.compare_page import write_comparison

        path = Path(given.page or given.run_b / "report" / "compare.html")
        pictures = {key: preset("report", "html")[key] for key in PICTURES}
        write_comparison(path, comparison, confidence=given.confidence, **pictures)
        print(f"page: {path}")
    return 0
