"""One start of the coarse stage in its own process: python -m tests.support.coarse_worker
FOLDER STORES DEVICES [filled=FOLDER videos=N | full_disk=RANK]. `FOLDER` is what
`tests.coarse.test_coarse.make_case` wrote.

filled, videos: as if another run had put so many videos into the store when rank 1 starts.
full_disk: that rank cannot write masks.
"""

import errno
import os
import shutil
import sys
from pathlib import Path

import pytorch_lightning as pl

from rvos.data.mevis import read_split
from rvos.stages.store import Store
from tests.coarse.test_coarse import SHORT_SIDE, fill, opened_store, settings_for


def main(folder: Path, stores: Path, devices: int, **trouble: str) -> None:
    split = read_split(folder, "valid")
    settings = settings_for(checkpoint=str(folder / "mutr.pth"), short_side=SHORT_SIDE)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        logger=False,
        strategy="ddp" if devices > 1 else "auto",
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    store = opened_store(stores, split, settings)
    rank = os.environ.get("LOCAL_RANK", "0")  # Lightning gives it to the processes it starts
    if "filled" in trouble and rank == "1":
        for stage in ("coarse_scores", "coarse"):
            for video in split.videos[: int(trouble["videos"])]:
                name = Path(stage) / store.path.name / f"{video.name}.json.gz"
                shutil.copy(Path(trouble["filled"]) / name, stores / name)
    if trouble.get("full_disk") == rank:

        def refuse(store: Store, video: str, value: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        Store.write = refuse
    fill(split, store, settings, trainer)


if __name__ == "__main__":
    trouble = dict(argument.split("=", 1) for argument in sys.argv[4:])
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), **trouble)
