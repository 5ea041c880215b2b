"""Every command in README and docs: run here, or marked with what it needs, and then at least read.

A command needs what cannot be shipped where its comment, or the paragraph above its block, says
"needs". Each of the others is in RUN, word for word, with how it is run here.
"""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from fork_server import forked_python
from hydra import compose, initialize_config_dir
from made_data import DAVIS, REPOSITORY

from rvos import CONFIG_DIR
from rvos.__main__ import COMMANDS as RVOS_COMMANDS

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
STARTS = (
    "python ",
    "rvos ",
    "make ",
    "torchrun ",
    "srun ",
    "wandb ",
    "pip ",
    "WANDB_MODE=offline python ",
)
PROGRAMS = ("train.py", "eval.py", "predict.py")


def blocks(page: Path) -> list[tuple[str, bool, str]]:
    """(command, whether it needs something, page) of the indented blocks."""
    found, intro = [], ""
    for part in page.read_text().split("\n\n"):
        if not part.startswith("    "):
            intro = part
            continue
        for line in re.sub(r"\\\n\s*", "", part).splitlines():
            command, _, comment = line.strip().partition(" #")
            if command.startswith(STARTS):
                needy = re.search(r"\b[Nn]eeds\b", f"{comment} {intro}") is not None
                found.append((command.strip(), needy, page.name))
    return found


COMMANDS = [block for page in PAGES for block in blocks(page)]
INLINE = [
    (text, f"{page.name}")
    for page in PAGES
    for text in re.findall(r"`((?:python|make|rvos) [^`]*)`", page.read_text())
]


# ------------------------------------------------------------------- what can be read at once


def test_readme_has_every_command():
    rows = re.findall(r"(?m)^\| ((?:`[a-z ]+`,? ?)+)\|", (REPOSITORY / "README.md").read_text())
    names = [name.split()[0] for row in rows for name in re.findall("`([^`]+)`", row)]
    assert set(names) == set(RVOS_COMMANDS)


def overrides_of(words: list[str]) -> list[str]:
    """Settings among the words of a command; `...` stands for more of them."""
    rest = [word for word in words if word != "..." and "=" in word and not word.startswith("-")]
    return [re.sub(r"<[^>]*>|\$\w+", "x", word) for word in rest]


@cache
def help_of(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words, "--help"], cwd=REPOSITORY, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_readable(command: str) -> None:
    """The program is there, its settings compose, its options exist."""
    words = shlex.split(command)
    if words[0] == "rvos":  # the same as a file of a checkout, or as a module
        is_program = f"{words[1]}.py" in PROGRAMS
        words = ["python", f"{words[1]}.py", *words[2:]] if is_program else ["python", "-m", *words]
    if words[0] == "make":
        rules = (REPOSITORY / "Makefile").read_text()
        for target in [w for w in words[1:] if "=" not in w and w != "-n"]:
            assert re.search(rf"^{target}:", rules, re.M), f"no target {target}"
        return
    if words[0] in ("pip", "wandb") or "-c" in words or "spacy" in words:
        return
    program = next(w for w in words if w.endswith(".py") or w == "-m")
    after = words[words.index(program) + 1 :]
    if program in PROGRAMS:
        settings = [re.sub(r"^expression=.*", "expression=x", o) for o in overrides_of(after)]
        multirun = "-m" in after
        if multirun:  # the first job of a sweep
            settings = [re.sub(r"range\(.*\)", "0", s) for s in settings]
        settings = [s.split(",")[0] if multirun and "[" not in s else s for s in settings]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            compose(program.removesuffix(".py"), [*settings, "output_dir=x"])
        return
    if program == "-m":
        module, after = after[0], after[1:]
        if module == "rvos.data":  # takes settings, and is run
            return
        page = help_of("-m", module)
        if after and re.search(rf"\b{re.escape(after[0])}\b", page.split("options:")[0]):
            page += help_of("-m", module, after[0])
            if len(after) > 1 and re.search(rf"[{{,]{re.escape(after[1])}[,}}]", page):
                page += help_of("-m", module, *after[:2])
    else:
        page = (REPOSITORY / program).read_text()
    for option in (word for word in after if word.startswith("--")):
        assert option in page, f"{program} has no {option}"


@pytest.mark.parametrize("command, where", [(c, w) for c, _, w in COMMANDS] + INLINE)
def test_every_command_can_be_read(command, where):
    check_readable(command)


# ------------------------------------------------------------------------- what can be run


def make(*words: str, **variables: str) -> str:
    """With this interpreter's packages instead of .venv, and without set-up."""
    python = forked_python()
    command = ["make", "-o", python, f"READY={python}", f"BIN={Path(python).parent}"]
    return run(*command, *words, **variables)


