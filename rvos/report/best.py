"""The best cell of an ablation, as overrides of eval.py.

    python eval.py $(python -m rvos best RUN) data.split=valid

Choose on one split, report on another.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rvos import InputError
from rvos.report.run import read_csv


def best_cell(folder: Path | str) -> tuple[int, float]:
    """(window, tau) of the highest J&F in ablation.csv; the first of equals."""
    path = Path(folder) / "ablation.csv"
    cells = [row for row in read_csv(path) if row["window"] is not None]
    if not cells:
        raise InputError(f"{path}: expected a row per cell, found none")
    best = max(cells, key=lambda row: row["J&F"])
    return best["window"], best["tau"]


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m rvos best`: print the overrides."""
    parser = argparse.ArgumentParser(
        prog="python -m rvos best",
        description="The best cell of an ablation, as settings of eval.py.",
    )
    parser.add_argument("run", type=Path, help="folder of a run with an ablation")
    try:
        window, tau = best_cell(parser.parse_args(arguments).run)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"refine.window={window} refine.tau={tau}")
    return 0
