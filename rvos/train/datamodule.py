"""Splits -> loaders of training and validation clips (Lightning)."""

import atexit
import multiprocessing.queues
import os
import shutil
import signal
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from rvos.data.formats import open_checked
from rvos.data.split import Split, Truth
from rvos.errors import InputError
from rvos.train.clips import ClipDataset, collate
from rvos.train.joint import JointClips
from rvos.train.recipe import ClipRecipe
from rvos.train.settings import DataSettings, Source

SHARED_MEMORY = Path("/dev/shm")  # through which loader processes hand over batches (Linux)
PREFETCH = 2  # batches that each loader process makes ahead


class ClipSampler(DistributedSampler):
    """Keys (epoch, index) of one rank's clips; the order is a pure function of (seed, epoch).

    The epoch's clips are shuffled, cut to whole global batches, and dealt out per step: rank r of
    R takes the r-th of R equal runs of each step's `R * batch_size` clips. So the clips of a
    global batch do not depend on the number of ranks. `position` counts clips of all ranks that
    the trainer has received; iteration starts there. `sources`: how many clips each dataset of a
    joint training has, one after the other. (A DistributedSampler, so that Lightning
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
        sources: Mapping[str, int] | None = None,
    ):
        clips: Any = range(length)
        super().__init__(clips, num_replicas=world_size, rank=rank, seed=seed)
        self.length = length
        self.batch_size, self.global_batch_size = batch_size, global_batch_size
        self.step_size = batch_size * world_size  # clips of all ranks per forward pass
        self.total = length // global_batch_size * global_batch_size
        self.position = 0
        self.sources = dict(sources or {})
        if self.total == 0:
            raise InputError(
                f"data.global_batch_size: expected at most the {length} clips of the "
                f"training split, got {global_batch_size}"
            )

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order, epoch = self._order(), self.epoch
        for step in range(self.position, self.total, self.step_size):
            first = step + self.rank * self.batch_size
            for index in order[first : first + self.batch_size]:
                yield epoch, int(index)

    def _order(self) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.length)

    def shares(self) -> dict[str, float]:
        """Share (0..1) of each source in the clips that all ranks have had of this epoch."""
        ends = np.cumsum(list(self.sources.values()))
        which = np.searchsorted(ends, self._order()[: self.position], side="right")
        counts = np.bincount(which, minlength=len(ends)) / max(self.position, 1)
        return dict(zip(self.sources, counts.tolist(), strict=True))

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

    def state_dict(self) -> dict[str, Any]:
        """Where the next clip is, and of what data."""
        sampler = self.sampler
        if not isinstance(sampler, ClipSampler):
            return {}
        return {
            "epoch": sampler.epoch,
            "position": sampler.position,
            "seed": sampler.seed,
            "total": sampler.total,
            "global_batch_size": sampler.global_batch_size,
            "sources": sampler.sources,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the last whole optimizer step, whatever number of devices made it.

        Raises InputError if the checkpoint was made with other clips, seed or global batch.
        """
        sampler = self.sampler
        if not isinstance(sampler, ClipSampler) or not state:
            return
        for key in ("seed", "total", "global_batch_size", "sources"):
            if state.get(key, getattr(sampler, key)) != getattr(sampler, key):
                raise InputError(
                    f"ckpt_path: the checkpoint's data has {key} {state[key]}, this run's "
                    f"{getattr(sampler, key)}; resume with the data, seed and global batch size "
                    "it was made with"
                )
        sampler.epoch = state["epoch"]
        sampler.position = whole_steps(state["position"], sampler.global_batch_size)


def whole_steps(position: int, global_batch_size: int) -> int:
    """How many of the `position` clips seen in an epoch belong to whole optimizer steps."""
    return position // global_batch_size * global_batch_size


