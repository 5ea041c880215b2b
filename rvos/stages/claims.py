"""Who makes which video, when processes on any machines fill one folder together.

Beside `<video>.json.gz`, which says that a video is done, lie hidden files:

- `.pulse-<id>`: one per process at work, touched every 30 seconds; it says who the process is.
- `.<video>.claim-<n>`: a hard link to the pulse of the process that makes the video, so that it is
  touched with it. A claim that is not touched for `claims.stale_after` seconds, by the clock of the
  file system, is stale (that of a process of this machine as soon as the process has ended): the
  video is taken over with the next n.
- `.<video>.failed`: what went wrong with a video. One whose claim went stale twice has failed too.

Only the file system decides: links are made or not, on NFS too, and nothing is locked. Claims lie
in the folder of the results, since making one there makes an NFS client look at that folder anew.
A process that finds no other at work begins anew: it tries again what failed.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvos.data.split import Video
from rvos.errors import InputError, SettingsError
from rvos.masks import FileError, read_json, write_json
from rvos.settings import all_checked, optional, real, require, whole
from rvos.stages.sharding import balance, cost

log = logging.getLogger(__name__)
BEAT_SECONDS = 30.0  # between two touches of a pulse
MAX_STALE = 2  # claims of a video; then it has failed
LOST = "lost: its process was killed or hung"  # the kind of such failures
Problems = Mapping[str, Sequence[str]]  # by kind


def together(several: Iterable[Problems]) -> dict[str, list[str]]:
    """Problems of several videos by kind, in their order, each text once."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for problems in several:
        for kind, texts in problems.items():
            found[kind] |= dict.fromkeys(texts)
    return {kind: list(texts) for kind, texts in found.items()}


@dataclass(frozen=True)
class Sharing:
    """What this process does of a split: keys `shard`, `shards`, and those of `claims`.

    `shard` is i, or "i/n" with n for `shards`: this process does the i-th of n parts (from 0), and
    no more. Without it, it does whatever no other process does.
    """

    shard: int | str | None = None
    shards: int | None = None
    stale_after: float = 300.0

    def __post_init__(self) -> None:
        number, slash, count = str(self.shard).partition("/")
        if slash and number.isdecimal() and count.isdecimal() and self.shards in (None, int(count)):
            object.__setattr__(self, "shard", int(number))
            object.__setattr__(self, "shards", int(count))
        known = isinstance(self.shards, int) and self.shards > 0
        last = self.shards - 1 if known and self.shards is not None else None
        all_checked(
            lambda: require(self, "", shards=optional(whole(1)), shard=optional(whole(0, last))),
            lambda: require(self, "claims", stale_after=real(least=1)),
        )
        if (self.shard is None) != (self.shards is None):
            raise SettingsError(
                [
                    "shard: expected both shard and shards, or shard=i/n, or neither; got "
                    f"shard={self.shard}, shards={self.shards}"
                ]
            )

    def part(self, videos: Sequence[Video]) -> list[Video]:
        """The videos that are this process' to do, in their order."""
        if self.shards is None or not isinstance(self.shard, int):
            return list(videos)
        mine = balance([cost(video) for video in videos], self.shards)[self.shard]
        return [videos[i] for i in mine]

    def claims(self, folder: Path) -> "Claims":
        """The claims of a folder of results."""
        return Claims(folder, self.stale_after)


