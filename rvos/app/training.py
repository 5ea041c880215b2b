"""Settings of a training -> its parts."""

from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from rvos.app.entry import build
from rvos.coarse.settings import coarse_settings
from rvos.mutr import MUTR
from rvos.settings import all_checked
from rvos.stages.lightning import make_trainer
from rvos.train import run as training
from rvos.train.callbacks import AtomicCheckpointIO
from rvos.train.validation import Validation


def make_parts(cfg: DictConfig) -> training.Parts:
    """What a training consists of. Raises SettingsError with what is wrong with any of it."""
    trainer, data, model, loss, optim, coarse, validation = all_checked(
        lambda: make_trainer(
            cfg.trainer,
            callbacks=make_all(cfg.callbacks),
            logger=make_all(cfg.logger),
            plugins=[AtomicCheckpointIO()],
        ),
        lambda: build(cfg.data, keep=("name",)),
        lambda: make_model(cfg.model, cfg.seed),
        lambda: build(cfg.loss),
        lambda: build(cfg.optim),
        lambda: coarse_settings(cfg.coarse),
        lambda: Validation(**cfg.validation),
    )
    return training.Parts(trainer, data, model, loss, optim, coarse, validation)


def make_all(group: DictConfig) -> list[Any]:
    """The objects of a group of named ones; null leaves one out."""
    nodes = [node for node in group.values() if node is not None]
    return all_checked(*(lambda node=node: build(node, keep=("name",)) for node in nodes))


def make_model(node: DictConfig, seed: int) -> MUTR:
    """The network of a choice of conf/model, with the random weights of a seed or given ones."""
    pl.seed_everything(seed, verbose=False)
    return build(node)()
