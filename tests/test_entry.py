"""How entry points start."""

import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from made_data import REPOSITORY
from omegaconf import OmegaConf

from rvos.app.entry import quote_sentence

SENTENCES = [
    "the cat walking left",
    "the dog, the one that jumps",
    "the man's hat (the red one)",
    'a = b: "quoted"',
    "'already quoted'",
    "der Hund läuft über die Straße",
    "向左走的猫",
    "costs ${oc.env:HOME} or $5",
    "ends in a backslash \\",
    "costs ${5",
    "x \\${y} z",
    "x \\\\${y}",
    "null",
    "3",
    "[a, b]",
    "{a: b}",
    "",
]


def as_hydra_reads_it(argument):
    value = OverridesParser.create().parse_override(argument).value()
    return OmegaConf.create({"value": value}).value


@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentences_arrive_as_typed(sentence):
    argument = quote_sentence(f"expression={sentence}", ["expression"])
    assert as_hydra_reads_it(argument) == sentence


@given(st.text(st.characters(exclude_categories=["C"]), max_size=20))
def test_any_text_arrives_as_typed(sentence):
    argument = quote_sentence(f"expression={sentence}", ["expression"])
    assert as_hydra_reads_it(argument) == sentence


def test_other_arguments_are_left_alone():
    for argument in ("video=my, video.mp4", "-m", "expressions=file.txt", "expression"):
        assert quote_sentence(argument, ["expression"]) == argument


SCRIPT = """
from rvos.app.entry import entry_point


@entry_point("eval")
def main(cfg):
    raise PermissionError(13, "Permission denied", "/somewhere/frame.jpg")


main()
"""


def test_an_error_of_the_task_is_not_blamed_on_the_run_folder(tmp_path):
    """Only the making of the run folder is reported as such; anything else is no user's mistake."""
    (tmp_path / "task.py").write_text(SCRIPT)
    (tmp_path / "file").write_text("")
    found = []
    for folder in (tmp_path / "out", tmp_path / "file" / "out"):
        command = [sys.executable, str(tmp_path / "task.py"), f"output_dir={folder}"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 1
        found.append(done.stderr)
    assert "Traceback" in found[0] and "output_dir:" not in found[0]
    assert found[1].startswith("error: output_dir: cannot write to") and "Traceback" not in found[1]
