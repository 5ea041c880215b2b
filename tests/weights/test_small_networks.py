"""`rvos weights get small` from a stand-in server; the real files where RVOS_WEIGHTS has them."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from stand_in_hub import Hub

from rvos import InputError
from rvos.app.weights import fits, get
from rvos.masks import file_sha256
from rvos.weights import provenance
from rvos.weights.table import GROUPS, WEIGHTS

ROWS = [WEIGHTS[name] for name in GROUPS["small"]]


def test_the_group_is_four_files_with_whole_hashes_and_licences():
    assert [row.files for row in ROWS] == [
        ("picodet_s_416_coco.onnx",),
        ("nanotrack_backbone_sim.onnx",),
        ("nanotrack_head_sim.onnx",),
        ("u2netp.onnx",),
    ]
    assert all(len(row.sha256 or "") == 64 and row.url and row.size for row in ROWS)
    assert sum(row.size for row in ROWS) == 10_398_481
    assert ROWS[0].licence.startswith("none stated")


@pytest.fixture
def served(monkeypatch, tmp_path):
    """The four rows with addresses of a stand-in and the hashes of what it has."""
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with Hub() as hub:
        for row in ROWS:
            content = row.name.encode() * 1000
            hub.urls[f"/{row.files[0]}"] = content
            other = replace(
                row,
                url=f"{hub.address}/{row.files[0]}",
                sha256=hashlib.sha256(content).hexdigest(),
                size=len(content),
            )
            monkeypatch.setitem(WEIGHTS, row.name, other)
        yield hub


def test_get_small_fetches_all_four_and_nothing_twice(served, tmp_path, monkeypatch):
    assert get(["small"], None, Console(quiet=True)) == 0
    names = {path.name for path in (tmp_path / "weights").glob("*.onnx")}
    assert names == {row.files[0] for row in ROWS}
    asked = len(served.requests)
    assert get(["small"], None, Console(quiet=True)) == 0
    assert len(served.requests) == asked
    monkeypatch.setattr(provenance, "file_sha256", lambda path: pytest.fail(f"{path} is read"))
    assert provenance.digest("u2netp") == WEIGHTS["u2netp"].sha256


def test_other_bytes_than_the_tables_are_refused(served, tmp_path):
    served.urls["/u2netp.onnx"] = b"another network" * 100
    with pytest.raises(InputError, match="wrong bytes: expected the hash"):
        get(["small"], None, Console(quiet=True))
    assert not (tmp_path / "weights" / "u2netp.onnx").exists()


def test_an_unknown_onnx_file_is_said(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="an ONNX file that rvos does not know"):
        fits(path)


# ------------------------------------------------------------------------ with the real files


@pytest.fixture
def real():
    folder = Path(os.environ.get("RVOS_WEIGHTS", ""))
    if not all((folder / row.files[0]).is_file() for row in ROWS):
        pytest.skip("RVOS_WEIGHTS has no small networks: their answers are left out")
    return {row.name: folder / row.files[0] for row in ROWS}


def test_the_real_files_are_those_of_the_table(real):
    assert {name: file_sha256(path) for name, path in real.items()} == {
        row.name: row.sha256 for row in ROWS
    }


def test_the_real_networks_answer(real):
    """A white disc on grey: salient, no object of COCO's that is sure; the tracker follows it."""
    from rvos.tracking.small_networks import BoxTracker, Detector, SalientObject

    def frame(x):
        y, column = np.mgrid[:200, :300]
        disc = (y - 100) ** 2 + (column - x) ** 2 < 40**2
        return np.where(disc[..., None], 255, 90).astype(np.uint8).repeat(3, axis=2)

    answer = SalientObject(real["u2netp"])(frame(150))
    assert answer.shape == (200, 300) and answer[100, 150] > 0.9 and answer[10, 10] < 0.1
    found = Detector(real["picodet_s_416_coco"])(frame(150), least_score=0.05)
    assert found.xyxy.shape == (len(found.scores), 4) and found.scores.shape[1] == 80
    tracker = BoxTracker(real["nanotrack_backbone"], real["nanotrack_head"])
    tracker.start(frame(150), np.float32([110, 60, 190, 140]))
    box, sure = tracker.follow(frame(156))
    assert np.abs(box - [116, 60, 196, 140]).max() < 12 and sure > 0.5