def recount_passes(checkpoint: dict[str, Any], *, step_size: int, global_batch_size: int) -> None:
    """Count a checkpoint's forward passes anew, in place, for passes of `step_size` clips.

    Lightning takes its count for this run's, and would leave clips out after another number of
    devices. A step that the checkpoint interrupts is begun again.
    """
    loop = checkpoint["loops"]["fit_loop"]
    progress = loop["epoch_loop.batch_progress"]
    states = [state for state in loop["state_dict"].get("combined_loader", ()) if state]
    passes = progress["current"]["ready"]
    if not states or not passes:
        return
    position = states[0]["position"]
    seen = whole_steps(position, global_batch_size)
    before = (progress["total"]["ready"] - passes) * (position // passes)  # clips of other epochs
    for name, clips in (("current", seen), ("total", before + seen)):
        change = clips // step_size - progress[name]["ready"]
        progress[name] |= {key: count + change for key, count in progress[name].items()}


class DataModule(DataSettings, pl.LightningDataModule):
    """Loaders of one dataset, or of several to train on: the keys of conf/data.

    `train_split` is trained on, or with `sources` these datasets by their names (None leaves one
    out), and `val_split` gives the validation loss; both loaders yield
    `clips.Clip`. `split` is what is predicted and scored, `name` is in the names of stores and
    `release` is what `verify` compares with: the loaders use none of them. With `skip_bad`, bad
    videos and expressions are left out and counted; otherwise they are an InputError that lists all
    of them, before anything runs. Raises SettingsError listing every value that makes no sense.
    """

    def __post_init__(self) -> None:
        pl.LightningDataModule.__init__(self)
        super().__post_init__()
        self.train_data: ClipDataset | JointClips | None = None
        self._opened: dict[Source, tuple[Split, Truth]] = {}
        self.val_data: Dataset | None = None

    def prepare_data(self) -> None:
        """Index the masks and check the files, once for all ranks (the result is kept)."""
        if self.train_data is None:
            for source in self.train_sources().values():
                self._open(source)
            if self.val_split is not None:
                self.open(self.val_split)

    def setup(self, stage: str) -> None:
        """Open the splits; `stage` is Lightning's `fit` or `validate`."""
        if self.train_data is None:
            sources = self.train_sources()
            clips = {name: self._clips(source, self.clip) for name, source in sources.items()}
            weights = {name: source.weight for name, source in sources.items()}
            if self.sources is None:
                (self.train_data,) = clips.values()
            else:
                self.train_data = JointClips(clips, weights, seed=self.seed)
            if self.val_split is not None:
                self.val_data = self._val_clips(self.val_split)

    def train_dataloader(self) -> ClipLoader:
        """Loader of this rank's clips of the training split, in batches of `batch_size`."""
        assert self.train_data is not None
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        self.accumulate_grad_batches(world_size)
        sampler = ClipSampler(
            len(self.train_data),
            seed=self.seed,
            batch_size=self.batch_size,
            global_batch_size=self.global_batch_size,
            rank=rank,
            world_size=world_size,
            sources=self.train_data.counts if isinstance(self.train_data, JointClips) else None,
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

    def check_shared_memory(self, devices: int) -> None:
        """Raise InputError where /dev/shm cannot hold the batches in flight of `devices` devices.

        Those of training stay there during a validation. (Docker's default is 64 MB.)
        """
        if not self.num_workers or not SHARED_MEMORY.is_dir():
            return
        usage = shutil.disk_usage(SHARED_MEMORY)
        assert self.train_data is not None
        sizes = [self._batch_bytes(self.train_data)]
        if isinstance(self.val_data, torch.utils.data.Subset):
            sizes.append(self._batch_bytes(self.val_data.dataset))
        each = devices * sum(sizes)  # one batch of each loader
        need = each * (PREFETCH * self.num_workers + 1)  # one is with the trainer
        if usage.total and need > usage.free:
            fits = max(0, (usage.free // each - 1) // PREFETCH)
            raise InputError(
                f"{SHARED_MEMORY}: {usage.free >> 20} MiB are free, but the batches of "
                f"{devices} device(s) x data.num_workers={self.num_workers} need up to "
                f"{-(-need >> 20)} MiB there. Give it more (docker run "
                f"--shm-size={-(-(usage.used + need) >> 20)}m, or --ipc=host; Kubernetes: a volume "
                f"of medium Memory), or use fewer loader processes (data.num_workers={fits})"
            )

    def _batch_bytes(self, clips: Any) -> int:
        """Bytes of the largest batch: frames float32, masks and padding bool."""
        pixels = 1
        for side in clips.largest_size():
            pixels *= -(-side // self.clip.pad_to) * self.clip.pad_to
        return self.batch_size * pixels * (self.clip.num_frames * (3 * 4 + 1) + 1)

    def _clips(self, source: Source, recipe: ClipRecipe) -> ClipDataset:
        return ClipDataset(*self._open(source), recipe, seed=self.seed, skip_bad=self.skip_bad)

    def _val_clips(self, split: str) -> Dataset:
        clips = self._clips(self.own(split), replace(self.clip, recipe="plain"))
        count = min(self.val_clips, len(clips)) if self.val_clips else len(clips)
        spread = np.linspace(0, len(clips) - 1, count).round().astype(int).tolist()
        return torch.utils.data.Subset(clips, spread)

    def open(self, split: str) -> tuple[Split, Truth]:
        """A split of the dataset and its ground truth. Raises InputError for bad data."""
        return self._open(self.own(split))

    def _open(self, source: Source) -> tuple[Split, Truth]:
        if source not in self._opened:
            opened, truth = open_checked(
                source.format,
                source.root,
                source.split,
                with_truth=True,
                skip_bad=self.skip_bad,
                meta=source.meta,
            )
            assert truth is not None
            self._opened[source] = opened, truth
        return self._opened[source]

    def _loading(self, batch_size: int) -> dict[str, Any]:
        return {
            "batch_size": batch_size,
            "num_workers": self.num_workers,
            "collate_fn": partial(collate, pad_to=self.clip.pad_to),
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.num_workers > 0,
            "prefetch_factor": PREFETCH if self.num_workers else None,
            "worker_init_fn": _start_worker,
        }


def _start_worker(worker_id: int) -> None:
    # SLURM and the terminal signal all processes; the trainer needs its loader to end well.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    vars(multiprocessing.queues)["Queue"]._on_queue_feeder_error = staticmethod(_end_worker)


def _end_worker(error: Exception, batch: Any) -> None:
    """End a loader process that cannot send a batch, for lack of memory or of open files.

    Multiprocessing would print the error and go on, and the trainer wait for that batch for ever.
    """
    traceback.print_exception(error)
    os._exit(1)


@atexit.register
def _end_workers() -> None:
    """Kill the workers that are still there when the program ends.

    Multiprocessing would send them the SIGTERM that they ignore, and wait for ever. (Called before
    its own clean-up, which was registered earlier.)
    """
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
