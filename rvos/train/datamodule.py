"""Splits -> loaders of training and validation clips (Lightning)."""

import atexit
import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from rvos import Expected, InputError, flag, one_of, optional, require, whole, words
from rvos.data.formats import open_checked
from rvos.data.split import Split, Truth
from rvos.train.clips import ClipDataset, ClipRecipe, collate


class ClipSampler(DistributedSampler):
    """Keys (epoch, index) of one rank's clips; the order is a pure function of (seed, epoch).

    The epoch's clips are shuffled, cut to whole global batches, and dealt out per step: rank r of
    R takes the r-th of R equal runs of each step's `R * batch_size` clips. So the clips of a
    global batch do not depend on the number of ranks. `position` counts clips of all ranks that
    the trainer has received; iteration starts there. (A DistributedSampler, so that Lightning
    leaves it in place and tells it the epoch.)
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int,
        batch_size: int,
        global_batch_size: int,
        rank: int,
        world_size: int,
    ):
        clips: Any = range(length)
        super().__init__(clips, num_replicas=world_size, rank=rank, seed=seed)
        self.length = length
        self.batch_size = batch_size
        self.step_size = batch_size * world_size  # clips of all ranks per forward pass
        self.total = length // global_batch_size * global_batch_size
        self.position = 0
        if self.total == 0:
            raise InputError(
                f"data.global_batch_size: expected at most the {length} clips of the "
                f"training split, got {global_batch_size}"
            )

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        epoch = self.epoch
        for step in range(self.position, self.total, self.step_size):
            first = step + self.rank * self.batch_size
            for index in order[first : first + self.batch_size]:
                yield epoch, int(index)

    def __len__(self) -> int:
        """Clips of this rank in a whole epoch, wherever the iteration starts."""
        return self.total // self.num_replicas

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, unless it is the present one."""
        if epoch != self.epoch:
            self.position = 0
        super().set_epoch(epoch)


