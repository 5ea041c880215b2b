"""Settings of a training -> its parts."""

from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from rvos.app.evaluation import score_settings
from rvos.coarse.settings import coarse_settings
from rvos.mutr import MUTR
from rvos.settings import all_checked, build, make
from rvos.stages.lightning import make_trainer
from rvos.train import run as training
from rvos.train.callbacks import AtomicCheckpointIO
from rvos.train.settings import Options, Validation


def make_parts(cfg: DictConfig) -> training.Parts:
    """What a training consists of. Raises SettingsError with what is wrong with any of it."""
    trainer, data, model, loss, optim, coarse, validation, options, _ = all_checked(
        lambda: make_trainer(
            cfg.trainer,
            callbacks=make_all(cfg.callbacks, "callbacks"),
            logger=make_all(cfg.logger, "logger"),
            plugins=[AtomicCheckpointIO()],
        ),
        lambda: build(cfg.data, "data"),
        lambda: make_model(cfg.model, cfg.seed),
        lambda: build(cfg.loss, "loss"),
        lambda: build(cfg.optim, "optim"),
        lambda: coarse_settings(cfg.coarse),
        lambda: make(Validation, "validation", cfg.validation),
        lambda: make(Options, "", {key: cfg[key] for key in ("seed", "compile", "hints")}),
        lambda: score_settings(cfg),
    )
    return training.Parts(trainer, data, model, loss, optim, coarse, validation, options)


def make_all(group: DictConfig, path: str) -> list[Any]:
    """The objects of a group of named ones, the node `path`; null leaves one out."""
    return [made for made in build(group, path).values() if made is not None]


def make_model(node: DictConfig, seed: int) -> MUTR:
    """The network of a choice of conf/model, with the random weights of a seed or given ones."""
    pl.seed_everything(seed, verbose=False)
    return build(node, "model")()
