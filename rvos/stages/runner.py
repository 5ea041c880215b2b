"""A stage + a split -> one file per video: on any devices, in any number of jobs, resumable.

Whatever makes files per video (coarse masks, masklets, scores) runs through `run_stage`. It finds
what is missing, checks it, shares it out among the processes of the run by a count, shows how far
it is, reads the next video while one is made (the first, while networks load), and returns what
went wrong. Runs that know nothing of each other may fill one store: each goes through the missing
videos in a random order and looks again before each one. A second start does what is missing.
"""

import logging
import random
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import normalize

from rich.console import Console

from rvos.data.frames import FrameCache, FrameError, Frames
from rvos.data.split import Split, Video
from rvos.errors import InputError, list_problems
from rvos.stages.devices import Devices, Place, raise_together
from rvos.stages.progress import StageProgress
from rvos.stages.records import (
    MAX_STARTS,
    Failures,
    Problems,
    Records,
    VideoProblems,
    together,
)
from rvos.stages.sharding import Sharing
from rvos.stages.store import Store

log = logging.getLogger(__name__)
IDLE_SECONDS = 0.2  # between two looks at whether the other processes have ended
_AGAIN = "the other videos are done, a second start does these"
Advance = Callable[[int], None]


class TooLarge(InputError):
    """A video does not fit into memory."""


class Stage(ABC):
    """A step that makes one file per video; a simple one defines only `missing` and `make`."""

    name: str  # in messages, such as "coarse masks"
    unit = "frames"  # of `cost`
    reads_frames = True
    store: Store
    job: Callable[[Any], Any]  # `make` as a function of `read`'s result, for a pool of processes
    remarks_title = ""

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.store.path

    @abstractmethod
    def missing(self, video: Video) -> bool:
        """Whether the video's file does not exist yet or lacks something."""

    @abstractmethod
    def make(self, video: Video, content: Any, advance: Advance) -> Any:
        """What goes into the video's file; `content` is what `read` gave.

        `advance(n)` says that n of the video's `cost` are done. An InputError ends this video.
        """

    def write(self, video: Video, made: Any) -> None:
        """Keep what was made."""
        self.store.write(video.name, made)

    def cost(self, video: Video) -> int:
        """What the video takes, in `unit`."""
        return len(video.frames)

    def problems(self, video: Video) -> list[str]:
        """What is wrong with a video beside missing frames, before the work begins."""
        return []

    def plan(self, split: Split, videos: Sequence[Video], world_size: int) -> str:
        """What is going to be done, in words."""
        frames = sum(len(video.frames) for video in videos)
        count = f"{len(videos)} of {len(split.videos)} videos, {frames} frames"
        return f"{self.name}, {split.name}: {count} on {world_size} device(s)\n  {self.folder}"

    def prepare(self, place: Place) -> None:  # noqa: B027
        """Load what the work needs. Called once in every process that has something to do."""

    def read(self, split: Split, video: Video) -> Any:
        """What `make` needs of a video. Runs in a thread while the video before is made."""
        return self.open(split.open_frames(video)) if self.reads_frames else None

    def open(self, frames: Frames) -> Frames:
        """The frames as `make` wants them."""
        return frames

    @cached_property
    def remarks(self) -> list[str]:
        """What a user should know of the videos made, listed at the end; `make` adds to it."""
        return []


def run_stage(
    stage: Stage, split: Split, devices: Devices, *, leave_out: Collection[str] = ()
) -> Failures:
    """Make what the stage's folder lacks of a split; returns the videos that failed: why.

    With several devices every process calls this; all return when all videos are made, or those of
    this run's shard. `leave_out` are names of videos that an earlier stage could not make. What is
    finished stays valid. Raises InputError before any work for missing frames and whatever
    `problems` finds, and, when all devices have done their share, if one could not go on (a full
    disk).
    """
    return devices.run(lambda place: _work(stage, split, place, devices.sharing, leave_out))


