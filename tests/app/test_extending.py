"""docs/extending.md: its files in a temporary folder, and eval.py with all of them."""

import csv
import os
import re
import subprocess

import numpy as np
import pytest
from fork_server import forked_python
from made_data import REPOSITORY
from PIL import Image

from rvos.masks import encode, read_json, write_json

PAGE = REPOSITORY / "docs" / "extending.md"
MODEL = ["model=convolutions", "model.num_queries=1", "coarse.short_side=64"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's files, and a dataset in the layout of its reader: a square moves right."""
    folder = tmp_path_factory.mktemp("extending")
    blocks = re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for name, text in blocks:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    video = folder / "data" / "test" / "square"
    (video / "masks" / "0").mkdir(parents=True)
    (video / "frames").mkdir()
    (video / "sentences.txt").write_text("the red square\n")
    for t in range(4):
        mask = np.zeros((64, 96), np.uint8)
        mask[:32, :32] = 255  # exactly the first of 2 x 3 tiles
        Image.fromarray(mask).save(video / "masks" / "0" / f"{t}.png")
        Image.fromarray(np.stack([mask, mask // 2, mask // 2], -1)).save(
            video / "frames" / f"{t}.jpg"
        )
    return folder


def python(folder, *arguments):
    done = subprocess.run(
        [forked_python(), *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_one_of_each(folder):
    """Coarse masks are given by a network with the new backbone and random weights; the vote and
    the new rule are scored side by side."""
    python(
        folder,
        "-c",
        "import torch\n"
        "from my_rvos.backbones import Convolutions\n"
        "from rvos.mutr import load_model\n"
        "torch.manual_seed(0)\n"
        "model = load_model('mutr_tiny', num_queries=1,\n"
        "                   backbone='my_rvos.backbones.Convolutions')\n"
        "model.add_words(['the red square'])\n"
        "assert isinstance(model.backbone, Convolutions)\n"
        f"torch.save({{'model': model.state_dict()}}, r'{folder}/mutr.pth')\n",
    )
    out = folder / "out"
    python(
        folder,
        "eval.py",
        "--config-dir",
        folder / "my_conf",
        "data=mine",
        f"data.root={folder / 'data'}",
        "coarse=mutr_tiny",
        f"coarse.checkpoint={folder / 'mutr.pth'}",
        *MODEL,
        "masklets=tiles",
        "refine=first_frame",
        "refine.tau=0.3",
        "ablation.rules=[vote,first_frame]",
        "score=mine",
        "trainer.accelerator=cpu",
        f"paths.stores={folder / 'stores'}",
        f"output_dir={out}",
    )
    metrics = read_json(out / "metrics.json")
    assert metrics["refine"]["name"] == "first_frame" and metrics["refine"]["least"] == 1
    assert 0 <= metrics["extra"]["area_error"] <= 1 and "tIoU" in metrics["extra"]
    with open(out / "rules.csv", newline="") as file:
        rows = {row["rule"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"vote", "first_frame"}
    assert float(rows["first_frame"]["J&F"]) == pytest.approx(metrics["J&F"])
    (store,) = (folder / "stores" / "masklets").iterdir()
    assert store.name.startswith("mine-test-")
    (tracks,) = read_json(store / "square.json.gz").values()
    assert len(tracks) == 6
    assert (out / "report" / "index.html").is_file()


def write_coarse(folder):
    """Coarse masks that cover the left half of the first tile."""
    mask = np.zeros((64, 96), np.uint8)
    mask[:32, :16] = 255
    for t in range(4):
        path = folder / "coarse" / "square" / "0" / f"{t}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)


def evaluated(folder, name, *overrides):
    """metrics.json of a run on the page's dataset."""
    given = ["data=mine", f"data.root={folder / 'data'}", f"paths.stores={folder / 'stores'}"]
    given += ["masklets=tiles", "report=none", f"output_dir={folder / name}", *overrides]
    python(folder, "eval.py", "--config-dir", folder / "my_conf", *given)
    return read_json(folder / name / "metrics.json")


@pytest.mark.slow
def test_a_grid_of_the_own_rule_a_protocol_a_source_of_masks_and_an_export_format(folder):
    """The coarse masks have half of the tile; grown by 4 pixels, 20 of 32 columns and 36 rows."""
    write_coarse(folder)
    given = ["coarse=grown", f"coarse.masks.path={folder / 'coarse'}", "refine=first_frame"]
    given += ["refine.window=2", "refine.tau=0.5", "refine.least=1"]
    given += ["ablation.windows=[1,2]", "ablation.taus=[0.5,0.9]"]
    metrics = evaluated(folder, "grid", *given, "score.protocol=my_rvos.protocols.Videos")
    assert metrics["protocol"] == "videos" and metrics["J"] == 1  # f = 20 / 32 is above 0.5
    coarse = 32 * 20 / (32 * 32 + 4 * 20)  # 4 rows below the tile
    assert metrics["coarse"]["J"] == pytest.approx(coarse)
    with open(folder / "grid" / "ablation.csv", newline="") as file:
        cells = {(row["window"], row["tau"]): row for row in csv.DictReader(file)}
    assert {cells[key]["rule"] for key in cells if key[0]} == {"first_frame"}
    assert float(cells["2", "0.5"]["J"]) == 1
    assert float(cells["2", "0.9"]["J"]) == pytest.approx(coarse)  # no tile is chosen
    printed = python(folder, "-m", "rvos", "best", folder / "grid")
    assert printed == "refine=first_frame refine.least=1 refine.window=1 refine.tau=0.5\n"
    python(folder, "-m", "rvos", "export", folder / "grid", "--format", "my_rvos.formats.areas")
    assert read_json(folder / "grid" / "areas") == {"square": {"0": [1024] * 4}}


@pytest.mark.slow
def test_an_own_rule_may_have_neither_window_nor_tau(folder):
    path = folder / "my_conf" / "refine" / "alone.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("_target_: rvos.refine.KeepCoarse\nname: alone\n")
    write_coarse(folder)
    given = ["coarse=files", f"coarse.path={folder / 'coarse'}", "refine=alone"]
    given += ["ablation.rules=[vote,alone]", "report=html", "report.explorer=true"]
    metrics = evaluated(folder, "alone", *given)
    assert metrics["J"] == metrics["coarse"]["J"] and metrics["refine"] == {"name": "alone"}
    assert [row["settings"].get("window") for row in metrics["tables"]["rules"]] == [15, None]


@pytest.mark.slow
def test_an_own_presence_rule_reads_the_confidence_that_it_names(folder):
    """One clip is sure (0.9), the other not (0.25): a threshold of 0.3 empties every mask."""
    store = folder / "made" / "coarse" / "x"
    pixels = np.zeros((64, 96), bool)
    pixels[:32, :16] = True
    write_json(store / "square.json", {"0": [encode(pixels)] * 4})
    clips = [{"frames": 2, "scores": [score], "query": 0} for score in (0.9, 0.25)]
    beside = folder / "made" / "coarse_scores" / "x" / "square.json"
    write_json(beside, {"expressions": {"0": {"clips": clips}}})
    given = ["coarse=files", f"coarse.path={store}", "refine=none", "presence=worst_clip"]
    for threshold, j in ((0.25, 0.5), (0.3, 0.0)):
        name = f"threshold_{threshold}"
        metrics = evaluated(folder, name, *given, f"presence.threshold={threshold}")
        assert metrics["J"] == j
        decisions = read_json(folder / name / "decisions" / "square.json")
        assert decisions["0"]["presence"]["value"] == 0.25


@pytest.mark.slow
def test_the_dataset_and_the_metric_by_hand(folder):
    """The truth is the first tile. A coarse mask of its left half has half its area: the rule takes
    the tile (f = 1/2 > tau), J = F = 1 and the area is right; without refinement it is off by half.
    """
    write_coarse(folder)
    for rule, j, error in (("first_frame", 1.0, 0.0), ("none", 0.5, 0.5)):
        given = ["coarse=files", f"coarse.path={folder / 'coarse'}", f"refine={rule}"]
        metrics = evaluated(folder, rule, *given, "refine.tau=0.3", "score=mine")
        assert metrics["J"] == j
        assert metrics["extra"]["area_error"] == pytest.approx(error)


SOURCE = """
from pathlib import Path

from rvos.masklets import MadeMasklets
from rvos.masks import file_sha256


class Table(MadeMasklets):
    name = "table"

    def __init__(self, table, early, **settings):
        super().__init__(**settings)
        self.table, self.early = table, early

    def settings(self):
        return {"sha256": file_sha256(Path(self.table))} if self.early else {}

    def make(self, task, frames):
        open(self.table)
"""


CHOICE = """
defaults: [base, _self_]
_target_: my_rvos.table.Table
name: table
table: ${text:null}
early: true
"""


@pytest.mark.parametrize(
    "wrong, told",
    [
        ("data.root=/no/where", "/no/where/test: No such file or directory"),
        (
            "masklets.table=/a,b/x=1.json",
            "/a,b/x=1.json: cannot be read: No such file or directory",
        ),
        ("masklets.table=2024 masklets.early=false", "2024: No such file or directory"),
        ("refine=nameless", "refine: expected a key name in its file"),
    ],
)
def test_a_mistake_in_an_own_part_is_one_message(folder, tmp_path, wrong, told):
    """The reader lists a folder; the source hashes a file before the run, or opens it in `make`."""
    (folder / "my_rvos" / "table.py").write_text(SOURCE)
    (folder / "my_conf" / "masklets" / "table.yaml").write_text(CHOICE)
    (folder / "my_conf" / "refine" / "nameless.yaml").write_text(
        "_target_: rvos.refine.Vote\nwindow: 15\ntau: 0.8\n"
    )
    write_json(tmp_path / "coarse.json", {"square": {"0": [None] * 4}})
    done = subprocess.run(
        [
            forked_python(),
            "eval.py",
            *("--config-dir", str(folder / "my_conf"), "data=mine", f"data.root={folder / 'data'}"),
            *("coarse=files", f"coarse.path={tmp_path / 'coarse.json'}"),
            *("masklets=table", *wrong.split()),
            *(f"paths.stores={tmp_path / 'stores'}", f"output_dir={tmp_path / 'out'}"),
        ],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.endswith(f"error: {told}\n")
