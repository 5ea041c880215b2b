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
    from rvos.mutr.checkpoint import read_state
    from rvos.tracking.sam2_weights import read_meta_file

    for path in evil_checkpoints(tmp_path, mark):
        for read in (read_state, read_meta_file):
            with pytest.raises(InputError, match=path.name):
                read(path)


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
