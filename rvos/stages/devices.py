"""Where a stage runs: this process alone, or one process on each device of a Lightning trainer."""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rvos.errors import InputError
from rvos.stages.sharding import Sharing

if TYPE_CHECKING:
    from rvos.stages.runner import Stage, Task

T = TypeVar("T")


class Place:
    """One process of a run: its rank, its device, and how it communicates with the others.

    This class is for a single process; `TrainerPlace` is for one of several.
    """

    rank, world_size = 0, 1

    def __init__(self, device: str = "cpu"):
        self.device = device  # as torch names it
        self._counts: Counter[str] = Counter()

    def convert(self, network: Any) -> Any:
        """The network on the device, in the run's precision."""
        return network.to(self.device)

    def answering(self) -> AbstractContextManager[Any]:
        """The context in which a network predicts in the run's precision."""
        return nullcontext()

    def from_first(self, value: T) -> T:
        """Broadcast: returns in every process the value that the first process passes."""
        return value

    def gather(self, values: list[T]) -> list[T]:
        """Return the values of all processes in every process, once all have called this."""
        return values

    def add(self, key: str, amount: int) -> int:
        """Add to a count that all processes of this run share; returns the sum, and never waits."""
        self._counts[key] += amount
        return self._counts[key]

    def each(
        self, stage: "Stage", tasks: "Iterator[Task]", advance: Callable[[int], None]
    ) -> "Iterator[tuple[Task, Callable[[], Any]]]":
        """Each task with a function that returns what `stage` makes of it, or raises."""
        for task in tasks:
            yield task, partial(stage.make, task.video, task.content, advance)


class Devices(Protocol):
    """The devices on which a stage runs, one process each."""

    precision: str  # as `trainer.precision`
    is_first: bool  # whether this process is the first of its run
    sharing: Sharing  # what this run does of a split that several runs share

    def run(self, work: Callable[[Place], T]) -> T:
        """Call `work` once in every process; returns its result in this process.

        An InputError of any process is raised in all processes, once all have finished.
        """


class OneDevice:
    """Only this process, on a device such as `cpu` or `cuda:1`."""

    precision, is_first = "32-true", True

    def __init__(self, device: str = "cpu", sharing: Sharing | None = None):
        self.device, self.sharing = device, sharing or Sharing()

    def run(self, work: Callable[[Place], T]) -> T:
        return work(Place(self.device))


def end_on_sigterm(kill_others: Callable[[int], None] | None = None) -> None:
    """Make SIGTERM end this process and those it started at once; finished files stay valid.

    `kill_others` ends processes that are not this one's children.

    Lightning itself only notes the signal and acts on it while it trains.
    """

    def end(number: int, frame: Any) -> None:
        if kill_others is not None:
            kill_others(number)
        for child in multiprocessing.active_children():  # before their videos are given back
            child.kill()
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


def raise_together(place: Place, problems: list[str]) -> None:
    """Raise in every process one InputError with the problems of all, if there are any."""
    if all_problems := place.gather(problems):
        raise InputError("\n".join(dict.fromkeys(all_problems)))