def _work(
    stage: Stage, split: Split, place: Place, sharing: Sharing, leave_out: Collection[str]
) -> Failures:
    part = [video for video in sharing.part(split.videos) if video.name not in leave_out]
    # The first process' list counts: others may be filling the same store.
    names, suspects = place.from_first(_order(stage, part) if place.rank == 0 else ([], []))
    if not names:
        if place.rank == 0:
            log.info("%s: all %d videos are in %s", stage.name, len(part), stage.folder)
        return {}
    by_name = {video.name: video for video in split.videos}
    videos = [by_name[name] for name in names]
    in_order = [video for video in part if video.name in set(names)]
    raise_together(place, _problems(stage, split, in_order[place.rank :: place.world_size]))
    progress = StageProgress(stage.name, stage.unit, list(map(stage.cost, videos)), place.add)
    if place.rank == 0:
        Console().print(stage.plan(split, videos, place.world_size), soft_wrap=True, markup=False)
        progress.start()
    fatal: list[str] = []  # what ended the work of a process
    try:
        with Records(stage.folder) as records:
            share = _Share(stage, split, place, videos, suspects, records, progress)
            try:
                share.make()
            except InputError as error:  # raised when all devices have come to their end
                fatal.append(str(error))
        _wait_for_others(place)
    finally:
        progress.stop()
    failed = dict(place.gather(list(share.failed.items())))
    still = place.from_first([n for n in by_name if n in failed and stage.missing(by_name[n])])
    failed = {name: failed[name] for name in still}
    fatal, remarks = place.gather(fatal), place.gather(stage.remarks)
    if place.rank == 0:
        progress.print_summary(len(failed), place.world_size, str(stage.folder))
        if remarks:
            log.warning(list_problems(stage.remarks_title, remarks))
    if fatal:
        kinds = together(failed.values())
        fatal += [list_problems(kind, texts) for kind, texts in kinds.items()]
        raise InputError("\n".join(dict.fromkeys(fatal)))
    return failed


def _order(stage: Stage, videos: Sequence[Video]) -> tuple[list[str], list[str]]:
    """The missing videos, shuffled, those that have killed processes last; and these by themselves.

    Whoever starts asks for what has failed again.
    """
    names = [video.name for video in videos if stage.missing(video)]
    random.SystemRandom().shuffle(names)  # whatever the seed: runs of one seed go different ways
    records = Records(stage.folder)
    for name in names:
        records.forget(name)
    suspects = [name for name in names if records.starts(name) >= MAX_STARTS]
    return [name for name in names if name not in suspects] + suspects, suspects


def _problems(stage: Stage, split: Split, videos: Sequence[Video]) -> list[str]:
    """Everything that would stop the work later."""
    problems = _taken_for_one(stage.folder, split.videos)
    for video in videos:
        if stage.reads_frames:
            try:
                split.open_frames(video)
            except FrameError as error:
                problems.append(str(error))
        problems += stage.problems(video)
    title = f"{stage.name}, {split.folder}: videos that cannot be made"
    return [list_problems(title, problems)] if problems else []


def _taken_for_one(folder: Path, videos: Sequence[Video]) -> list[str]:
    """Names of videos that a file system without upper and lower case (exFAT, a Mac's) confuses."""
    alike: dict[str, list[str]] = defaultdict(list)
    for video in videos:
        alike[normalize("NFC", video.name).casefold()].append(video.name)
    problems = [f"one file for the videos {', '.join(n)}" for n in alike.values() if len(n) > 1]
    if problems:
        folder.mkdir(parents=True, exist_ok=True)
        swapped = folder.name.swapcase()  # the same where a name has no letters
        if swapped != folder.name and folder.with_name(swapped).exists():
            return [f"{folder} is on a disk that has {problem}" for problem in problems]
    return []


def _wait_for_others(place: Place) -> None:
    """Wait until all processes have come here: longer than a process group may wait."""
    ended = place.add("ended", 1)
    while ended < place.world_size:
        time.sleep(IDLE_SECONDS)
        ended = place.add("ended", 0)


@dataclass
class Task:
    """A video whose turn comes, with what `read` gave, or why it could not be read."""

    video: Video
    content: Any = None
    error: Exception | None = None

    def fail(self) -> None:
        """Raise the error."""
        assert self.error is not None
        raise self.error

    def close(self) -> None:
        """Free the frames."""
        if isinstance(self.content, FrameCache):
            self.content.close()


