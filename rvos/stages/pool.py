"""A pool of processes as the place of a stage; a process that is killed costs its video alone."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

from rvos.stages.devices import OneDevice, Place
from rvos.stages.sharding import Sharing

if TYPE_CHECKING:
    from rvos.stages.runner import Stage, Task

T = TypeVar("T")
Made = tuple["Task", Callable[[], Any]]


class PoolDevices(OneDevice):
    """`workers` processes of this machine; one is this process itself."""

    def __init__(self, workers: int, sharing: Sharing | None = None):
        super().__init__(sharing=sharing)
        self.workers = workers

    def run(self, work: Callable[[Place], T]) -> T:
        return work(PoolPlace(self.workers) if self.workers > 1 else Place())


class PoolPlace(Place):
    """The own process reads, the others make: they call the stage's `job` with what it read.

    A task is taken when a process is about to be free, so that memory holds few.
    """

    def __init__(self, workers: int):
        super().__init__()
        self.workers = workers
        self._running: dict[Future[Any], Task] = {}

    def each(
        self, stage: "Stage", tasks: "Iterator[Task]", advance: Callable[[int], None]
    ) -> Iterator[Made]:
        self._executor = self._start(self.workers)
        try:
            for task in tasks:
                self._submit(stage, task)
                while len(self._running) > self.workers:
                    yield from self._ended(stage)
            while self._running:
                yield from self._ended(stage)
        finally:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _start(self, workers: int) -> ProcessPoolExecutor:
        # spawn: safe whatever threads or devices this process holds.
        return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))

    def _submit(self, stage: "Stage", task: "Task") -> None:
        try:
            self._running[self._executor.submit(stage.job, task.content)] = task
        except BrokenProcessPool as error:  # `_ended` finds out whose process it was
            broken: Future[Any] = Future()
            broken.set_exception(error)
            self._running[broken] = task

    def _ended(self, stage: "Stage") -> Iterator[Made]:
        """What has ended by now, at least one."""
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        broken = []
        for future in done:
            task = self._running.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                broken.append(task)
            else:
                yield task, future.result
        if broken:
            yield from self._one_by_one(stage, [*broken, *self._running.values()])

    def _one_by_one(self, stage: "Stage", tasks: "list[Task]") -> Iterator[Made]:
        """Those that were running when a process was killed, each in a process of its own."""
        self._running.clear()
        self._executor.shutdown(wait=True, cancel_futures=True)
        for task in tasks:
            with self._start(1) as alone:
                future = alone.submit(stage.job, task.content)
                wait([future])
            yield task, future.result
        self._executor = self._start(self.workers)
