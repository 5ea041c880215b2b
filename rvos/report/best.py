"""The best setting of an ablation, as overrides of eval.py.

    python eval.py $(python -m rvos best RUN) data.split=valid

Choose on one split, report on another.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rvos.errors import InputError
from rvos.masks import read_json
from rvos.report.run import read_csv
from rvos.report.tables import best_threshold


def best_cell(folder: Path | str, window: int | None = None) -> tuple[int, float]:
    """(window, tau) of the highest J&F in ablation.csv; the first of equals.

    `window`: of the cells with this window alone.
    """
    path = Path(folder) / "ablation.csv"
    known = [row for row in read_csv(path) if row["window"] is not None]
    cells = [row for row in known if window in (None, row["window"])]
    if not cells:
        windows = sorted({row["window"] for row in known})
        asked = "a row per cell" if window is None else f"window {window}"
        raise InputError(f"{path}: expected {asked}, found windows {windows}")
    best = max(cells, key=lambda row: row["J&F"])
    return best["window"], best["tau"]


def best_presence(folder: Path | str) -> tuple[str, float]:
    """(presence rule, threshold) of the highest Final_target in presence.csv; ties to the lower."""
    path = Path(folder) / "presence.csv"
    best = best_threshold([(row["threshold"], row) for row in read_csv(path)])
    if best is None:
        raise InputError(
            f"{path}: expected Final_target, which needs expressions with and without target"
        )
    return read_json(path.with_name("metrics.json"))["presence"]["name"], best


def best_overrides(folder: Path, window: int | None = None) -> list[str]:
    """Of the tables that the run has, each by itself; of the cells with `window`, if given."""
    overrides = []
    presence = (folder / "presence.csv").is_file()
    if (folder / "ablation.csv").is_file() or not presence:
        best_window, tau = best_cell(folder, window)
        overrides += [f"refine.window={best_window}", f"refine.tau={tau}"]
    if presence:
        name, threshold = best_presence(folder)
        overrides += [f"presence={name}", f"presence.threshold={threshold}"]
    return overrides


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos best`: print the overrides."""
    parser = argparse.ArgumentParser(
        prog="python -m rvos best",
        description="The best setting of an ablation, as overrides of eval.py: window and tau by "
        "J&F, the threshold of presence by Final (target).",
    )
    parser.add_argument("run", type=Path, help="folder of a run with an ablation")
    parser.add_argument("--window", type=int, help="the best tau of this window, in frames")
    given = parser.parse_args(arguments)
    overrides = best_overrides(given.run, given.window)
    print(*overrides)
    return 0
