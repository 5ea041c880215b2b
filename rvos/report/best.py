"""The best setting of an ablation, as overrides of eval.py: those of the rule that it is a grid of.

    python eval.py $(python -m rvos best RUN) data.split=valid

Choose on one split, report on another.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rvos.errors import InputError
from rvos.report.metrics import AGAIN, Metrics
from rvos.report.rows import Row, best_agree, best_threshold


def best_cell(folder: Path, metrics: Metrics, window: int | None = None) -> Row:
    """The cell of the grid with the highest J&F; the first of equals.

    `window`: of the cells with this window alone.
    """
    cells = [row for row in metrics.cells if window in (None, row.settings["window"])]
    if not cells:
        windows = sorted({row.settings["window"] for row in metrics.cells})
        known = f"a grid (ablation=grid; after a run of an older release, {AGAIN})"
        asked = known if window is None else f"window {window}"
        raise InputError(f"{folder}: expected {asked}, found windows {windows}")
    return max(cells, key=lambda row: row.summary.JF)


def best_overrides(folder: Path, window: int | None = None) -> list[str]:
    """The rule and its best cell, the best guard, the best presence threshold, where they are.

    `window`: of the cells with this window alone.
    """
    metrics, overrides = Metrics.read(folder), list[str]()
    guard = best_agree(metrics.agrees)
    best: dict[str, Any] = {}
    if metrics.ablation or not (metrics.thresholds or guard):
        best = best_cell(folder, metrics, window).settings
    if guard:
        best = {**guard.settings, **best, "agree": guard.settings["agree"]}
    if best:
        overrides.append(f"refine={metrics.refine['name']}")
        settings = (key for key in best if key in metrics.refine)
        for key in sorted(settings, key=("window", "tau").__contains__):  # these two come last
            if key == "agree" and best[key] is None and not guard:
                continue  # off, as every file of conf/refine says
            overrides.append(f"refine.{key}={json.dumps(best[key], separators=(',', ':'))}")
    if metrics.thresholds:
        threshold = best_threshold(metrics.thresholds)
        if threshold is None:
            raise InputError(
                f"{folder}: expected expressions with and without target, which Final needs"
            )
        overrides.append(f"presence={threshold.settings['presence']}")
        overrides.append(f"presence.threshold={threshold.settings['threshold']}")
    return overrides


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos best`: print the overrides."""
    parser = argparse.ArgumentParser(
        prog="python -m rvos best",
        description="The best setting of an ablation, as overrides of eval.py: window, tau and "
        "agree by J&F, the threshold of presence by Final (target).",
    )
    parser.add_argument("run", type=Path, help="folder of a run with an ablation")
    parser.add_argument("--window", type=int, help="the best tau of this window, in frames")
    given = parser.parse_args(arguments)
    overrides = best_overrides(given.run, given.window)
    print(*overrides)
    return 0
