"""What files of MUTR's weights hold: `python -m rvos checkpoint FILE`."""

import argparse
import sys
from collections.abc import Sequence

from rvos.errors import InputError, list_problems, needing_models


def main(arguments: Sequence[str]) -> int:
    """Say what files of MUTR's weights hold: a line for each, then the keys that do not fit."""
    parser = argparse.ArgumentParser(prog="python -m rvos checkpoint", description=main.__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    files = parser.parse_args(arguments).files
    with needing_models():  # not for --help
        from rvos.mutr.checkpoint import misfits, summary
        from rvos.weights.tensors import read_state

    status = 0
    for path in files:
        try:
            state = read_state(path)
            line, problems = summary(state)
            problems = problems or misfits(state)
        except InputError as error:
            print(error, file=sys.stderr)
            status = 1
            continue
        print(f"{path}: {line}")
        if problems:
            print(list_problems("keys that do not fit", problems, shown=40))
            status = 1
        else:
            print("all keys fit")
    return status