class ClipLoader(DataLoader):
    """Training loader that goes on where a checkpoint stopped: Lightning saves and loads its state.

    What workers have prefetched does not count: only batches handed to the trainer do.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        sampler = self.sampler
        if not isinstance(sampler, ClipSampler):  # e.g. Lightning's overfit_batches
            yield from super().__iter__()
            return
        if sampler.position >= sampler.total:
            sampler.set_epoch(sampler.epoch + 1)
        for batch in super().__iter__():
            sampler.position += sampler.step_size
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the next clip is, and of what data."""
        sampler = self.sampler
        if not isinstance(sampler, ClipSampler):
            return {}
        return {
            "epoch": sampler.epoch,
            "position": sampler.position,
            "seed": sampler.seed,
            "total": sampler.total,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Raises InputError if the checkpoint was made with other clips or another seed."""
        sampler = self.sampler
        if not isinstance(sampler, ClipSampler) or not state:
            return
        for key in ("seed", "total"):
            if state[key] != getattr(sampler, key):
                raise InputError(
                    f"ckpt_path: the checkpoint's data has {key} {state[key]}, this run's "
                    f"{getattr(sampler, key)}; resume with the data, seed and global batch size "
                    "it was made with"
                )
        if state["position"] % sampler.step_size:
            raise InputError(
                f"ckpt_path: the checkpoint stopped after {state['position']} clips, which is no "
                f"multiple of the {sampler.step_size} clips per step of this run; resume with the "
                "number of devices and data.batch_size it was made with"
            )
        sampler.epoch, sampler.position = state["epoch"], state["position"]


class DataModule(pl.LightningDataModule):
    """Loaders of one dataset: the keys of conf/data.

    `train_split` is trained on and `val_split` gives the validation loss; both loaders yield
    `clips.Clip`. `split` is what is predicted and scored, `name` is in the names of stores and
    `release` is what `verify` compares with: the loaders use none of them. With `skip_bad`, bad
    videos and expressions are left out and counted; otherwise they are an InputError that lists all
    of them, before anything runs. Raises SettingsError listing every value that makes no sense.
    """

    def __init__(
        self,
        *,
        name: str,
        format: str,
        root: Path | str,
        split: str,
        train_split: str,
        val_split: str | None,
        release: Literal["any", "v1", "v2"],
        clip: ClipRecipe,
        batch_size: int,
        global_batch_size: int,
        val_clips: int,
        num_workers: int,
        skip_bad: bool,
        seed: int,
        meta: str | None = None,
        protocol: str = "expressions",  # of eval.py; validation takes the mean over expressions
    ):
        super().__init__()
        self.name, self.format, self.root, self.release = name, format, root, release
        self.meta = meta
        self.split, self.train_split, self.val_split = split, train_split, val_split
        self.clip, self.seed = clip, seed
        self.batch_size, self.global_batch_size = batch_size, global_batch_size
        self.val_clips, self.num_workers, self.skip_bad = val_clips, num_workers, skip_bad
        self.train_data: ClipDataset | None = None
        self.val_data: Dataset | None = None
        self._check()

    def _check(self) -> None:
        require(
            self,
            "data",
            name=words(),
            format=words(),
            root=Expected("a folder", lambda v: isinstance(v, str | Path) and bool(str(v))),
            split=words(),
            train_split=words(),
            val_split=optional(words()),
            release=one_of("any", "v1", "v2"),
            meta=optional(words()),
            clip=Expected("the keys of ClipRecipe", lambda v: isinstance(v, ClipRecipe)),
            batch_size=whole(1),
            global_batch_size=whole(1),
            val_clips=whole(0),
            num_workers=whole(0),
            skip_bad=flag(),
            seed=whole(0),
        )

    def prepare_data(self) -> None:
        """Index the masks and check the files, once for all ranks (the result is kept)."""
        for split in (self.train_split, self.val_split):
            if split is not None and self.train_data is None:
                self.open(split)

    def setup(self, stage: str) -> None:
        """Open the splits; `stage` is Lightning's `fit` or `validate`."""
        if self.train_data is None:
            self.train_data = self._clips(self.train_split, self.clip)
            if self.val_split is not None:
                self.val_data = self._val_clips(self.val_split)

    def train_dataloader(self) -> ClipLoader:
        """Loader of this rank's clips of the training split, in batches of `batch_size`."""
        assert self.train_data is not None
        rank, world_size = self._place()
        self.accumulate_grad_batches(world_size)
        sampler = ClipSampler(
            len(self.train_data),
            seed=self.seed,
            batch_size=self.batch_size,
            global_batch_size=self.global_batch_size,
            rank=rank,
            world_size=world_size,
        )
        return ClipLoader(self.train_data, sampler=sampler, **self._loading(self.batch_size))

    def val_dataloader(self) -> DataLoader | list:
        """`val_clips` clips spread over the split, without augmentation, the same every time."""
        if self.val_data is None:
            return []
        return DataLoader(self.val_data, **self._loading(self.batch_size))

    def accumulate_grad_batches(self, world_size: int) -> int:
        """Forward passes per optimizer step, so that `global_batch_size` clips enter each step."""
        per_pass = self.batch_size * world_size
        if self.global_batch_size % per_pass:
            raise InputError(
                f"data.global_batch_size: expected a multiple of data.batch_size x devices = "
                f"{self.batch_size} x {world_size} = {per_pass}, got {self.global_batch_size}"
            )
        return self.global_batch_size // per_pass

    def _clips(self, split: str, recipe: ClipRecipe) -> ClipDataset:
        opened, truth = self.open(split)
        return ClipDataset(opened, truth, recipe, seed=self.seed, skip_bad=self.skip_bad)

    def _val_clips(self, split: str) -> Dataset:
        clips = self._clips(split, replace(self.clip, recipe="plain"))
        count = min(self.val_clips, len(clips)) if self.val_clips else len(clips)
        spread = np.linspace(0, len(clips) - 1, count).round().astype(int).tolist()
        return torch.utils.data.Subset(clips, spread)

    def open(self, split: str) -> tuple[Split, Truth]:
        """A split of the dataset and its ground truth. Raises InputError for bad data."""
        opened, truth = open_checked(
            self.format,
            self.root,
            split,
            with_truth=True,
            skip_bad=self.skip_bad,
            meta=self.meta,
        )
        assert truth is not None
        return opened, truth

    def _place(self) -> tuple[int, int]:
        """(rank, number of ranks)."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _loading(self, batch_size: int) -> dict[str, Any]:
        return {
            "batch_size": batch_size,
            "num_workers": self.num_workers,
            "collate_fn": partial(collate, pad_to=self.clip.pad_to),
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.num_workers > 0,
            "worker_init_fn": _leave_signals_to_the_trainer,
        }


def _leave_signals_to_the_trainer(worker_id: int) -> None:
    """SLURM signals all processes of a job; the trainer still needs its loader to end well."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    """Kill the workers that are still there when the program ends.

    Multiprocessing would send them the SIGTERM that they ignore, and wait for ever. (Called before
    its own clean-up, which was registered earlier.)
    """
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
