"""A Lightning trainer, and work on its devices: a function called once in every process."""

import atexit
import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from typing import Any, ClassVar, TypeVar

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import distributed

from rvos.errors import InputError
from rvos.stages.devices import Place, end_on_sigterm, raise_together
from rvos.stages.sharding import Sharing

T = TypeVar("T")

# Warnings of libraries that a user can do nothing about: category, start of the message (a regular
# expression). Hints of Lightning's log are off with its level (make_trainer).
NOISE: tuple[tuple[type[Warning], str], ...] = (
    # Lightning 2.6 uses what torch's pytree has deprecated.
    (FutureWarning, r"`isinstance\(treespec, LeafSpec\)` is deprecated"),
    # Lightning: what we log over an epoch is the same on all ranks already.
    (UserWarning, r"It is recommended to use `self\.log\(.*sync_dist=True\)`"),
    # Lightning: the folder of a resumed run; resume_from guards all others.
    (UserWarning, r"Checkpoint directory .* exists and is not empty"),
    # Lightning, wherever SLURM is installed: one process needs no srun (docs/cluster.md).
    (UserWarning, r"The `srun` command is available"),
    # DDP, of a weight whose gradient lies otherwise in memory: it copies, which takes no time here.
    (UserWarning, r"Grad strides do not match bucket view strides"),
    # Lightning: data.num_workers is documented, and a small machine has no more cores.
    (UserWarning, r"The '\w+_dataloader' does not have many workers"),
)


def quiet() -> None:
    """Leave the warnings of NOISE out, from now on and in this process."""
    for category, message in NOISE:
        warnings.filterwarnings("ignore", message, category)


def make_trainer(settings: Any, **arguments: Any) -> pl.Trainer:
    """The trainer of the group conf/trainer. Raises InputError for devices that are not there."""
    check_devices(settings.accelerator, settings.devices)
    quiet()
    for name in ("pytorch_lightning", "lightning_fabric"):  # hints for training; ranks that start
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return instantiate(settings, **arguments)
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise InputError(f"trainer: {' '.join(str(cause).split())}") from None


def check_devices(accelerator: str, devices: int | str | Sequence[int]) -> None:
    """Raise InputError where `auto` would silently use fewer or other devices than asked for."""
    several = isinstance(devices, int) and devices > 1
    if accelerator == "auto" and several and not torch.cuda.is_available():
        raise InputError(
            f"trainer.devices={devices}: this machine has no GPU. Use trainer.devices=1, or say "
            f"trainer.accelerator=cpu to work in {devices} processes on the CPU"
        )
    gpus = torch.cuda.device_count()
    if accelerator in ("auto", "gpu", "cuda") and several and int(str(devices)) > gpus:
        raise InputError(f"trainer.devices={devices}: this machine has {gpus} GPU(s)")


class TrainerPlace(Place):
    """One of the processes of a trainer, on that process' device."""

    def __init__(self, trainer: pl.Trainer, counts: "SharedCounts | None" = None):
        super().__init__(str(trainer.strategy.root_device))
        self.trainer, self.counts = trainer, counts
        self.rank, self.world_size = trainer.global_rank, trainer.world_size

    def convert(self, network: Any) -> Any:
        network = self.trainer.precision_plugin.convert_module(network)
        return super().convert(network)

    def answering(self) -> AbstractContextManager[Any]:
        return self.trainer.precision_plugin.predict_step_context()

    def from_first(self, value: T) -> T:
        return self.trainer.strategy.broadcast(value)

    def gather(self, values: list[T]) -> list[T]:
        if not distributed.is_initialized():
            return values
        lists: list[list[T]] = [[] for _ in range(distributed.get_world_size())]
        distributed.all_gather_object(lists, values)
        return list(chain(*lists))

    def add(self, key: str, amount: int) -> int:
        return super().add(key, amount) if self.counts is None else self.counts.add(key, amount)


class SharedCounts:
    """Counts of all processes of a trainer, for one run of a function on its devices.

    They lie in a TCPStore of our own, which the first process holds: no collective waits for a
    process that still works, and a process group gives up after 30 minutes.
    """

    _store: ClassVar[distributed.TCPStore | None] = None  # for all runs of this process
    _runs: ClassVar[int] = 0

    def __init__(self, trainer: pl.Trainer):
        cls = type(self)
        cls._store = cls._store or self._connected(trainer)
        cls._runs += 1  # all processes run the same functions in the same order
        self._counts, self._run = cls._store, cls._runs

    def add(self, key: str, amount: int) -> int:
        """Add to a count; returns the sum. InputError where the first process has ended."""
        try:
            return self._counts.add(f"{self._run}/{key}", amount)
        except distributed.DistError as error:
            raise InputError(
                f"the first process of this run has ended; start again to continue ({error!s:.80})"
            ) from None

    def _connected(self, trainer: pl.Trainer) -> distributed.TCPStore:
        address = trainer.strategy.cluster_environment.main_address
        is_first = trainer.is_global_zero
        make = partial(distributed.TCPStore, address, wait_for_workers=False)
        store = make(0, is_master=True) if is_first else None
        port = trainer.strategy.broadcast(store.port if store else None)
        return store or make(port, is_master=False)


class TrainerDevices:
    """The devices of a Lightning trainer, which starts its processes at the first `run`."""

    def __init__(self, trainer: Any, sharing: Sharing | None = None):
        self.trainer, self.sharing = trainer, sharing or Sharing()
        self.precision, self.is_first = str(trainer.precision), bool(trainer.is_global_zero)

    def run(self, work: Callable[[Place], T]) -> T:
        trainer = self.trainer
        if trainer.world_size == 1:
            end_on_sigterm()
            return work(TrainerPlace(trainer))
        if trainer.progress_bar_callback is not None:
            trainer.progress_bar_callback.disable()  # the work shows its own
        module = _Work(work)
        try:
            with torch.inference_mode(False):
                trainer.predict(module, return_predictions=False)
        except SystemExit as error:
            # Lightning's answer to Ctrl-C: it has killed the others, and says nothing.
            if trainer.is_global_zero and isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        return module.result


class _Work(pl.LightningModule):
    """Module that works when the predict loop starts, outside the loop's precision context."""

    def __init__(self, work: Callable[[Place], Any]):
        super().__init__()
        self.work = work

    def on_predict_start(self) -> None:
        launcher = self.trainer.strategy.launcher
        end_on_sigterm(None if launcher is None else launcher.kill)
        close_group_at_exit()
        place, errors = TrainerPlace(self.trainer, SharedCounts(self.trainer)), []
        try:
            self.result = self.work(place)
        except InputError as error:  # the others do their share before all report it
            errors.append(str(error))
        raise_together(place, errors)

    def predict_dataloader(self) -> list[int]:
        return [0]  # one step per process: without any the loop would not start

    def predict_step(self, batch: Any) -> bool:
        return True  # Lightning warns of None


def close_group_at_exit() -> None:
    """Close the process group before Python ends; Lightning does so for NCCL only.

    Otherwise Gloo's threads may still hold tensors then, and abort the process (pytorch/pytorch
    #179291).
    """

    def close() -> None:
        if distributed.is_initialized():
            distributed.destroy_process_group()

    atexit.register(close)
