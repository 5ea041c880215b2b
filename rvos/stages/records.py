"""What a folder of results says of videos that are not done: starts and failures.

Beside `<video>.json.gz`, which says that a video is done, lie hidden files:

- `.<video>.started`: how often a process has begun the video. It is removed when the video is done
  or has failed, and when its process ends in order; what stays counts processes that were killed.
- `.<video>.failed`: what went wrong with the video.
"""

import os
import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import PositiveInt, TypeAdapter

from rvos.errors import InputError, list_problems
from rvos.masks import read_json, write_json
from rvos.stages.run_folder import as_written

T = TypeVar("T")
MAX_STARTS = 2  # of a video whose processes were all killed; then it has failed
Problems = Mapping[str, Sequence[str]]  # by kind
Failures = Mapping[str, Problems]  # by video


def together(several: Iterable[Problems]) -> dict[str, list[str]]:
    """Problems of several videos by kind, in their order, each text once."""
    by_kind: dict[str, dict[str, None]] = defaultdict(dict)
    for problems in several:
        for kind, texts in problems.items():
            by_kind[kind] |= dict.fromkeys(texts)
    return {kind: list(texts) for kind, texts in by_kind.items()}


class VideoProblems(InputError):
    """All that is wrong with one video or several, by kind."""

    def __init__(self, problems: Problems):
        self.problems = problems
        super().__init__("\n".join(list_problems(kind, texts) for kind, texts in problems.items()))

    def __reduce__(self) -> tuple[type["VideoProblems"], tuple[Problems]]:
        return VideoProblems, (self.problems,)


def raise_failures(failed: Failures) -> None:
    """Raise one VideoProblems with all failures, if there are any."""
    if failed:
        raise VideoProblems(together(failed.values()))


def beside(folder: Path, video: str, kind: str) -> Path:
    """The hidden file of a kind of a video, whose name may have folders in it."""
    path = folder / video
    return path.with_name(f".{path.name}.{kind}")


@dataclass(frozen=True)
class Start:
    """Who began a video."""

    starts: PositiveInt  # how many have
    host: str
    pid: PositiveInt
    job: str | None  # of SLURM

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"{self.host}, process {self.pid}{job}; starts: {self.starts}"


@dataclass(frozen=True)
class _Failed:
    problems: dict[str, list[str]]


_START, _FAILED = TypeAdapter(Start), TypeAdapter(_Failed)


class Records:
    """The hidden files of a folder; at the end of the context no start of this process is left."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._begun: set[str] = set()

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *_: object) -> None:
        for video in list(self._begun):
            self.end(video)

    def begin(self, video: str) -> None:
        """Note that this process begins the video."""
        job = [os.environ.get(f"SLURM_{key}") for key in ("ARRAY_JOB_ID", "ARRAY_TASK_ID")]
        who = {"host": socket.gethostname(), "pid": os.getpid()}
        who["job"] = "_".join(filter(None, job)) or os.environ.get("SLURM_JOB_ID")
        write_json(beside(self.folder, video, "started"), {"starts": self.starts(video) + 1} | who)
        self._begun.add(video)

    def end(self, video: str, problems: Problems | None = None) -> None:
        """The video is done, has failed of `problems`, or is given back."""
        if problems:
            write_json(beside(self.folder, video, "failed"), {"problems": problems})
        beside(self.folder, video, "started").unlink(missing_ok=True)
        self._begun.discard(video)

    def starts(self, video: str) -> int:
        """How many processes began the video and did not end in order."""
        start = self.start(video)
        return start.starts if start else 0

    def at_work(self, video: str) -> bool:
        """Whether another process of this machine has begun the video and is still there."""
        start = self.start(video)
        if not start or start.host != socket.gethostname() or start.pid == os.getpid():
            return False
        try:
            os.kill(start.pid, 0)
        except OSError as error:
            return isinstance(error, PermissionError)  # another user's; else nobody's
        except OverflowError:
            return False
        return True

    def failure(self, video: str) -> Problems:
        """What went wrong with the video; empty if nothing is known."""
        failed = self._read(video, "failed", _FAILED)
        return failed.problems if failed else {}

    def start(self, video: str) -> Start | None:
        """Who began the video; None if nobody has, or the file is damaged."""
        return self._read(video, "started", _START)

    def _read(self, video: str, kind: str, form: TypeAdapter[T]) -> T | None:
        try:
            return as_written(form, read_json(beside(self.folder, video, kind)))
        except ValueError:  # FileError, too
            return None

    def forget(self, video: str) -> None:
        """Whoever starts again asks for what has failed."""
        beside(self.folder, video, "failed").unlink(missing_ok=True)
