"""Progress of a stage: a bar over all devices while it runs, a line at the end."""

import logging
import resource
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 60  # in logs, where no bar can be drawn


class StageProgress:
    """Videos, rate and remaining time of all devices, shown by the first process.

    `costs` are those of the videos in `unit`, for example "expression-frames". `add` adds to a
    count that all processes share (`Place.add`); of the first one's video in progress every
    reported part counts.
    """

    def __init__(self, name: str, unit: str, costs: Sequence[int], add: Callable[[str, int], int]):
        self.name, self.unit, self.add = name, unit, add
        self._num_videos, self._total = len(costs), sum(costs)
        self._finished = 0  # cost of finished videos
        self._in_progress = 0  # of the video in progress
        self._started: float | None = None  # None: not shown
        self._bar = Progress(
            TextColumn(name.capitalize()),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            speed_estimate_period=3600,
        )
        self._task = self._bar.add_task("", total=self._total, start=False, status="")

    def start(self) -> None:
        """Show the bar and start the clock."""
        self._started = self._last_line = time.monotonic()
        self._bar.start()
        self._bar.start_task(self._task)
        self._show()

    def advance(self, count: int) -> None:
        """Report that a further part of the video in progress is done, in `unit`."""
        self._in_progress += count
        self._show()

    def finish(self, cost: int) -> None:
        """Report that a video of this cost is done, by whomever."""
        self._in_progress = 0
        self._finished = self.add("cost", cost)
        self.add("videos", 1)
        self._show()

    def stop(self) -> None:
        """Remove the bar. May be called after an error, and on devices that show none."""
        if self._started is not None:
            self._in_progress = 0
            self._show()
            self._bar.stop()

    def _show(self) -> None:
        if self._started is None:
            return
        now = time.monotonic()
        seconds = max(now - self._started, 1e-9)
        done = min(self._finished + self._in_progress, self._total)
        videos = f"{self.add('videos', 0)}/{self._num_videos} videos"
        status = f"{videos}, {done / seconds:.3g} {self.unit}/s"
        self._bar.update(self._task, completed=done, status=status)
        if not self._bar.console.is_terminal and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = seconds * (self._total - done) / done if done else float("nan")
            log.info("%s: %s, %.0f min left", self.name, status, left / 60)

    def print_summary(self, num_failed: int, num_devices: int, where: str) -> None:
        """Say in a line what this process and the other devices did."""
        assert self._started is not None
        seconds = max(time.monotonic() - self._started, 1e-9)
        failed = f", of which {num_failed} failed" if num_failed else ""
        done = self.add("cost", 0)
        Console().print(
            f"{self.name}: {self._num_videos} videos{failed} in {seconds:.1f} s, "
            f"{done / seconds:.3g} {self.unit}/s on {num_devices} device(s), "
            f"peak memory {_peak_memory()}\n  {where}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )


def _peak_memory() -> str:
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    text = f"{host / 2**30:.2f} GiB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        text += f", on the GPU {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"
    return text
