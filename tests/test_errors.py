"""One family of errors, told in one place."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from rvos import Checks, InputError, SettingsError
from rvos.errors import FileError, MaskError, one_message
from rvos.masks import file_sha256, read_json


@pytest.mark.parametrize("kind", [InputError, FileError, MaskError])
def test_every_kind_is_told_and_travels_between_processes(kind, capsys):
    with pytest.raises(SystemExit, match="1"), one_message():
        raise pickle.loads(pickle.dumps(kind("x.json: expected masks")))
    assert capsys.readouterr().err == "error: x.json: expected masks\n"


def test_a_path_that_the_system_refuses_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"), one_message():
        open(tmp_path / "none")
    assert capsys.readouterr().err == f"error: {tmp_path}/none: No such file or directory\n"


def test_a_name_that_is_no_text_is_told_at_the_start(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["rvos", "export", "run", "--out", "caf\udce9.json"])
    with pytest.raises(SystemExit, match="1"), one_message():
        raise AssertionError("the work begins")
    said = capsys.readouterr().err
    assert said.startswith(r"error: 'caf\udce9.json': it cannot be written as UTF-8; rename it")


def test_a_folder_of_the_environment_that_is_no_text_is_told_too(monkeypatch, capsys):
    monkeypatch.setenv("RVOS_RUNS", "caf\udce9")
    with pytest.raises(SystemExit, match="1"), one_message():
        raise AssertionError("the work begins")
    assert r"'caf\udce9': it cannot be written" in capsys.readouterr().err


def test_what_a_terminal_cannot_show_is_escaped(monkeypatch):
    """As with LANG=C in a batch job: the results are there, so a print must not end the program."""
    shown = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, encoding="ascii"))
    with one_message():
        print("the café", flush=True)
    assert shown.getvalue() == rb"the caf\xe9" + b"\n"


@pytest.mark.parametrize(
    "error, told",
    [
        (KeyboardInterrupt(), "The same command makes what is missing."),
        (KeyboardInterrupt("Add a=b."), "Add a=b."),
        (AttributeError("x"), "The same command makes what is missing. (AttributeError: x)"),
        (
            OSError(28, "No space left on device", "last.ckpt"),
            "The same command makes what is missing.\nerror: last.ckpt: No space left on device. "
            "What is finished stays valid; start again to go on",
        ),
        (InputError("wrong"), "The same command makes what is missing.\nerror: wrong"),
    ],
)
def test_ctrl_c_is_one_line_and_what_fails_meanwhile_another(error, told, capsys):
    """OmegaConf makes an AttributeError of it, where it comes at an odd moment."""
    with pytest.raises(SystemExit, match="130"), one_message():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise error  # noqa: B904
    assert capsys.readouterr().err == f"\nStopped by Ctrl-C. {told}\n"


def test_matplotlib_says_nothing_at_its_first_start(tmp_path):
    """Of a home folder that cannot be made, and of the fonts that it looks for."""
    program = (
        "import logging; from rvos.errors import one_message; logging.basicConfig(level='INFO')\n"
        "with one_message(): import matplotlib.font_manager"
    )
    (tmp_path / "home").write_text("")
    environment = os.environ | {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    environment.pop("MPLCONFIGDIR", None)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), OSError(28, "No space left")])
def test_anything_else_keeps_its_traceback(error):
    with pytest.raises(type(error)), one_message():
        raise error


def test_all_wrong_files_are_told_together():
    """Siblings fail alike: each reader of a missing file gives an error that `Checks` collects."""
    with pytest.raises(SettingsError) as told, Checks() as check:
        check(file_sha256, Path("/no/a"))
        check(read_json, Path("/no/b.json"))
    assert told.value.problems == (
        "/no/a: cannot be read: No such file or directory",
        "/no/b.json: cannot be read: No such file or directory",
    )
