"""One start of `run_coarse` in a process of its own: python -m tests.coarse_worker FOLDER STORES
DEVICES. `FOLDER` is what `tests.test_coarse.make_case` wrote."""

import sys
from functools import partial
from pathlib import Path

import pytorch_lightning as pl

from rvos.coarse_store import open_coarse_store, run_coarse
from rvos.data.mevis import read_split
from rvos.mutr import build_mutr
from tests.test_coarse import MODEL, SHORT_SIDE, settings_for


def main(folder: Path, stores: Path, devices: int) -> None:
    split = read_split(folder, "valid")
    settings = settings_for(checkpoint=str(folder / "mutr.pth"), short_side=SHORT_SIDE)
    trainer = pl.Trainer(accelerator="cpu", devices=devices, logger=False,
                         strategy="ddp" if devices > 1 else "auto",
                         enable_checkpointing=False, enable_model_summary=False)  # fmt: skip
    store = open_coarse_store(stores, split, settings, data_name="tiny", model=MODEL,
                              precision=str(trainer.precision))  # fmt: skip
    run_coarse(split, store, settings, build_model=partial(build_mutr, **MODEL), trainer=trainer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
