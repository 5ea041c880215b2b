"""A stage + a split -> the stage's store: every video exactly once, on any devices, resumable.

Whatever makes files per video (coarse masks, masklets) runs through `run_stage`: it finds what is
missing, shares it out, checks it, shows how far it is, decodes the next video while one is made,
and collects what went wrong. A second start does what is missing.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from rvos import InputError, list_problems
from rvos.data.frames import FrameCache, FrameError, Frames
from rvos.data.split import Split, Video
from rvos.masks import FileError
from rvos.stages.devices import Devices, Place, raise_together
from rvos.stages.progress import StageProgress
from rvos.stages.sharding import balance
from rvos.stages.store import Store

log = logging.getLogger(__name__)
Advance = Callable[[int], None]


class Stage(ABC):
    """A step that makes one file per video; a simple one defines only `missing` and `make`."""

    name: str  # in messages, such as "coarse masks"
    unit = "frames"  # of `cost`
    reads_frames = True
    store: Store

    @abstractmethod
    def missing(self, video: Video) -> bool:
        """Whether the video's file does not exist yet or lacks something."""

    @abstractmethod
    def make(self, video: Video, frames: Frames | None, advance: Advance) -> Any:
        """What goes into the video's file; `frames` is what `open` gave, None if none are read.

        `advance(n)` says that n of the video's `cost` are done. Raises InputError: FrameError ends
        this video, any other the work of this process.
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
        return f"{self.name}, {split.name}: {count} on {world_size} device(s)\n  {self.store.path}"

    def prepare(self, place: Place) -> None:  # noqa: B027
        """Load what the work needs. Called once in every process that has something to do."""

    def open(self, frames: Frames) -> Frames:
        """The frames as `make` wants them. Runs in a thread while the video before is made."""
        return frames

    def remarks(self) -> list[str]:
        """What a user should know of the videos made, listed at the end."""
        return []

    remarks_title = ""


def run_stage(stage: Stage, split: Split, devices: Devices) -> None:
    """Make what the stage's store lacks for a split.

    With several devices every process calls this; all return when all videos are there. Raises
    InputError before any work for missing frames and whatever `problems` finds; after the other
    videos are done, for frames that cannot be decoded; and, when all devices have done their share,
    if one could not go on (a full disk). What is finished stays valid.
    """
    devices.run(lambda place: _work(stage, split, place))


@dataclass
class _Outcome:
    """What one process has to tell at its end."""

    unreadable: list[str] = field(default_factory=list)  # the other videos went on
    fatal: list[str] = field(default_factory=list)  # what ended the process' work


def _work(stage: Stage, split: Split, place: Place) -> None:
    # The first process' list counts: others may be filling the same store.
    names = place.from_first([video.name for video in split.videos if stage.missing(video)])
    if not names:
        if place.rank == 0:
            log.info("%s: all %d videos are in %s", stage.name, len(split.videos), stage.store.path)
        return
    by_name = {video.name: video for video in split.videos}
    videos = [by_name[name] for name in names]
    costs = {video.name: stage.cost(video) for video in videos}
    mine = [videos[i] for i in balance(list(costs.values()), place.world_size)[place.rank]]
    raise_together(place, list(_problems(stage, split, mine)))
    progress = StageProgress(
        stage.name, stage.unit, costs, lambda name: not stage.missing(by_name[name])
    )
    if place.rank == 0:
        Console().print(stage.plan(split, videos, place.world_size), soft_wrap=True, markup=False)
        progress.start()
    outcome = _Outcome()
    try:
        if mine:
            _make_all(stage, split, mine, place, progress, outcome)
    finally:
        progress.stop()
    unreadable, fatal = place.gather(outcome.unreadable), place.gather(outcome.fatal)
    remarks = place.gather(stage.remarks())
    if place.rank == 0:
        progress.print_summary(len(unreadable), place.world_size, str(stage.store.path))
        if remarks:
            log.warning(list_problems(stage.remarks_title, remarks))
    if unreadable:
        title = "frames that cannot be read; the other videos are done, a second start does these"
        fatal.append(list_problems(f"{stage.name}: {title}", unreadable))
    if fatal:
        raise InputError("\n".join(dict.fromkeys(fatal)))


def _problems(stage: Stage, split: Split, videos: Sequence[Video]) -> Iterator[str]:
    """Everything that would stop the work later."""
    found = []
    for video in videos:
        if stage.reads_frames:
            try:
                split.open_frames(video)
            except FrameError as error:
                found.append(str(error))
        found += stage.problems(video)
    if found:
        yield list_problems(f"{stage.name}, {split.folder}: videos that cannot be made", found)


def _make_all(
    stage: Stage,
    split: Split,
    videos: Sequence[Video],
    place: Place,
    progress: StageProgress,
    outcome: _Outcome,
) -> None:
    """One process' videos, one file each; the next video's frames are decoded meanwhile."""
    opening: Future[Frames | None] | None = None
    with ThreadPoolExecutor(1) as thread:
        try:
            stage.prepare(place)
            for i, video in enumerate(videos):
                opened = opening or thread.submit(_open, stage, split, video)
                opened.exception()  # waits, before the next one is begun
                following = videos[i + 1 : i + 2]
                opening = thread.submit(_open, stage, split, following[0]) if following else None
                try:
                    _make(stage, video, opened, progress)
                except FrameError as error:
                    log.error("%s", error)
                    outcome.unreadable.append(f"video {video.name}: {error}")
                else:
                    progress.finish()
        except InputError as error:  # raised when all devices have come to their end
            outcome.fatal.append(str(error))
        finally:
            if opening is not None and opening.exception() is None:
                _close(opening.result())


def _open(stage: Stage, split: Split, video: Video) -> Frames | None:
    return stage.open(split.open_frames(video)) if stage.reads_frames else None


def _make(
    stage: Stage, video: Video, opened: "Future[Frames | None]", progress: StageProgress
) -> None:
    """One video. Raises FrameError for its frames, any other InputError with the video's name."""
    frames: Frames | None = None
    try:
        frames = opened.result()
        made = stage.make(video, frames, progress.advance)
    except FrameError:
        raise
    except (InputError, FileError) as error:
        raise InputError(f"video {video.name}: {error}") from None
    finally:
        _close(frames)
    _write(stage, video, made)


def _close(frames: Frames | None) -> None:
    if isinstance(frames, FrameCache):
        frames.close()


def _write(stage: Stage, video: Video, made: Any) -> None:
    try:
        stage.write(video, made)
    except OSError as error:
        raise InputError(
            f"{stage.store.path}: video {video.name} cannot be written: "
            f"{os.strerror(error.errno or 0)}. What is finished stays valid; start again to "
            "continue."
        ) from None
