"""Frames, expressions, masks -> a fine-tuned MUTR: `rvos train trainer.devices=4`.

Settings: conf/train.yaml. Checkpoints, curves and overlays go to the run folder (`output_dir`).
"""

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from rvos.app.entry import (
    check_ranks,
    entry_point,
    folder_is_fixed,
    plain,
    run_folder,
    weights_used,
)

log = logging.getLogger("rvos.app.train")  # __name__ is __main__


@entry_point("train")
def main(cfg: DictConfig) -> float | None:
    """Fine-tune MUTR; returns the last J&F of the validations, None if there was none."""
    # Imported here, so that --help is quick.
    from rvos.mutr.settings import ModelSettings
    from rvos.stages.run_folder import claim_folder, wandb_id
    from rvos.train.resume import RESULTS, finished, resume_from
    from rvos.train.settings import DataSettings
    from rvos.weights.local import obtain

    data, model = check_settings(cfg)
    folder = run_folder(cfg)
    cfg.output_dir = str(folder)  # also in the jobs of a multirun and in every rank
    runs = Path(cfg.paths.runs) / cfg.task / cfg.name
    resume = resume_from(cfg.ckpt_path, folder, runs, folder_is_fixed=folder_is_fixed())
    if cfg.logger.get("wandb") is not None:
        before = folder if resume is None else resume.parent.parent
        cfg.logger.wandb.id = wandb_id(before, cfg.logger.wandb.id)
    settings = plain(cfg)
    if resume is not None and (metrics := finished(resume, folder, settings)):
        return metrics["last"].get("val/JF")
    if isinstance(data, DataSettings):  # these two, if they are no classes of one's own
        data.check_there()
    if isinstance(model, ModelSettings):
        obtain(weights_used(cfg, ["model"]))

    # Torch takes seconds to import: what is wrong with settings and files has been said before.
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    from rvos.app.training import make_parts
    from rvos.stages.lightning import close_group_at_exit
    from rvos.train import run as training

    parts = make_parts(cfg)  # what is wrong with the settings is said before anything runs
    check_ranks(parts.trainer.world_size)
    close_group_at_exit()

    meta_sha256 = training.open_data(parts)
    segmenter = training.make_segmenter(
        parts, max_videos=cfg.score.max_videos, overlays=folder / "overlays"
    )
    if resume is not None:
        training.check_fits(resume, segmenter, parts.trainer)
    if rank_zero_only.rank == 0:
        hashes = {"meta_expressions_sha256": meta_sha256}
        claim_folder(folder, settings, inputs=hashes, results=RESULTS)
        training.start_loggers(parts.trainer, settings, folder)
        log.info("%s, seed %d -> %s", training.plan(parts), cfg.seed, folder)
    try:
        return training.fit(parts, segmenter, folder, resume=resume)
    finally:
        training.finish_loggers(parts.trainer)


def check_settings(cfg: DictConfig) -> tuple[Any, Any]:
    """The `DataSettings` and `ModelSettings`; other things for classes of one's own.

    Raises SettingsError with what is wrong with rvos' own keys. Torch is not imported.
    """
    from rvos.app.evaluation import score_settings
    from rvos.coarse.settings import coarse_settings
    from rvos.settings import all_checked, build, make
    from rvos.train.settings import Options, TrainerSettings, Validation, declared

    groups = plain(cfg)
    callbacks, trainer = declared(groups["callbacks"]), groups["trainer"]
    if "_target_" in (callbacks.get("best") or {}):  # and it is rvos' own
        callbacks["best"]["once_an_epoch"] = trainer.get("val_check_interval", 1.0) == 1.0
    counted = {field.name for field in fields(TrainerSettings)} & trainer.keys()
    data, model, *_ = all_checked(
        lambda: build(declared(groups["data"]), "data"),
        lambda: build(declared(groups["model"]), "model"),
        lambda: build(declared(groups["loss"]), "loss"),
        lambda: build(declared(groups["optim"]), "optim"),
        lambda: build(callbacks, "callbacks"),
        lambda: coarse_settings(groups["coarse"]),
        lambda: make(TrainerSettings, "trainer", {key: trainer[key] for key in counted}),
        lambda: make(Validation, "validation", groups["validation"]),
        lambda: make(Options, "", {key: groups[key] for key in ("seed", "compile", "hints")}),
        lambda: score_settings(cfg),
    )
    return data, model


if __name__ == "__main__":
    main()
