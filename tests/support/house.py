"""How large and how calm the house is: `python tests/support/house.py [TREE] [COMMIT]`.

Prints a table of a working tree (default: this one), or of a commit of its repository: code lines
per room (a line with a token that is neither a comment nor part of a docstring), places that raise
a user's error, calls of `require`, classes and functions that run videos, readers of a run's files,
functions that eval.py enters for one video with masks from files, the median length of a function
and lines of more than 90 characters.
"""

import argparse
import ast
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from pathlib import Path

SKIPPED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
PROGRAMS = ("train.py", "eval.py", "predict.py")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
READERS = re.compile(  # what opens a run's tables, metrics, settings or files per video
    r'"(metrics\.json|per_expression\.csv|ablation\.csv|rules\.csv|presence\.csv|windows\.csv)"'
    r"|read_settings\(|VideoFiles\(|DictReader\("
)

# Run below the tree, before eval.py: counts functions entered after its imports, in all threads.
HOOK = """
import json, os, sys, threading
from pathlib import Path
tree, out = Path(sys.argv[1]), sys.argv[2]
sys.argv = ["eval.py", *sys.argv[3:]]
sys.path.insert(0, str(tree))
import rvos.app.evaluation, rvos.app.results, rvos.report.plots, rvos.report.html
import eval as program
entered = set()
def note(frame, event, argument):
    code = frame.f_code
    of_function = code.co_flags & 0x1  # CO_OPTIMIZED: not the body of a class or module
    of_function = of_function and not code.co_name.startswith("<")  # no lambda, no comprehension
    if event == "call" and of_function and code.co_filename.startswith(str(tree / "rvos")):
        entered.add((code.co_filename, code.co_firstlineno, code.co_name))
threading.setprofile(note)
sys.setprofile(note)
try:
    program.main()
finally:
    sys.setprofile(None)
    files = {file for file, _, _ in entered}
    Path(out).write_text(json.dumps([len(entered), len(files)]))
"""


def code_lines(source: str) -> int:
    """Lines with code: neither blank, nor a comment, nor of a docstring."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) and body:
            first = body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                if isinstance(first.value.value, str):
                    docstrings |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SKIPPED:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def user_errors(trees: dict[Path, ast.Module]) -> set[str]:
    """The names of InputError, of its subclasses and of the errors of masks."""
    names = {"InputError", "FileError", "MaskError"}
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    while more := {name for name, of in bases.items() if of & names} - names:
        names |= more
    return names


def counted(tree: Path) -> dict[str, object]:
    """What stands in the code below a tree."""
    files = [*sorted((tree / "rvos").rglob("*.py")), *(tree / name for name in PROGRAMS)]
    sources = {path: path.read_text(encoding="utf-8") for path in files}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    errors = user_errors(trees)
    rooms: Counter[str] = Counter()
    raises = requires = wide = 0
    lengths, runners, readers = [], [], []
    for path, module in trees.items():
        name = path.relative_to(tree)
        room = name.parts[1] if len(name.parts) > 2 else "programs" if len(name.parts) == 1 else "."
        rooms[room] += code_lines(sources[path])
        wide += sum(len(line) > 90 for line in sources[path].splitlines())
        if READERS.search(sources[path]):
            readers.append(str(name))
        for node in ast.walk(module):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                raises += ast.unparse(node.exc.func).rpartition(".")[2] in errors
            elif isinstance(node, ast.Call):
                requires += ast.unparse(node.func) == "require"
            elif isinstance(node, FUNCTIONS):
                lengths.append((node.end_lineno or 0) - node.lineno + 1)
                if runs_videos(node):
                    runners.append(f"{name}:{node.name}")
    return {
        **{f"code lines, {room}": lines for room, lines in sorted(rooms.items())},
        "code lines, all": sum(rooms.values()),
        "places that raise a user's error": raises,
        "require( calls": requires,
        "what runs videos": f"{len(runners)}: {', '.join(runners)}",
        "readers of a run's files": f"{len(readers)}: {', '.join(readers)}",
        "functions": len(lengths),
        "median function length": statistics.median(lengths),
        "lines over 90 characters": wide,
    }


def runs_videos(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it goes over videos and says what became of each: by name, since no rule tells."""
    return function.name in ("run_stage", "evaluate") and ast.unparse(function).count("\n") > 2


def entered(tree: Path) -> str:
    """Functions of rvos that eval.py enters for one video with masks from files."""
    data = tree / "tests" / "support"
    with tempfile.TemporaryDirectory() as folder:
        hook = Path(folder) / "hook.py"
        hook.write_text(HOOK)
        made = Path(folder) / "made.py"
        made.write_text(
            "import json, sys\nfrom pathlib import Path\nfrom made_data import MadeData\n"
            "print(json.dumps(MadeData(Path(sys.argv[1])).write()))\n"
        )
        path = os.pathsep.join([str(tree), str(data), str(tree / "tests")])
        environment = {**os.environ, "PYTHONPATH": path, "RVOS_STORES": f"{folder}/stores"}

        def python(*command: object) -> str:
            done = subprocess.run(
                [sys.executable, *map(str, command)],
                cwd=tree,
                env=environment,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                sys.exit(f"{command}: {done.stderr[-2000:]}")
            return done.stdout

        arguments = json.loads(python(made, Path(folder) / "data").splitlines()[-1])
        out = Path(folder) / "count.json"
        more = ["score.max_videos=1", "score.workers=1", "report=none"]
        kept = [a for a in arguments if a.partition("=")[0] not in ("report", "score.workers")]
        python(hook, tree, out, *kept, *more, f"paths.stores={folder}/stores")
        functions, files = json.loads(out.read_text())
        return f"{functions} in {files} files"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).resolve().parents[2]
    parser.add_argument("tree", type=Path, nargs="?", default=here)
    parser.add_argument("commit", nargs="?", help="of the tree's repository, instead of its files")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = given.tree.resolve()
        if given.commit:
            archive = Path(folder) / "tree.tar"
            command = ["git", "-C", str(tree), "archive", "-o", str(archive), given.commit]
            subprocess.run(command, check=True)
            tree = Path(folder) / "tree"
            tree.mkdir()
            subprocess.run(["tar", "-xf", str(archive), "-C", str(tree)], check=True)
        rows = counted(tree) | {"functions entered for one video": entered(tree)}
    for label, value in rows.items():
        print(f"{label:<34} {value}")


if __name__ == "__main__":
    main()
