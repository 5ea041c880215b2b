"""Frames, expressions, masks -> a fine-tuned MUTR: `python train.py trainer.devices=4`.

Settings: conf/train.yaml. Checkpoints, curves and overlays go to the run folder (`output_dir`).
"""

import logging
from pathlib import Path

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from rvos import __version__, training
from rvos.callbacks import AtomicCheckpointIO
from rvos.coarse import make_coarse
from rvos.data.datamodule import DataModule
from rvos.data.formats import open_checked
from rvos.devices import close_group_at_exit
from rvos.entry import (
    check_folder_of_ranks,
    claim_folder,
    entry_point,
    refuse_ranks_in_multirun,
    run_folder,
)
from rvos.segmenter import Segmenter
from rvos.validation import VideoScores

log = logging.getLogger(__name__)


@entry_point("train")
def main(cfg: DictConfig) -> None:
    folder = run_folder()
    cfg.output_dir = str(folder)  # also in the jobs of a multirun and in every rank
    check_folder_of_ranks()
    resume = training.resume_from(cfg.ckpt_path, folder, Path(cfg.paths.runs) / cfg.task / cfg.name)
    trainer = make_trainer(cfg)
    refuse_ranks_in_multirun(trainer.world_size)
    close_group_at_exit()

    data: DataModule = instantiate(cfg.data)
    trainer.accumulate_grad_batches = data.accumulate_grad_batches(trainer.world_size)
    data.prepare_data()
    data.setup("fit")
    assert data.train_data is not None
    segmenter = make_segmenter(cfg, folder)
    train_split = data.train_data.split
    segmenter.model.add_words([e.text for video in train_split.videos for e in video.expressions])
    if resume is not None:
        training.check_fits(resume, segmenter)

    if rank_zero_only.rank == 0:
        claim_folder(
            folder,
            cfg,
            inputs={"meta_expressions_sha256": train_split.meta_sha256},
            results=(training.METRICS, training.CHECKPOINTS),
        )
        training.check_loggers(trainer)
        for logger in trainer.loggers:
            logger.log_hyperparams(OmegaConf.to_container(cfg, resolve=True))
        log.info(
            "rvos %s: %d clips, %d device(s) x %d clip(s) x %d passes a step, seed %d -> %s",
            __version__,
            len(data.train_data),
            trainer.world_size,
            data.batch_size,
            trainer.accumulate_grad_batches,
            cfg.seed,
            folder,
        )
    try:
        if cfg.validation.at_start and resume is None:
            trainer.validate(segmenter, data, verbose=False)
        trainer.fit(segmenter, data, ckpt_path=resume, weights_only=True)
        if trainer.is_global_zero and not trainer.fast_dev_run:
            log.info("finished: %s", training.finish(trainer, segmenter.model, folder))
    finally:
        if cfg.logger.wandb is not None:
            import wandb

            wandb.finish()


def make_trainer(cfg: DictConfig) -> pl.Trainer:
    training.check_devices(cfg.trainer.accelerator, cfg.trainer.devices)
    return instantiate(
        cfg.trainer,
        callbacks=[instantiate(c) for c in cfg.callbacks.values() if c is not None],
        logger=[instantiate(c) for c in cfg.logger.values() if c is not None],
        plugins=[AtomicCheckpointIO()],
    )


def make_segmenter(cfg: DictConfig, folder: Path) -> Segmenter:
    split, truth = open_checked(
        cfg.data.format, cfg.data.root, cfg.data.split, with_truth=True, skip_bad=cfg.data.skip_bad
    )
    scores = VideoScores(
        split,
        truth,
        make_coarse(**cfg.coarse),
        max_videos=cfg.score.max_videos,
        num_overlays=cfg.validation.num_overlays,
        folder=folder / "overlays",
    )
    pl.seed_everything(cfg.seed, verbose=False)
    return Segmenter(
        instantiate(cfg.model),
        instantiate(cfg.loss),
        instantiate(cfg.optim),
        seed=cfg.seed,
        compile=cfg.compile,
        score_videos=scores,
    )


if __name__ == "__main__":
    main()
