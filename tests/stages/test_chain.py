"""From videos and sentences to scores and a submission, every stage killed once on the way: the
files in the end are those of a chain that nobody disturbed, on any number of processes."""

import hashlib
import os
import signal
import subprocess
import time

import pytest
from fork_server import forked_python
from made_data import REPOSITORY, small_synthetic

from rvos.masks import read_json

pytestmark = pytest.mark.slow
MODEL = [
    "data=synthetic",
    "model=mutr_tiny",
    "model.num_queries=1",
    "model.hidden_dim=32",
    "coarse.short_side=64",
    "trainer.accelerator=cpu",
]
TRAIN = [
    *MODEL,
    "data.clip.num_frames=2",
    "data.clip.resizing.short_sides=[64]",
    "data.clip.resizing.max_long_side=96",
    "data.clip.resizing.crop_probability=0",
    "data.clip.plain_short_side=64",
    "data.val_split=null",
    "data.num_workers=1",
    "trainer.max_steps=6",
    "trainer.limit_train_batches=6",
    "score.max_videos=1",
    "callbacks.last.every_n_steps=2",
    "callbacks.best=null",
]
# stage -> what is there, under the run folder or the stores, soon after it has begun to write
BEGUN = {
    "coarse": "stores/coarse/*/*.json.gz",
    "masklets": "stores/masklets/*/*.json.gz",
    "refine": "run/refined/*.json.gz",
    "report": "run/metrics.json",
    "submission": "run/report/index.html",
}


class Chain:
    """Training, then all stages of eval.py on two processes, in a folder of its own."""

    def __init__(self, folder, data):
        self.folder, self.data = folder, data
        folder.mkdir()

    def train(self, *more):
        return self.command("train", *TRAIN, f"output_dir={self.folder / 'train'}", *more)

    def evaluate(self, *more):
        return self.command(
            "eval",
            *MODEL,
            "coarse=mutr_tiny",
            "masklets=flow",
            "submission=true",
            f"coarse.checkpoint={self.folder / 'train/mutr.pth'}",
            "trainer.devices=2",
            f"paths.stores={self.folder / 'stores'}",
            f"output_dir={self.folder / 'run'}",
            *more,
        )

    def command(self, program, *arguments):
        return [forked_python(), f"{program}.py", f"data.root={self.data}", *arguments]

    def files(self):
        """SHA-256 of masks, decisions, scores, submission and weights. (The report's page and
        config.yaml name the folder they lie in.)"""
        made = [p for p in self.folder.rglob("*") if p.is_file()]
        kept = [
            p
            for p in made
            if p.suffix in {".gz", ".json", ".csv", ".zip"}
            and "train" not in p.relative_to(self.folder).parts
        ]
        kept.append(self.folder / "train/mutr.pth")
        return {
            str(p.relative_to(self.folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in kept
        }


def run(command):
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def kill_once(command, folder, pattern):
    """Start it, and SIGKILL it and its workers as soon as a file of `pattern` is there."""
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not any(folder.glob(pattern)):
        assert process.poll() is None, process.stderr.read()[-3000:]
        assert time.monotonic() < deadline, f"no {pattern}"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain") / "data"
    small_synthetic(folder, num_videos={"train": 2, "valid_u": 6}, seed=5)
    return folder


@pytest.fixture(scope="module")
def undisturbed(data):
    chain = Chain(data.parent / "undisturbed", data)
    run(chain.train())
    run(chain.evaluate())
    return chain


def test_the_chain(undisturbed):
    metrics = read_json(undisturbed.folder / "run/metrics.json")
    assert metrics["num_frames"] == 8 * metrics["num_expressions"] > 0
    assert (undisturbed.folder / "run/report/index.html").stat().st_size > 10_000
    archive = undisturbed.folder / "run/submission.zip"
    run(
        [
            forked_python(),
            "-m",
            "rvos",
            "submission",
            "check",
            archive,
            "--root",
            undisturbed.data,
            "--split",
            "valid_u",
        ]
    )


def test_killed_once_in_every_stage(undisturbed, data):
    killed = Chain(data.parent / "killed", data)
    kill_once(killed.train(), killed.folder, "train/checkpoints/last.ckpt")
    assert not (killed.folder / "train/mutr.pth").exists()
    run(killed.train("ckpt_path=last"))
    for stage, pattern in BEGUN.items():
        devices = 2 if stage == "coarse" else 1
        kill_once(killed.evaluate(f"trainer.devices={devices}"), killed.folder, pattern)
        assert not (killed.folder / "run/submission.zip").exists(), stage
    run(killed.evaluate("trainer.devices=1"))
    assert killed.files() == undisturbed.files()
    runs = [chain.folder / "run" for chain in (undisturbed, killed)]
    printed = run([forked_python(), "-m", "rvos", "compare", *runs])
    assert "J&F is higher in B for 0 expressions, lower for 0" in printed
