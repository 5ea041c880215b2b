"""Progress of a stage: a bar over all devices while it runs, a table at the end."""

import logging
import resource
import sys
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 60  # in logs, where no bar can be drawn


class StageProgress:
    """Videos, rate and remaining time of all devices, shown by the first process.

    Videos that other devices have finished are recognised by their files (`is_done`); of this
    device's video in progress every reported part counts. `costs`: {video: cost in `unit`}, where
    the unit is for example "expression-frames".
    """

    def __init__(
        self, name: str, unit: str, costs: Mapping[str, int], is_done: Callable[[str], bool]
    ):
        self.name, self.unit, self.costs, self.is_done = name, unit, costs, is_done
        self.num_videos = 0
        self._total = sum(costs.values())
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

    def finish(self) -> None:
        """Report that the file of the video in progress is written."""
        self._in_progress = 0
        self._refresh()

    def stop(self) -> None:
        """Remove the bar. May be called after an error, and on devices that show none."""
        if self._started is not None:
            self._in_progress = 0
            self._refresh()
            self._bar.stop()

    def _refresh(self) -> None:
        if self._started is not None:
            done = [video for video in self.costs if self.is_done(video)]
            self.num_videos = len(done)
            self._finished = sum(self.costs[video] for video in done)
            self._show()

    def _show(self) -> None:
        if self._started is None:
            return
        now = time.monotonic()
        seconds = max(now - self._started, 1e-9)
        done = min(self._finished + self._in_progress, self._total)
        status = f"{self.num_videos}/{len(self.costs)} videos, {done / seconds:.3g} {self.unit}/s"
        self._bar.update(self._task, completed=done, status=status)
        if not self._bar.console.is_terminal and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = seconds * (self._total - done) / done if done else float("nan")
            log.info("%s: %s, %.0f min left", self.name, status, left / 60)

    def print_summary(self, num_failed: int, num_devices: int, where: str) -> None:
        """Print a table of what this process and the other devices did."""
        assert self._started is not None
        seconds = time.monotonic() - self._started
        table = Table(title=self.name.capitalize(), show_header=False)
        rows = {
            "videos": f"{self.num_videos} of {len(self.costs)}",
            "videos with unreadable frames": str(num_failed),
            self.unit: str(self._finished),
            "seconds": f"{seconds:.1f}",
            f"{self.unit}/s": f"{self._finished / seconds:.3g}",
            "devices": str(num_devices),
            "peak memory (first device)": _peak_memory(),
        }
        for row in rows.items():
            table.add_row(*row)
        console = Console()
        console.print(table)
        console.print(where, soft_wrap=True)


def _peak_memory() -> str:
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    text = f"{host / 2**30:.2f} GiB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        text += f", on the GPU {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"
    return text
