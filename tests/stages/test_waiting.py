"""Two processes of a trainer whose group gives up after seconds: who has nothing to do waits."""

import subprocess
import time

from fork_server import forked_python
from made_data import REPOSITORY

WORKER = """
import sys, time
from datetime import timedelta
from pathlib import Path

import pytorch_lightning as pl
from torch.distributed import distributed_c10d

from rvos.data.split import Expression, Split, Video
from rvos.stages.lightning import TrainerDevices
from rvos.stages.runner import Stage, run_stage
from rvos.stages.store import Stores

folder = Path(sys.argv[1])
names = sys.argv[2].split(",")


class Slow(Stage):
    name, reads_frames = "slow", False

    def __init__(self, store):
        self.store = store

    def missing(self, video):
        return not self.store.has(video.name)

    def make(self, video, content, advance):
        time.sleep(12 if video.name == "long" else 0)
        return {"rank": trainer.global_rank}


videos = tuple(Video(n, ("0",), (Expression(n, "0", "x", ()),)) for n in names)
split = Split(folder, "made", videos, "sha")
trainer = pl.Trainer(accelerator="cpu", devices=2, logger=False, enable_checkpointing=False,
                     enable_progress_bar=False)
devices = TrainerDevices(trainer)
devices.run(lambda place: distributed_c10d._set_pg_timeout(timedelta(seconds=5), None))
for stage in ("first", "second"):
    stores = Stores(folder / "stores", "made")
    failed = run_stage(Slow(stores.open(stage, split, settings={})), split, devices)
(folder / f"done{trainer.global_rank}").write_text(str(failed))
"""


def test_a_process_without_videos_waits_longer_than_its_group_would(tmp_path):
    """Two stages of one video each, 12 seconds long; a collective would fail after 5."""
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    started = time.monotonic()
    done = subprocess.run(
        [forked_python(), str(worker), str(tmp_path), "long"],
        cwd=REPOSITORY,
        text=True,
        timeout=300,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert time.monotonic() - started > 24  # each video was made once, one after the other
    deadline = time.monotonic() + 60
    while not (tmp_path / "done1").exists() and time.monotonic() < deadline:
        time.sleep(0.1)  # the other process may end a little later
    assert [(tmp_path / f"done{rank}").read_text() for rank in (0, 1)] == ["{}", "{}"]
