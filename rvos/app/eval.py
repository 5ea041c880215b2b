"""Frames + expressions -> refined masks, scores and a report: `rvos eval refine.window=15`.

Settings: conf/eval.yaml. Stages keep their masks in the stores and are run only where these lack
something; results go to the run folder (`output_dir`).
"""

import logging
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from rvos import __version__
from rvos.app.entry import devices_of, entry_point, plain, run_folder

log = logging.getLogger("rvos.app.eval")  # __name__ is __main__


@entry_point("eval")
def main(cfg: DictConfig) -> float | None:
    """Segment, track, refine, score, report; returns J&F."""
    folder = run_folder(cfg)
    if cfg.answers.model is not None:
        from rvos.app.answers import answered

        cfg = answered(cfg, folder, carry_out)
    return carry_out(cfg, folder)


def carry_out(cfg: DictConfig, folder: Path) -> float | None:
    """The run in `folder`; returns J&F."""
    # Imported here, so that --help is quick.
    from rich.console import Console

    from rvos.app.evaluation import Evaluation, open_data
    from rvos.app.results import refine_and_score
    from rvos.stages.devices import end_on_sigterm
    from rvos.stages.run_folder import check_folder, claim_folder, keep_split
    from rvos.stages.store import Stores
    from rvos.stages.work import Work

    started = time.monotonic()
    settings = plain(cfg)
    todo = Evaluation.of(cfg)  # what is wrong with the settings is said before anything runs
    split, truth = open_data(cfg)
    devices = devices_of(cfg, uses_gpu=todo.uses_gpu, sharing=todo.sharing)
    work = Work(split, Stores(Path(cfg.paths.stores), cfg.data.name), devices, truth)
    record: dict[str, Any] = {
        "inputs": {"meta_expressions_sha256": split.meta_sha256},
        "results": todo.RESULTS,
    }
    if devices.is_first:
        check_folder(folder, settings, **record)
    todo.check(work)

    inputs = todo.make(work)
    if not devices.is_first:
        return None  # the other processes' work is done

    inputs.check(todo.sharing.part(split.videos))
    claim_folder(folder, settings, **record)
    keep_split(folder, split)
    log.info("rvos %s: %d videos, seed %d -> %s", __version__, len(split.videos), cfg.seed, folder)
    end_on_sigterm()
    console = Console()
    score = refine_and_score(console, folder, settings, todo, inputs)
    console.print(f"{folder} ({time.monotonic() - started:.1f} s)", soft_wrap=True)
    return score


if __name__ == "__main__":
    main()
