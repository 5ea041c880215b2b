"""`rvos`, also as `python -m rvos`: the three programs, and the commands beside them."""

import runpy
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from rvos.errors import one_message

# Name -> what it does; rvos.app.<name> is its module, which Hydra starts as a script.
PROGRAMS = {
    "train": "fine-tune MUTR",
    "eval": "segment, track, refine, score; or refine and score given masks",
    "predict": "the same stages on a video of your own",
}
# Name -> the module whose `main(arguments)` it is, and what it does.
COMMANDS = {
    "demo": ("rvos.app.demo", "the whole method on synthetic videos; --quick: one video"),
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
    "score": ("rvos.app.score", "J and F of masks that any program wrote, against a truth"),
    "compare": ("rvos.report.compare", "what changed between two runs"),
    "report": ("rvos.report.html", "the page of a run, made again from its folder"),
    "export": ("rvos.report.export", "a run's masks or masklets in the formats of other programs"),
    "ask": ("rvos.ask.questions", "questions about a run's masklets (ask RUN); ask check FILE"),
    "answer": ("rvos.ask.answer", "put the questions about a run's masklets to models"),
    "submission": ("rvos.report.submission", "pack masks for the MeViS server, or check a zip"),
}


def main(arguments: Sequence[str]) -> int:
    """Call the program or command, or print the table of all of them."""
    name, rest = (arguments[0], list(arguments[1:])) if arguments else ("help", [])
    if name in PROGRAMS:
        sys.argv[1:] = rest
        with one_message():
            # As `python -m`: so the other processes of a run are started by this module's name.
            runpy.run_module(f"rvos.app.{name}", run_name="__main__", alter_sys=True)
        return 0
    if name in COMMANDS:
        with one_message():
            return import_module(COMMANDS[name][0]).main(rest)
    wanted_help = name in ("-h", "--help", "help")
    out = sys.stdout if wanted_help else sys.stderr
    if not wanted_help:
        near = get_close_matches(name, [*PROGRAMS, *COMMANDS], n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        print(f"error: no command {name!r}{meant}", file=out)
    print("usage: rvos COMMAND ...; rvos COMMAND --help\n", file=out)
    for command, text in PROGRAMS.items():
        print(f"  {command:<11} {text}", file=out)
    print(file=out)
    for command, (_, text) in COMMANDS.items():
        print(f"  {command:<11} {text}", file=out)
    return 0 if wanted_help else 2


def console() -> int:
    """The installed command `rvos`: finds modules in the working folder, as `python -m rvos`."""
    sys.path.insert(0, "")
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
