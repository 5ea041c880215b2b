"""How far the coarse masks of a split are: a bar while they are made, a table at the end."""

import logging
import resource
import sys
import time
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from rvos.data.mevis import Video
from rvos.data.sharding import cost
from rvos.stores import Store

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 60  # in logs, where no bar can be drawn


class CoarseProgress:
    """Videos, expressions/s and remaining time of all devices, shown by rank zero.

    What the other devices have finished is read off the store; of its own video in progress every
    answered sub-clip counts.
    """

    def __init__(self, videos: Sequence[Video], store: Store):
        self.videos, self.store = {video.name: video for video in videos}, store
        self.num_videos, self.num_expressions = 0, 0
        self._total = sum(cost(video) for video in videos)
        self._finished = 0  # expression-frames of finished videos
        self._answered = 0  # expression-frames of the video in progress
        self._started: float | None = None  # None: not shown
        self._bar = Progress(
            TextColumn("Coarse masks"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            speed_estimate_period=3600,
        )
        self._task = self._bar.add_task("", total=self._total, start=False, status="")

    def start(self) -> None:
        self._started = self._last_line = time.monotonic()
        self._bar.start()
        self._bar.start_task(self._task)
        self._show()

    def advance(self, expression_frames: int) -> None:
        """So much of the video in progress is answered."""
        self._answered += expression_frames
        self._show()

    def finish(self) -> None:
        """The video in progress is in the store."""
        self._answered = 0
        self.refresh()

    def refresh(self) -> None:
        if self._started is None:
            return
        missing = set(self.store.missing(self.videos))
        done = [video for name, video in self.videos.items() if name not in missing]
        self.num_videos = len(done)
        self.num_expressions = sum(len(video.expressions) for video in done)
        self._finished = sum(cost(video) for video in done)
        self._show()

    def stop(self) -> None:
        """Also after an error, and on devices that showed nothing."""
        if self._started is not None:
            self.refresh()
            self._bar.stop()

    def _show(self) -> None:
        if self._started is None:
            return
        now = time.monotonic()
        seconds = max(now - self._started, 1e-9)
        answered = self._finished + self._answered
        expressions = sum(len(video.expressions) for video in self.videos.values())
        rate = expressions * answered / self._total / seconds if self._total else 0.0
        status = (
            f"{self.num_videos}/{len(self.videos)} videos, "
            f"{rate:.{1 if rate >= 1 else 3}f} expressions/s"
        )
        self._bar.update(self._task, completed=answered, status=status)
        if not self._bar.console.is_terminal and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = seconds * (self._total - answered) / answered if answered else float("nan")
            log.info("coarse masks: %s, %.0f min left", status, left / 60)

    def print_summary(self, num_failed: int, num_devices: int) -> None:
        """What this start did."""
        assert self._started is not None
        seconds = time.monotonic() - self._started
        table = Table(title="Coarse masks", show_header=False)
        rows = {
            "videos": f"{self.num_videos} of {len(self.videos)}",
            "videos with unreadable frames": str(num_failed),
            "expressions": str(self.num_expressions),
            "expression-frames": str(self._finished),
            "seconds": f"{seconds:.1f}",
            "expressions/s": f"{self.num_expressions / seconds:.3g}",
            "devices": str(num_devices),
            "peak memory (first device)": _peak_memory(),
        }
        for row in rows.items():
            table.add_row(*row)
        console = Console()
        console.print(table)
        console.print(str(self.store.path), soft_wrap=True)


def _peak_memory() -> str:
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    text = f"{host / 2**30:.2f} GiB"
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        text += f", on the GPU {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"
    return text
