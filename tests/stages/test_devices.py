"""What one device reports reaches all, after the others did their share."""

import signal
import subprocess
import time
from types import SimpleNamespace

import pytest
from fork_server import forked_python

WORKER = """
import sys
from pathlib import Path

import pytorch_lightning as pl

from rvos import InputError
from rvos.stages.lightning import TrainerDevices

folder = Path(sys.argv[1])


def work(place):
    assert place.from_first(place.rank) == 0
    if place.rank == 1:
        raise InputError("frame 3 of rank 1 is broken")
    (folder / f"done{place.rank}").write_text(f"{place.world_size} {place.device}")
    return place.rank


trainer = pl.Trainer(accelerator="cpu", devices=2, logger=False, enable_checkpointing=False,
                     enable_progress_bar=False)
try:
    TrainerDevices(trainer).run(work)
except InputError as error:
    (folder / f"error{trainer.global_rank}").write_text(str(error))
"""


def test_an_error_of_one_process_is_raised_in_all(tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    done = subprocess.run(
        [forked_python(), str(worker), str(tmp_path)], text=True, timeout=300, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "done0").read_text() == "2 cpu"
    deadline = time.monotonic() + 60
    while not (tmp_path / "error1").exists() and time.monotonic() < deadline:
        time.sleep(0.1)  # the other process may end a little later
    for rank in (0, 1):
        assert (tmp_path / f"error{rank}").read_text() == "frame 3 of rank 1 is broken"


def test_ctrl_c_stays_ctrl_c():
    """Lightning makes an exit with status 1 of it, and ignores the signal from then on."""
    import pytorch_lightning as pl
    from pytorch_lightning.trainer.call import _call_and_handle_interrupt

    from rvos.stages.lightning import TrainerDevices

    def stopped():
        raise KeyboardInterrupt

    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    devices = TrainerDevices(trainer)
    devices.trainer = SimpleNamespace(
        world_size=2,
        progress_bar_callback=None,
        is_global_zero=True,
        predict=lambda *_, **__: _call_and_handle_interrupt(trainer, stopped),
    )
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            devices.run(print)
    finally:
        signal.signal(signal.SIGINT, before)
