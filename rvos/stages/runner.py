"""A stage + a split -> the stage's store: every video exactly once, on any devices, resumable.

Whatever makes files per video (coarse masks, masklets) runs through `run_stage`: it finds what is
missing, shares it out, also with other runs that fill the same store (`claims.py`), checks it,
shows how far it is, decodes the next video while one is made (the first, while networks load), and
collects what went wrong. A second start does what is missing.
"""

import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from rvos.data.frames import FrameCache, FrameError, Frames
from rvos.data.split import Split, Video
from rvos.errors import InputError, list_problems
from rvos.stages.claims import Claims, Problems, Sharing, together
from rvos.stages.devices import Devices, Place, raise_together
from rvos.stages.progress import StageProgress
from rvos.stages.sharding import balance
from rvos.stages.store import Store

log = logging.getLogger(__name__)
IDLE_SECONDS = 1.0  # between two looks at what others have done
_UNREADABLE = "frames that cannot be read; the other videos are done, a second start does these"
_TOO_LARGE = "videos that do not fit into memory; the others are done, a second start does these"
Advance = Callable[[int], None]


class TooLarge(InputError):
    """A video does not fit into memory; it has failed, and the others go on."""


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

        `advance(n)` says that n of the video's `cost` are done. Raises InputError: FrameError and
        TooLarge end this video, any other the work of this process.
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

    With several devices every process calls this; all return when all videos are there, or those of
    this run's shard. Raises InputError before any work for missing frames and whatever `problems`
    finds, and, when all devices have done their share, if one could not go on (a full disk). Videos
    whose frames cannot be decoded or that do not fit into memory have failed; the others go on, and
    at the end `devices.failed` takes those, or InputError is raised. A video that failed in an
    earlier stage is left out. What is finished stays valid.
    """
    before = devices.failed or {}
    failed = devices.run(lambda place: _work(stage, split, place, devices.sharing, before))
    if devices.failed is not None:
        devices.failed |= failed
    elif failed:
        kinds = together(failed.values())
        raise InputError("\n".join(list_problems(kind, texts) for kind, texts in kinds.items()))


def _work(
    stage: Stage, split: Split, place: Place, sharing: Sharing, before: Mapping[str, Problems]
) -> dict[str, Problems]:
    """The videos that failed, by name."""
    # The first process' list counts: others may be filling the same store.
    part = [video for video in sharing.part(split.videos) if video.name not in before]
    names = place.from_first([video.name for video in part if stage.missing(video)])
    if not names:
        if place.rank == 0:
            log.info("%s: all %d videos are in %s", stage.name, len(part), stage.store.path)
        return {}
    by_name = {video.name: video for video in part}
    videos = [by_name[name] for name in names]
    costs = {video.name: stage.cost(video) for video in videos}
    shares = balance(list(costs.values()), place.world_size)
    raise_together(place, list(_problems(stage, split, [videos[i] for i in shares[place.rank]])))
    progress = StageProgress(
        stage.name, stage.unit, costs, lambda name: not stage.missing(by_name[name])
    )
    if place.rank == 0:
        Console().print(stage.plan(split, videos, place.world_size), soft_wrap=True, markup=False)
        progress.start()
    # Its own share first, then what the others have not begun.
    order = [videos[i] for share in shares[place.rank :] + shares[: place.rank] for i in share]
    fatal: list[str] = []  # what ended the work of a process
    try:
        with sharing.claims(stage.store.path) as claims:
            try:
                _make_all(stage, split, order, place, progress, claims)
            except InputError as error:  # raised when all devices have come to their end
                fatal.append(str(error))
                claims.release_all()  # the others wait for them otherwise
            fatal = place.gather(fatal)
            failed = claims.failures(videos)
    finally:
        progress.stop()
    remarks = place.gather(stage.remarks())
    if place.rank == 0:
        progress.print_summary(len(failed), place.world_size, str(stage.store.path))
        if remarks:
            log.warning(list_problems(stage.remarks_title, remarks))
    if fatal:
        kinds = together(failed.values())
        fatal += [list_problems(f"{stage.name}: {kind}", texts) for kind, texts in kinds.items()]
        raise InputError("\n".join(dict.fromkeys(fatal)))
    return {
        name: {f"{stage.name}: {kind}": texts for kind, texts in problems.items()}
        for name, problems in failed.items()
    }


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
    claims: Claims,
) -> None:
    """What nobody else makes, one file each.

    A video's frames are decoded while the one before is made; the first's, while networks load.
    """
    turns = claims.turns(videos, stage.missing)
    opening: Future[_Opened | None] | None = None
    with ThreadPoolExecutor(1) as thread:
        try:
            if (first := _turn(turns)) is None:
                return
            opening = thread.submit(_open, stage, split, first)
            stage.prepare(place)
            while (opened := opening.result()) is not None:
                opening = thread.submit(_next, stage, split, turns)
                failed = _make(stage, opened, progress)
                if failed:
                    claims.fail(opened.video.name, failed)
                else:
                    claims.release(opened.video.name)
                    progress.finish()
        finally:
            claims.stop()
            if opening is not None and opening.exception() is None:
                left = opening.result()
                _close(left.frames if left else None)


@dataclass
class _Opened:
    """A video whose turn comes, with its frames or why they cannot be read."""

    video: Video
    frames: Frames | None = None
    error: FrameError | None = None


def _turn(turns: Iterator[Video | None]) -> Video | None:
    """The next video that nobody else makes; waits while others make all that is left."""
    for video in turns:
        if video is not None:
            return video
        time.sleep(IDLE_SECONDS)
    return None


def _open(stage: Stage, split: Split, video: Video) -> _Opened:
    try:
        frames = stage.open(split.open_frames(video)) if stage.reads_frames else None
        return _Opened(video, frames)
    except FrameError as error:
        return _Opened(video, error=error)


def _next(stage: Stage, split: Split, turns: Iterator[Video | None]) -> _Opened | None:
    """The next video of this process, opened; None when nothing is left."""
    video = _turn(turns)
    return None if video is None else _open(stage, split, video)


def _make(stage: Stage, opened: _Opened, progress: StageProgress) -> Problems:
    """Make one video and return why it failed, if so. Raises InputError with the video's name."""
    name = opened.video.name
    try:
        if opened.error is not None:
            raise opened.error
        made = stage.make(opened.video, opened.frames, progress.advance)
    except FrameError as error:
        log.error("%s", error)
        return {_UNREADABLE: [f"video {name}: {error}"]}
    except (TooLarge, MemoryError) as error:
        log.error("video %s: %s", name, error)
        return {_TOO_LARGE: [f"video {name}: {error}"]}
    except InputError as error:
        raise InputError(f"video {name}: {error}") from None
    finally:
        _close(opened.frames)
    _write(stage, opened.video, made)
    return {}


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
