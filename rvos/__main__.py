"""`python -m rvos`: the commands beside train.py, eval.py and predict.py."""

import sys
from collections.abc import Sequence
from importlib import import_module

from rvos.errors import one_message

# Name -> the module whose `main(arguments)` it is, and what it does.
COMMANDS = {
    "doctor": ("rvos.app.doctor", "what is installed and found on this machine"),
    "weights": ("rvos.app.weights", "list, fetch (get) and check the weights of networks"),
    "data": (
        "rvos.app.data",
        "write a synthetic dataset (synthesize); check (verify) or fetch (get) one",
    ),
    "noun": ("rvos.nouns.finder", "compare the nouns of expressions with a table"),
    "checkpoint": ("rvos.app.checkpoint", "what a file of MUTR's weights holds"),
    "merge": ("rvos.app.results", "tables and page of a run that several processes filled"),
    "status": ("rvos.app.status", "how far a run or store is, and who works on it"),
    "sweep": ("rvos.app.sweep", "all runs of a W&B sweep file, without W&B"),
    "best": ("rvos.report.best", "the best cell of an ablation, as settings of eval.py"),
    "compare": ("rvos.report.compare", "what changed between two runs"),
    "report": ("rvos.report.html", "the page of a run, made again from its folder"),
    "export": ("rvos.report.export", "a run's refined masks as PNG, RLE, COCO or YouTube-VIS"),
    "ask": ("rvos.report.ask", "questions about a run's masklets (ask RUN); ask check FILE"),
    "submission": ("rvos.report.submission", "pack masks for the MeViS server, or check a zip"),
}


def main(arguments: Sequence[str]) -> int:
    """Call the command, or print the table of all of them."""
    if arguments and arguments[0] in COMMANDS:
        with one_message():
            return import_module(COMMANDS[arguments[0]][0]).main(list(arguments[1:]))
    wanted_help = not arguments or arguments[0] in ("-h", "--help", "help")
    out = sys.stdout if wanted_help else sys.stderr
    if not wanted_help:
        print(f"error: no command {arguments[0]!r}", file=out)
    print("usage: python -m rvos COMMAND ...; python -m rvos COMMAND --help\n", file=out)
    for name, (_, text) in COMMANDS.items():
        print(f"  {name:<11} {text}", file=out)
    print("\nTraining, evaluation, prediction: train.py, eval.py, predict.py --help", file=out)
    return 0 if wanted_help else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