class _Share:
    """What one process makes of a stage's videos; `failed` takes those that it could not make."""

    def __init__(
        self,
        stage: Stage,
        split: Split,
        place: Place,
        videos: Sequence[Video],
        suspects: Collection[str],
        records: Records,
        progress: StageProgress,
    ):
        self.stage, self.split, self.place, self.videos = stage, split, place, videos
        self.suspects, self.records, self.progress = suspects, records, progress
        self.failed: dict[str, Problems] = {}

    def make(self) -> None:
        """Make one video after another while some are left. Raises InputError if it cannot go on.

        A video is read while the one before is made; the first, while networks load.
        """
        turns = self._turns()
        if (first := next(turns, None)) is None:
            return
        with ThreadPoolExecutor(1) as thread:
            turns = chain([first], turns)
            self._coming: Future[Task | None] = thread.submit(self._next, turns)
            try:
                self.stage.prepare(self.place)
                tasks = self._tasks(thread, turns)
                for task, result in self.place.each(self.stage, tasks, self.progress.advance):
                    self._settle(task, result)
            finally:
                if self._coming.exception() is None and (unused := self._coming.result()):
                    unused.close()

    def _turns(self) -> Iterator[Video]:
        """The videos that are this process' to make, each begun when it is given."""
        while (turn := self.place.add("turns", 1) - 1) < len(self.videos):
            video = self.videos[turn]
            name = video.name
            if not self.stage.missing(video) or self._has_failed(name):
                self.progress.finish(self.stage.cost(video))
                continue
            try:
                self.records.begin(name)
            except OSError as error:
                raise self._cannot_go_on(name, error) from None
            yield video

    def _has_failed(self, name: str) -> bool:
        """Whether another run, or runs that were killed, could not make the video."""
        problems = self.records.failure(name)
        starts = self.records.starts(name) if name in self.suspects else 0
        if starts >= MAX_STARTS and not self.records.at_work(name):
            text = f"video {name}: {starts} processes that made it were killed, or hung"
            problems = {f"{self.stage.name}: lost: {_AGAIN}": [text]}
            self.records.end(name, problems)
        if problems:
            self.failed[name] = problems
        return bool(problems)

    def _next(self, turns: Iterator[Video]) -> Task | None:
        if (video := next(turns, None)) is None:
            return None
        try:
            return Task(video, self.stage.read(self.split, video))
        except (InputError, MemoryError) as error:
            return Task(video, error=error)

    def _tasks(self, thread: ThreadPoolExecutor, turns: Iterator[Video]) -> Iterator[Task]:
        while (task := self._coming.result()) is not None:
            self._coming = thread.submit(self._next, turns)
            if task.error is not None:
                self._settle(task, task.fail)
            else:
                yield task

    def _settle(self, task: Task, result: Callable[[], Any]) -> None:
        """Keep what was made of a video, or why it was not. Raises InputError for a full disk."""
        name = task.video.name
        try:
            self.stage.write(task.video, result())
        except VideoProblems as error:
            self._fail(name, error.problems)
        except FrameError as error:
            self._fail(name, self._kind("frames that cannot be read", name, error))
        except (TooLarge, MemoryError) as error:
            text = str(error) or "more memory than there is"
            self._fail(name, self._kind("videos that do not fit into memory", name, text))
        except BrokenProcessPool:
            text = "its process was killed, most often because the memory ran out"
            self._fail(name, self._kind("videos that killed a process", name, text))
        except InputError as error:
            self._fail(name, self._kind("videos that cannot be made", name, error))
        except FileNotFoundError:  # a file of the source's own; its name says all
            raise
        except OSError as error:
            raise self._cannot_go_on(name, error) from None
        else:
            self.records.end(name)
        finally:
            task.close()
        self.progress.finish(self.stage.cost(task.video))

    def _kind(self, what: str, name: str, error: object) -> Problems:
        return {f"{self.stage.name}: {what}; {_AGAIN}": [f"video {name}: {error}"]}

    def _fail(self, name: str, problems: Problems) -> None:
        log.error("%s", "\n".join(text for texts in problems.values() for text in texts))
        self.records.end(name, problems)
        self.failed[name] = problems

    def _cannot_go_on(self, name: str, error: OSError) -> InputError:
        return InputError(
            f"{self.stage.folder}: video {name} cannot be written: {error.strerror}. What is "
            "finished stays valid; start again to continue."
        )
