"""W&B logging of a finished run, offline: no account, no network."""

import json
import os
import shutil
import subprocess

import pytest
from fork_server import forked_python
from made_data import REPOSITORY
from PIL import Image

from rvos import InputError, preset
from rvos.report import NoPage
from rvos.report.dashboard import log_evaluation, scores
from rvos.report.metrics import Metrics
from rvos.report.run import Run


class Spy:
    """A W&B run that remembers what was logged."""

    def __init__(self, run):
        self.run, self.logged, self.finished = run, {}, False

    def __getattr__(self, name):
        return getattr(self.run, name)

    def log(self, values):
        self.logged |= values
        self.run.log(values)

    def finish(self):
        self.finished = True
        self.run.finish()


@pytest.fixture
def spies(monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    started, init = [], wandb.init

    def spying(**settings):
        started.append((Spy(init(**settings)), settings))
        return started[-1][0]

    monkeypatch.setattr(wandb, "init", spying)
    return started


WANDB = {"project": "rvos", "group": "refine_window", "name": None, "id": None}


def log(folder, page, save_dir):
    return log_evaluation(folder, page, **WANDB, save_dir=str(save_dir))


def test_scores_tables_overlays_and_config(tiny, make_page, tmp_path, spies):
    run_id = log(tiny.run, make_page(strips=3, frames=2, width=40), tmp_path)
    (spy, settings) = spies[0]
    assert spy.finished and run_id == spy.id
    assert settings["group"] == "refine_window" and settings["job_type"] == "eval"
    assert settings["config"]["refine"]["window"] == 6  # what panels compare by
    run = Run.read(tiny.run)
    before, after = run.metrics.coarse.summary.JF, run.metrics.refined.summary.JF
    assert spy.logged["refined/JF"] == after
    gain = after - before
    assert spy.logged["gain/JF"] == pytest.approx(gain)
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media")
    tables = {
        str(path.relative_to(media / "table")).split("_")[0]: json.loads(path.read_text())
        for path in media.glob("table/**/*.json")
    }
    assert len(tables["expressions"]["data"]) == len(run.expressions) == 12
    assert [row[:2] for row in tables["ablation/vote"]["data"]] == [
        [None, None],
        [1, 0.5],
        [1, 0.8],
        [6, 0.5],
        [6, 0.8],
    ]
    sizes = sorted(Image.open(path).size for path in media.glob("images/overlays_*.png"))
    assert sizes == [(84, 72)] * 3  # two frames of 40 x 24 with a gap, three rows
    assert list(media.glob("images/heat_map/vote_*.png"))


def test_a_run_without_a_page_has_no_overlays(tiny, tmp_path, spies):
    settings = {key: preset("report", "none")[key] for key in ("resamples", "confidence", "seed")}
    log(tiny.other, NoPage(**settings), tmp_path)
    assert "refined/JF" in spies[0][0].logged and "overlays" not in spies[0][0].logged


def test_thresholds_of_presence_are_a_table_and_a_curve(run_tiny, tmp_path, spies):
    """Three expressions of each video have a mask in all frames, "3" has none at all."""
    settings = {key: preset("report", "none")[key] for key in ("resamples", "confidence", "seed")}
    given = ["presence=share_of_frames", "ablation=presence", "ablation.thresholds=[1.0,0.5]"]
    folder = run_tiny(tmp_path / "run", "report=none", *given)
    log(folder, NoPage(**settings), tmp_path)
    logged = spies[0][0].logged
    assert [row[:3] for row in logged["presence/vote"].data] == [[1, 1, 1], [0.5, 1, 1]]
    curve = logged["presence_curve/vote"].table.data  # step, line, value: by line, by threshold
    assert len(curve) == 4 * 2
    assert {tuple(row) for row in curve} >= {
        *((0.5, "N-acc", 100), (1.0, "N-acc", 100), (0.5, "T-acc", 100), (1.0, "T-acc", 100))
    }


def test_a_run_is_finished_when_logging_fails(tiny, make_page, tmp_path, spies):
    folder = tmp_path / "run"
    shutil.copytree(tiny.run, folder)
    (folder / "inputs" / "one.json.gz").unlink()
    with pytest.raises(InputError, match="inputs/one.json.gz"):
        log(folder, make_page(), tmp_path)
    assert spies[0][0].finished


def test_without_an_account_a_run_says_so_before_it_works(made_data, tmp_path):
    """W&B itself would end a run that has done all its work, with a traceback."""
    names = os.environ.keys() - {"WANDB_MODE", "WANDB_API_KEY"}
    env = {name: os.environ[name] for name in names} | {"HOME": str(tmp_path)}
    command = [forked_python(), "eval.py", *made_data.write(), "logger=wandb"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=env)
    assert done.returncode == 1 and done.stderr.startswith("error: logger=wandb: No API key")
    assert "WANDB_MODE=offline" in done.stderr and not (tmp_path / "out" / "videos").exists()


def test_scores_have_the_keys_that_sweeps_optimise():
    """Of a file that an older release wrote, too."""
    content = {
        "J": 0.5,
        "F": 0.7,
        "J&F": 0.6,
        "num_expressions": 1,
        "num_frames": 3,
        "split": "valid_u",
        "coarse": {"J": 0.4, "F": 0.6, "J&F": 0.5},
        "refine": {"name": "vote"},
        "extra": {"tIoU": 0.9},
    }
    logged = scores(Metrics.of(content))
    assert logged["refined/JF"] == 0.6 and logged["extra/tIoU"] == 0.9
    answers = {"N-acc": 0.5, "T-acc": 1.0, "Final": {"all": 0.7, "target": 0.8}}
    logged = scores(Metrics.of(content | answers))
    assert logged["refined/N-acc"] == 0.5 and logged["refined/Final (target)"] == 0.8