def run(*words, **variables):
    """In the repository, with these environment variables and none of a `make test` around it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")} | variables
    done = subprocess.run(
        [str(w) for w in words], cwd=REPOSITORY, text=True, capture_output=True, env=environment
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def as_written(command: str, *more: str, **stand_ins: str) -> str:
    """Run a Python command with its placeholders replaced and settings added."""
    words = [forked_python(), *shlex.split(command)[1:], *more]
    for name, value in stand_ins.items():
        words = [re.sub(rf"(?<=[=/]){name}\b|^{name}$", str(value), word) for word in words]
    return run(*words)


def small_demo(command: str, folder: Path) -> None:
    """The target itself: fewer and smaller videos, two steps of training."""
    options = [
        *("--runs", f"{folder}/demo", "--data", f"{folder}/data", "--synthesize"),
        *("num_videos.train=2", "num_videos.valid_u=2", "num_videos.valid=2", "num_frames=8"),
        *("size=[96,144]", "--train", "trainer.max_steps=2", "score.max_videos=1"),
        "trainer.val_check_interval=2",
    ]
    words = [command.split()[1], f"ARGS={shlex.join(options)}"]
    variables = {"RVOS_STORES": str(folder / "stores")}
    printed = make(*words, **variables)
    assert f"report: {folder}/demo/refined/report/index.html" in printed
    assert (folder / "demo/refined/report/index.html").is_file()
    last = max((folder / "demo").glob("*/metrics.json"), key=lambda path: path.stat().st_mtime_ns)
    assert last.parent.name == "refined"
    again = make(*words, **variables)
    assert "Refining" not in again and "report: " in again


def quick_demo(command: str, folder: Path) -> None:
    options = ["--data", f"{folder}/data", "--runs", f"{folder}/run"]
    words = [forked_python(), "-m", *shlex.split(command), *options]
    printed = run(*words, RVOS_STORES=str(folder / "stores"))
    assert f"report: {folder}/run/report/index.html" in printed
    assert (folder / "run/report/index.html").is_file()


def given_masks(command: str, folder: Path) -> None:
    as_written(
        command,
        f"output_dir={folder}/run",
        "report=none",
        D=DAVIS.parent,
        valid_u=DAVIS.name,
        C=DAVIS / "coarse.json.gz",
        M=DAVIS / "masklets.json.gz",
        N=DAVIS / "nouns.json",
    )
    assert (folder / "run/metrics.json").is_file()


def new_data(command: str, folder: Path) -> None:
    less = ("num_frames=2", "num_videos={train: 1, valid_u: 1, valid: 0}")
    words = [
        re.sub(r"^out=.*", f"out={folder}/data", w)
        for w in shlex.split(command)
        if not w.startswith("num_videos")
    ]
    run(forked_python(), *words[1:], *less)
    assert (folder / "data/valid_u/meta_expressions.json").is_file()


def plainly(command: str, folder: Path) -> None:
    assert as_written(command)


RUN = {
    "make demo": small_demo,
    "rvos demo --quick": quick_demo,
    "rvos score --truth tests/data/davis_masks --masks tests/data/davis_masks/coarse.json.gz": (
        lambda command, folder: run(forked_python(), "-m", *command.split())
    ),
    "rvos score --truth tests/data/ref_davis/valid --dataset ref_davis --masks "
    "tests/data/ref_davis/coarse.json.gz --all-protocols": (
        lambda command, folder: run(forked_python(), "-m", *command.split())
    ),
    "rvos doctor": lambda command, folder: run(forked_python(), "-m", *command.split()),
    "make test": None,  # what runs this
    "make masks": lambda command, folder: make(
        "masks", f"ARGS=report=none output_dir={folder}/run"
    ),
    "python eval.py data.root=D data.split=valid_u coarse=files coarse.path=C masklets=files "
    "masklets.path=M masklets.nouns=N refine.window=15 refine.tau=0.8": given_masks,
    "python -m rvos data synthesize out=/data/synthetic": new_data,
    "python -m rvos noun --tsv tests/nouns/expressions.tsv": plainly,
    "python eval.py --cfg job": plainly,
    "python eval.py --cfg job --package refine": plainly,
    "python eval.py --help": plainly,
    "python -m rvos weights": plainly,
    "python -m rvos weights check": plainly,
    "python eval.py --cfg job refine=whole_video refine.tau=0.5": plainly,
}


def test_what_is_run_is_what_is_written():
    to_run = {command for command, needy, _ in COMMANDS if not needy}
    assert to_run <= set(RUN) <= to_run | {command for command, _ in INLINE}


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c, how in RUN.items() if how])
def test_commands_run(command, tmp_path):
    RUN[command](command, tmp_path)
