"""Where nothing can be written: every command says the path and the reason in one line.

On a full disk, in a folder of the system, into a file, over a folder, under a name that no file can
have. The file that was there before stays as it was.
"""

import errno
import os
import re
import resource
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from commands import command
from made_data import small_synthetic

from rvos.errors import one_message
from rvos.masks import read_json, write_json
from rvos.masks.draw import write_video
from rvos.masks.files import whole_or_not_at_all

main = command()


@pytest.fixture
def disk(tmp_path):
    """A disk and what fills it but for 4 kB; who may not mount one gets a limit of files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        if mounted.returncode:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        else:
            (folder / "other").write_bytes(bytes(shutil.disk_usage(folder).free - 4096))

    try:
        yield folder, fill
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    yield tmp_path / "folder"
    assert not list((tmp_path / "folder").iterdir())


@contextmanager
def in_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    yield tmp_path / "file" / "x"
    assert (tmp_path / "file").read_text() == "mine"


@contextmanager
def the_systems(tmp_path):
    yield Path("/sys/x")  # not even root may


@contextmanager
def a_long_name(tmp_path):
    yield tmp_path / ("n" * 256)


PLACES = (a_folder, in_a_file, the_systems, a_long_name)


def checkpoint(out):
    """What a training does at its end, and in between."""
    torch = pytest.importorskip("torch")
    from rvos.weights.tensors import write_content

    with one_message():
        write_content(out, {"model": {"a": torch.zeros(20_000)}})


def video(out):
    pytest.importorskip("av")
    frames = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    with one_message():
        write_video(out, frames, 10)


WRITERS = {
    "export png": lambda tiny, out: ["export", tiny.run, "--format", "png", "--out", out],
    "export rle": lambda tiny, out: ["export", tiny.run, "--format", "rle", "--out", out],
    "export ytvis": lambda tiny, out: ["export", tiny.run, "--format", "ytvis", "--out", out],
    "compare": lambda tiny, out: ["compare", tiny.run, tiny.other, "--page", out],
    "answer": lambda tiny, out: ["answer", tiny.run, "--oracle", "--out", out],
    "score json": lambda tiny, out: [*of_score(tiny), "--json", out],
    "score csv": lambda tiny, out: [*of_score(tiny), "--csv", out],
    "submission": lambda tiny, out: [
        *("submission", "pack", tiny.run / "refined", out),
        *("--root", tiny.data, "--split", "tiny"),
    ],
    "checkpoint": checkpoint,
    "video": video,
}


def of_score(tiny):
    masks = tiny.run / "refined"
    return "score", "--truth", tiny.data / "tiny", "--masks", masks, "--resamples", "10"


def write(tiny, writer, out):
    """The exit status of a writer."""
    if writer in (checkpoint, video):
        try:
            writer(out)
        except SystemExit as end:
            return end.code
        return 0
    return main([*map(str, writer(tiny, out))])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", WRITERS)
def test_one_line_where_nothing_can_be_written(tiny, tmp_path, name, place, capsys):
    with place(tmp_path) as out:
        assert write(tiny, WRITERS[name], out) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: {out}: ") and said.count("\n") == 1


FITS = {"answer", "score json", "score csv"}  # into 4 kB


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(tiny, disk, name, capsys):
    """What was there before stays; a file that fits is written."""
    folder, fill = disk
    (folder / "x").write_text("before")
    fill()
    if name in FITS:
        assert write(tiny, WRITERS[name], folder / "x") == 0
        assert (folder / "x").stat().st_size > 6
    else:
        assert write(tiny, WRITERS[name], folder / "x") == 1
        assert is_told(capsys.readouterr().err, folder / "x")
        assert (folder / "x").read_text() == "before"
    assert {path.name for path in folder.iterdir()} <= {"x", "other"}


def is_told(said, path):
    """One line: the path, the reason, and what stays valid."""
    reason = r"(No space left on device\. What is finished stays valid; .*|File too large)"
    return re.fullmatch(rf"error: {re.escape(str(path))}\S*: {reason}\n", said)


@pytest.mark.parametrize("name", ["merge", "report", "ask"])
def test_a_run_on_a_full_disk(tiny, disk, name, capsys):
    folder, fill = disk
    shutil.copytree(tiny.run, folder / "run")
    masklets = read_json(folder / "run" / "masklets.json")
    write_json(
        folder / "run" / "masklets.json", masklets | {"path": str(tiny.data / "masklets.json")}
    )
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    fill()
    assert main([name, str(folder / "run")]) == 1
    assert is_told(capsys.readouterr().err, folder / "run")
    assert all(p.read_bytes() == content for p, content in before.items())


def test_an_evaluation_on_a_full_disk(made_data, run_eval, disk):
    folder, fill = disk
    fill()
    status, said = run_eval([*made_data.write(), f"output_dir={folder / 'run'}"])
    assert status == 1 and said.count("\n") == 1
    assert re.search(rf"{folder}/run\S*.*: (No space left on device|File too large)", said)


def test_synthetic_videos_on_a_full_disk(disk):
    folder, fill = disk
    fill()
    with pytest.raises(OSError, match=f"{folder}/out/train/JPEGImages/.*jpg") as error:
        small_synthetic(folder / "out", num_videos={"train": 2, "valid_u": 0, "valid": 0})
    assert error.value.errno in (errno.ENOSPC, errno.EFBIG)


@pytest.mark.parametrize("count", [241, 250, 255])
@pytest.mark.parametrize("name", WRITERS)
def test_names_of_241_bytes_and_more(tiny, tmp_path, name, count):
    out = tmp_path / ("é" * (count // 2) + "n" * (count % 2))
    assert write(tiny, WRITERS[name], out) == 0 and out.stat().st_size > 0


def test_pipes_and_devices_are_written_and_never_replaced(tmp_path):
    """`--csv /dev/stdout`, `--json >(jq .)` and `--out /dev/null`, also of root."""
    os.mkfifo(tmp_path / "x")
    read, written = os.pipe()
    for end, path in (
        (os.open(tmp_path / "x", os.O_RDONLY | os.O_NONBLOCK), tmp_path / "x"),
        (read, Path(f"/dev/fd/{written}")),
    ):
        write_json(path, {"J": 1})
        assert os.read(end, 100) == b'{"J":1}'
    assert (tmp_path / "x").is_fifo() and [p.name for p in tmp_path.iterdir()] == ["x"]
    write_json(Path("/dev/null"), {})
    assert Path("/dev/null").is_char_device()


def test_a_disk_without_permissions_and_hard_links(tmp_path, monkeypatch):
    """exFAT, and what other systems' disks are mounted as."""

    def refused(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for name in ("chmod", "link", "symlink"):
        monkeypatch.setattr(os, name, refused)
    with whole_or_not_at_all(tmp_path / "x") as file:
        file.write(b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"whole"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOENT])
def test_marks_that_a_disk_takes_in_no_name_are_said(tmp_path, monkeypatch, number, capsys):
    def refused(*_, **__):
        raise OSError(number, "no")

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(SystemExit, match="1"), one_message():
        write_json(tmp_path / "what: a cat?.json", {})
    said = capsys.readouterr().err
    assert said.endswith("; exFAT, NTFS and shared drives take no : ? in a name\n")


def test_an_evaluation_without_permissions_and_hard_links(made_data, run_eval, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for name in ("chmod", "link", "symlink"):
        monkeypatch.setattr(os, name, refused)
    assert run_eval(made_data.write()) == (0, "")
    assert (made_data.root / "out" / "metrics.json").is_file()
