"""Files that would run code or write elsewhere are refused, and nothing of it happens."""

import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from fork_server import forked_python
from made_data import REPOSITORY
from made_mevis import EXPRESSIONS, MASKS, write_split

from rvos import InputError
from rvos.data.mevis import Annotations, read_split
from rvos.masks import read_json, write_json
from rvos.report.submission import check
from rvos.stages.run_folder import read_settings


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def mark(tmp_path):
    """A path that must not come to be."""
    yield tmp_path / "code-was-run"
    assert not (tmp_path / "code-was-run").exists()


def evil_checkpoints(folder, mark):
    """A checkpoint in PyTorch's two forms, and a plain pickle."""
    import torch

    content = {"model": {"x": torch.zeros(1)}, "more": Evil(mark)}
    torch.save(content, folder / "zip.pth")
    torch.save(content, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    (folder / "plain.pth").write_bytes(pickle.dumps({"model": Evil(mark)}))
    return [folder / f"{name}.pth" for name in ("zip", "legacy", "plain")]


def test_the_checkpoints_would_run_code(tmp_path):
    """The test's own files do what they should where they are trusted."""
    import torch

    for path in evil_checkpoints(tmp_path, tmp_path / "made"):
        if path.stem != "plain":
            torch.load(path, weights_only=False)
            (tmp_path / "made").rmdir()


def test_weights_run_no_code(tmp_path, mark):
    from rvos.tracking.sam2_weights import read_meta_file
    from rvos.weights.tensors import read_state

    for path in evil_checkpoints(tmp_path, mark):
        for read in (read_state, read_meta_file):
            with pytest.raises(InputError, match=path.name):
                read(path)


STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
TENSOR = REBUILD + b"(" + STORAGE + b"K\0K\x04\x85K\x01\x85\x89NtR"  # four float32
HIDDEN = {  # pickles behind names that are allowed, or that only look harmless
    "tensor beyond its storage": REBUILD + b"(" + STORAGE + b"K\0K\x05\x85K\x01\x85\x89NtR",
    "offset beyond it": REBUILD + b"(" + STORAGE + b"M\0\x10K\x04\x85K\x01\x85\x89NtR",
    "negative offset": REBUILD + b"(" + STORAGE + b"J\xff\xff\xff\xffK\x04\x85K\x01\x85\x89NtR",
    "negative stride": REBUILD + b"(" + STORAGE + b"K\0K\x02\x85J\xff\xff\xff\xff\x85\x89NtR",
    "storage that is none": REBUILD + b"(K\x01K\0K\x04\x85K\x01\x85\x89NtR",
    "storage too large": REBUILD
    + b"("
    + STORAGE.replace(b"K\x04tQ", b"J\xff\xff\xff\x7ftQ")
    + b"K\0K\x04\x85K\x01\x85\x89NtR",
    "storage elsewhere": REBUILD
    + b"("
    + STORAGE.replace(b"X\x01\0\0\x000", b"X\x0c\0\0\0../../passwd")
    + b"K\0K\x04\x85K\x01\x85\x89NtR",
    "rebuilt by os.mkdir": b"ctorch._tensor\n_rebuild_from_type_v2\n"
    b"(cposix\nmkdir\nctorch\nTensor\n(X%MARKtNtR",
    "function replaced": b"(" + REBUILD + b"}X\x08\0\0\0__code__K\x01sb" + TENSOR + b"l",
    "function's defaults": b"(" + REBUILD + b"N}X\x0c\0\0\0__defaults__K\x01s\x86b" + TENSOR + b"l",
    "dtype's state": b"ctorch\nfloat32\n}X\x01\0\0\0aK\x01sb",
    "tensor's state": TENSOR + b"(K\x01K\x02K\x03K\x04tb",
    "tensor's hooks": TENSOR + b"(NK\0K\x04\x85K\x01\x85}tb",
    "memo of four billion": b"K\x01r\xff\xff\xff\xff",
    "memo in decimal": b"K\x01p4294967295\n",
    "other persistent id": b"X\x04\0\0\0fileQ",
    "persistent id of a file": b"(X\x04\0\0\0fileX%MARKtQ",
    "dotted name": b"\x8c\x05torch\x8c\x10storage.os.mkdir\x93X%MARK\x85R",
    "dotted name of a dtype": b"\x8c\x05torch\x8c\x11float32.__class__\x93X%MARK\x85R",
    "eval": b"cbuiltins\neval\nX\x09\0\0\0open('x')\x85R",
    "eval of Python 2": b"c__builtin__\neval\nX\x09\0\0\0open('x')\x85R",
    "getattr of what is allowed": b"cbuiltins\ngetattr\n(" + REBUILD + b"X\x0b\0\0\0__globals__tR",
    "torch.load": b"ctorch\nload\nX%MARK\x85R",
    "stand-in called again": b"cargparse\nNamespace\n)RX%MARK\x85RX%MARK\x85R",
    "stand-in's class changed": b"cargparse\nNamespace\n}X\x08\0\0\0__call__K\x01sb",
    "stand-in's state": b"cargparse\nNamespace\n)\x81}X\x0c\0\0\0__setstate__cposix\nmkdir\nsb",
    "mapping's methods": b"ccollections\nOrderedDict\n)R}X\x05\0\0\0itemsK\x01sb",
    "old instance": b"(X%MARKios\nmkdir\n",
    "extension code": b"\x82\x01",
    "huge text": b"\x8d\xff\xff\xff\xff\xff\xff\xff\x00",
}


def hostile_files(folder, name, body, mark):
    """`{"model": {"x": a tensor}, "more": body}` in PyTorch's two forms, written by hand."""
    path = str(mark).encode()
    body = body.replace(b"X%MARK", b"X" + len(path).to_bytes(4, "little") + path)
    head = b"\x80\x02}(X\x05\0\0\0model}X\x01\0\0\0x" + TENSOR + b"sX\x04\0\0\0more"
    content = head + body + b"u."
    values = np.arange(4, dtype=np.float32).tobytes()
    with zipfile.ZipFile(folder / "zip.pth", "w") as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/data/0", values)
        archive.writestr("x/version", "3")
    start = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": sys.byteorder == "little"}]
    (folder / "legacy.pth").write_bytes(
        b"".join(pickle.dumps(part, 2) for part in start)
        + content
        + pickle.dumps(["0"], 2)
        + (4).to_bytes(8, "little")
        + values
    )
    return folder / "zip.pth", folder / "legacy.pth"


@pytest.mark.parametrize("name", HIDDEN)
def test_pickles_that_hide_behind_allowed_names(tmp_path, mark, name):
    """Each is refused with one line, or is harmless: then the tensor beside it is read."""
    import torch

    from rvos.weights.tensors import read_state

    rebuild = torch._utils._rebuild_tensor_v2
    before = (rebuild.__code__, rebuild.__defaults__, dict(rebuild.__dict__))
    for path in hostile_files(tmp_path, name, HIDDEN[name], mark):
        try:
            found = read_state(path)
        except InputError as error:
            assert path.name in str(error) and "\n" not in str(error)
        else:
            assert name in HARMLESS
            assert torch.equal(found["x"], torch.arange(4.0))
    assert (rebuild.__code__, rebuild.__defaults__, dict(rebuild.__dict__)) == before


HARMLESS = {  # nothing but stand-ins
    "torch.load",
    "stand-in called again",
    "mapping's methods",
    "dotted name",
    "dotted name of a dtype",
}


def test_a_hostile_file_is_called_so(tmp_path, mark):
    from rvos.weights.tensors import read_state

    for path in evil_checkpoints(tmp_path, mark)[:2]:
        with pytest.raises(InputError, match=r"refused: it names '\w+.mkdir', which is no part of"):
            read_state(path)


def test_resuming_runs_no_code(tmp_path, mark):
    write_split(tmp_path / "data")
    path = evil_checkpoints(tmp_path, mark)[0]
    done = subprocess.run(
        [forked_python(), "train.py", "data=synthetic", f"data.root={tmp_path / 'data'}"]
        + ["model=mutr_tiny", "data.split=train", "data.val_split=null", "trainer.accelerator=cpu"]
        + [f"ckpt_path={path}", f"output_dir={tmp_path / 'out'}", "data.num_workers=0"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and path.name in done.stderr
    assert "Traceback" not in done.stderr


def test_an_index_beside_the_data_runs_no_code(tmp_path, mark):
    """It is built anew; so is one that is damaged."""
    split = read_split(write_split(tmp_path), "train")
    whole = Annotations(split).track("0")
    folder = tmp_path / "train" / ".rvos_index" / "masks"
    for file, content in (
        ("offsets.npy", np.array([Evil(mark)], object)),
        ("offsets.npy", np.arange(3)),
        ("counts.bin", None),
        ("tracks.json", None),
    ):
        if content is None:
            data = (folder / file).read_bytes()
            (folder / file).write_bytes(data[: len(data) // 2])
        else:
            np.save(folder / file, content, allow_pickle=True)
        assert Annotations(split).track("0") == whole == MASKS["0"]


def test_yaml_runs_no_code(tmp_path, mark):
    text = f"config: !!python/object/apply:os.mkdir [{mark}]\n"
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=r"config.yaml: not the settings of a run"):
        read_settings(tmp_path)
    (tmp_path / "sweep.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "rvos", "sweep", str(tmp_path / "sweep.yaml")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "not valid YAML" in done.stderr


NAMES = ["..", "../x", "/etc/passwd", "a/../../x", "a\\..\\x", "x\0.png", "", ".", "a\nb"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["video", "frame", "expression"])
def test_names_in_a_meta_file_stay_in_their_folder(tmp_path, what, name):
    write_split(tmp_path)
    path = tmp_path / "train" / "meta_expressions.json"
    meta = read_json(path)
    video = meta["videos"]["cat"]
    if what == "video":
        meta["videos"] = {name: video}
    elif what == "frame":
        video["frames"][2] = name
    else:
        video["expressions"] = {name: EXPRESSIONS["0"]}
    write_json(path, meta)
    with pytest.raises(InputError, match="expected a name that can be a file's"):
        read_split(tmp_path, "train")


@pytest.mark.parametrize("name", ["../x.png", "{root}/x.png", "cat/../../x.png", "..\\x.png"])
def test_entries_of_a_zip_are_read_in_place(tmp_path, monkeypatch, name):
    """Wherever they would be unpacked to, beside the zip or from the working folder, is watched."""
    split = read_split(write_split(tmp_path), "train")
    path = tmp_path / "zips" / "inside" / "x.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name.format(root=tmp_path), b"x")
    monkeypatch.chdir(path.parent)
    before = {p for p in tmp_path.rglob("*")}
    with pytest.raises(InputError, match="x.zip"):
        check(path, split)
    assert {p for p in tmp_path.rglob("*")} == before
