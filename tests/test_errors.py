"""One family of errors, told in one place."""

import pickle
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