class Claims:
    """The claims of a process in a folder; at the end of the context it gives back the rest."""

    def __init__(self, folder: Path, stale_after: float):
        self.folder, self.stale_after = folder, stale_after
        self.mine: set[str] = set()
        self.left = 0  # videos that were not done at the last look
        self.num_taken_over = 0
        self._pulse = folder / f".pulse-{secrets.token_hex(8)}"
        self._beat = min(BEAT_SECONDS, stale_after / 10)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._touch, daemon=True)

    # ------------------------------------------------------------------------------ a process

    def __enter__(self) -> "Claims":
        try:
            write_json(self._pulse, {**who(), "beat": self._beat, "stale_after": self.stale_after})
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be written to: {error.strerror or error}"
            ) from None
        self._thread.start()
        if not any(self._alive(p) for p in self.folder.glob(".pulse-*") if p != self._pulse):
            self._begin_anew()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()
        self.release_all()
        self._pulse.unlink(missing_ok=True)
        if self.num_taken_over:
            log.warning("%s: took over %d stale claims", self.folder, self.num_taken_over)

    def stop(self) -> None:
        """No further turns."""
        self._ended.set()

    def _touch(self) -> None:
        while not self._ended.wait(self._beat):
            try:
                os.utime(self._pulse)
            except OSError as error:
                log.error("%s: %s: others may take its videos over", self._pulse, error)

    def _begin_anew(self) -> None:
        for path in hidden(self.folder):
            kind = path.name.rpartition(".")[2]
            dead = path.name.startswith(".pulse-") or kind.startswith("claim-")
            if kind == "failed" or (dead and path != self._pulse and not self._alive(path)):
                path.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------- a video

    def turns(
        self, videos: Sequence[Video], missing: Callable[[Video], bool]
    ) -> Iterator[Video | None]:
        """Videos that are `missing` and that nobody else makes, each claimed when it is given.

        None is given when others make all that is left; ends when nothing is left but failures.
        Whoever asks says `release` or `fail` of each video.
        """
        left = list(videos)
        while left and not self._ended.is_set():
            for video in left:
                if self._ended.is_set():
                    return
                if video.name in self.mine or self.failed(video.name) or not missing(video):
                    continue
                if self.take(video.name):
                    if missing(video):
                        yield video
                    else:
                        self.release(video.name)
            left = [v for v in left if not self.failed(v.name) and missing(v)]
            self.left = len(left)
            if left:
                yield None

    def take(self, video: str) -> bool:
        """Whether the video is this process' now; a stale claim is taken over."""
        generation = 0
        while True:
            path = self._claim(video, generation)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(self._pulse, path)
            except FileNotFoundError:
                raise InputError(
                    f"{self.folder}: another process took this one for dead and removed its "
                    "claims; start again"
                ) from None
            except FileExistsError:
                if not self._holds(path):  # over NFS the answer to a link that was made may be lost
                    if self._alive(path):
                        return False
                    generation += path.exists()
                    continue
            break
        if self._alive(self._claim(video, generation + 1)):  # of one that was not dead after all
            path.unlink()
            return False
        self.mine.add(video)
        if generation >= MAX_STALE:
            text = f"video {video}: {generation} processes that made it were killed, or hung"
            self.fail(video, {LOST: [text]})
            return False
        if generation:
            self.num_taken_over += 1
            log.warning("video %s: taken over, its claim was stale", video)
        return True

    def release(self, video: str) -> None:
        """The video is done, or free again."""
        self.mine.discard(video)
        self._failed(video).unlink(missing_ok=True)
        self._give_up(video)

    def release_all(self) -> None:
        """What this process holds is free again, for the others."""
        for name in list(self.mine):
            self.release(name)

    def fail(self, video: str, problems: Problems) -> None:
        """Record what went wrong with a video, by kind."""
        write_json(self._failed(video), {"problems": problems, **who()})
        self.mine.discard(video)
        self._give_up(video)

    def failed(self, video: str) -> bool:
        """Whether a video has failed."""
        return self._failed(video).is_file()

    def failures(self, videos: Sequence[Video]) -> dict[str, Problems]:
        """The problems of each video that failed, by its name."""
        names = [video.name for video in videos if self.failed(video.name)]
        return {name: read_json(self._failed(name))["problems"] for name in names}

    def _give_up(self, video: str) -> None:
        for generation in range(MAX_STALE + 1):
            path = self._claim(video, generation)
            if self._holds(path):
                path.unlink()

    def _holds(self, claim: Path) -> bool:
        try:
            return claim.samefile(self._pulse)
        except FileNotFoundError:
            return False

    def _claim(self, video: str, generation: int) -> Path:
        return beside(self.folder, video, f"claim-{generation}")

    def _failed(self, video: str) -> Path:
        return beside(self.folder, video, "failed")

    def _alive(self, path: Path) -> bool:
        """Whether the process of a pulse or claim is at work."""
        os.utime(self._pulse)
        return is_alive(path, now=self._pulse.stat().st_mtime)


def beside(folder: Path, video: str, kind: str) -> Path:
    """The hidden file of a kind of a video, whose name may have folders in it."""
    path = folder / video
    return path.with_name(f".{path.name}.{kind}")


def hidden(folder: Path) -> list[Path]:
    """All pulses, claims and failures in a folder of results."""
    return sorted(path for path in folder.rglob(".*") if path.is_file())


def is_alive(path: Path, now: float) -> bool:
    """Whether the process that a pulse or claim is of is at work; `now` by the file system's clock.

    That of a file which is not there is not.
    """
    try:
        owner = read_json(path)
        age = now - path.stat().st_mtime
    except (FileError, OSError):
        return False
    if owner.get("place") == _place() and Path("/proc/self/stat").exists():
        return owner.get("started") == _started(owner["pid"])
    return age < float(owner.get("stale_after", 0))


def who() -> dict[str, Any]:
    """What a pulse says of its process."""
    job = [os.environ.get(f"SLURM_{key}") for key in ("ARRAY_JOB_ID", "ARRAY_TASK_ID", "JOB_ID")]
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "place": _place(),
        "job": f"{job[0]}_{job[1]}" if job[0] else job[2],
        "since": time.time(),
    }


def _place() -> str:
    """Names where process ids mean the same: this start of this machine, or a container in it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """When a process of this machine began, in the kernel's ticks; None if it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]
