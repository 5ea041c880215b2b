"""The doctor's findings on machines made for the test."""

import errno
import importlib.metadata
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from rvos.app.doctor import findings, main
from rvos.masks import find_json, write_json


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with one split of a data set and one weight file."""
    monkeypatch.setenv("RVOS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path / "weights"))
    split = tmp_path / "data" / "mevis" / "valid_u"
    write_json(split / "meta_expressions.json.gz", {"videos": {}})
    write_json(split / "mask_dict.json", {})
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "mutr.pth").write_bytes(b"\0" * 2**20)
    return tmp_path


def found():
    return {finding.what: finding for finding in findings()}


def test_packages_data_and_weights(machine):
    by_name = found()
    assert by_name["numpy"].state == "ok"
    assert by_name["numpy"].detail == importlib.metadata.version("numpy")
    assert by_name["data mevis/valid_u"].detail.startswith("expressions, ground truth; no JPEG")
    assert by_name["weights mutr.pth"].detail == "1 MiB"
    assert "CPU" in by_name and "H.264" in by_name
    assert by_name["demo's weights"].state == "ok"


def test_a_closed_folder_hides_no_other(machine, monkeypatch):
    """By a stand-in for the file system's refusal, since root may read all."""
    iterdir = Path.iterdir

    def refusing(folder):
        if folder.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return iterdir(folder)

    for above in ("data", "data/mevis", "weights"):
        (machine / above / "closed").mkdir()
    monkeypatch.setattr(Path, "iterdir", refusing)
    monkeypatch.setattr(
        "rvos.app.doctor.find_json",
        lambda path: next(path.parent.iterdir(), None) and find_json(path),
    )
    by_name = found()
    for name in ("data closed", "data mevis/closed", "weights closed"):
        assert by_name[name].detail.endswith("closed cannot be read: Permission denied")
    for name in ("data mevis/valid_u", "weights mutr.pth", "demo's weights"):
        assert by_name[name].state == "ok"


def test_every_package_once(machine):
    names = [finding.what for finding in findings()]
    assert len(names) == len(set(names))


def test_nothing_there_says_what_to_do(machine, monkeypatch):
    monkeypatch.setenv("RVOS_DATA", str(machine / "nowhere"))
    monkeypatch.setenv("RVOS_WEIGHTS", str(machine / "nowhere"))
    by_name = found()
    assert by_name["data"].state == "absent" and "docs/data.md" in by_name["data"].detail
    assert by_name["weights"].state == "absent" and "RVOS_WEIGHTS" in by_name["weights"].detail


def test_missing_packages(machine, monkeypatch, capsys):
    """A missing package of the core is an error, one of an extra is not."""
    version = importlib.metadata.version

    def pretended(name):
        if name in ("ijson", "timm"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", pretended)
    by_name = found()
    assert by_name["ijson"].state == "needed" and "pip install" in by_name["ijson"].detail
    assert by_name["timm"].state == "absent" and "training" in by_name["timm"].detail
    assert main([]) == 1
    assert "MISSING  ijson" in capsys.readouterr().out


def test_a_working_machine_ends_with_status_0(machine, capsys):
    assert main([]) == 0
    assert "MISSING" not in capsys.readouterr().out


@pytest.mark.parametrize("free, status", [(64 << 20, "absent"), (2 << 30, "ok")])
def test_little_shared_memory_is_named(machine, monkeypatch, free, status):
    usage = SimpleNamespace(total=4 << 30, used=0, free=free)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    finding = found()["/dev/shm"]
    assert finding.state == status and f"{free >> 20} MiB free" in finding.detail
    assert ("--shm-size" in finding.detail) == (status == "absent")


def test_data_as_mevis_v2_is_released(machine):
    split = machine / "data" / "v2" / "train"
    write_json(split / "meta_expressions_v2.json", {"videos": {}})
    (split / "JPEGImages.tar").write_bytes(b"")
    assert found()["data v2/train"].detail == "expressions, images"


@pytest.mark.parametrize("there", [("chromium", "chromedriver"), ("chromium",), ()])
def test_chromium_needs_its_driver(machine, monkeypatch, there):
    """As the Makefile asks before it starts the tests of pages."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in there else None)
    finding = found()["Chromium"]
    lacking = [name for name in ("chromium", "chromedriver") if name not in there]
    assert finding.state == ("absent" if lacking else "ok")
    assert all(f"no {name}" in finding.detail for name in lacking)
