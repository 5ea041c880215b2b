"""How far a run or a store is: what is done, has failed and why, was begun, is missing.

python -m rvos status RUN|STORE
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rvos.errors import InputError, list_problems
from rvos.score.results import FOLDER
from rvos.stages.records import Failures, Records, together
from rvos.stages.run_folder import SETTINGS_FILE, kept_videos, read_settings

PAUSE = 10.0  # times the usual seconds between two videos: then nobody worked


@dataclass(frozen=True)
class Status:
    """What a folder of results says."""

    done: dict[str, float]  # video -> when it was written, in s
    total: int | None  # None where only the stage knows: of a store
    begun: dict[str, str]  # begun and not done, by process: on which host, in which job
    failed: Failures
    now: float  # by the clock of the file system, in s

    @classmethod
    def of(cls, folder: Path) -> "Status":
        """Of a run folder or a store. Raises InputError for any other folder."""
        total = None
        if (folder / SETTINGS_FILE).is_file():
            total = len(kept_videos(folder))
            scored = (read_settings(folder).get("config") or {}).get("task") == "eval"
            folder = folder / (FOLDER if scored else "refined")
        elif not (folder / "provenance.json").is_file():
            raise InputError(
                f"{folder}: expected a run folder of eval.py ({SETTINGS_FILE}) or a store "
                "(provenance.json)"
            )
        files = [path for path in folder.rglob("*.json.gz") if not path.name.startswith(".")]
        done = {
            str(path.relative_to(folder)).removesuffix(".json.gz"): path.stat().st_mtime
            for path in files
        }
        records = Records(folder)
        failed = {video: records.failure(video) for video in _hidden(folder, "failed")}
        starts = {video: records.start(video) for video in _hidden(folder, "started")}
        begun = {video: str(start or "ended just now") for video, start in starts.items()}
        begun = {video: who for video, who in begun.items() if video not in {*done, *failed}}
        return cls(done, total, begun, failed, _now(folder))

    @property
    def missing(self) -> int | None:
        """How many videos are neither done nor failed; None where nobody can say."""
        return None if self.total is None else self.total - len({*self.done, *self.failed})

    @property
    def seconds_left(self) -> float | None:
        """At the rate at which files were written, without pauses; None where nobody can say."""
        times = sorted(self.done.values())
        gaps = sorted(b - a for a, b in zip(times, times[1:], strict=False))
        if not self.missing or not gaps:
            return None
        usual = [gap for gap in gaps if gap <= PAUSE * max(gaps[len(gaps) // 2], 0.1)]
        return self.missing * sum(usual) / len(usual) or None  # copies may have one time

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table(show_header=False)
        of = "" if self.total is None else f" of {self.total}"
        table.add_row("done", f"{len(self.done)}{of} videos")
        table.add_row("failed", str(len(self.failed)))
        table.add_row("begun, not done", str(len(self.begun)))
        if self.missing is not None:
            table.add_row("missing", str(self.missing))
        if self.done:
            minutes = max(0.0, self.now - max(self.done.values())) / 60  # copied files may be ahead
            table.add_row("last one", f"{minutes:.0f} min ago")
        if self.seconds_left is not None:
            table.add_row("left", f"{self.seconds_left / 3600:.1f} h, at the rate up to now")
        console.print(table)
        if self.begun:
            lines = [f"{video}: {who}" for video, who in self.begun.items()]
            title = "Begun: at work, or its process was killed"
            console.print(list_problems(title, lines), soft_wrap=True, markup=False)
        for kind, problems in together(self.failed.values()).items():
            console.print(list_problems(kind, problems), soft_wrap=True, markup=False)
        if self.failed:
            console.print("The next start tries again what failed.")


def _hidden(folder: Path, kind: str) -> list[str]:
    """The videos that have a hidden file of a kind."""
    paths = sorted(folder.rglob(f".*.{kind}"))
    names = (path.name.removeprefix(".").removesuffix(f".{kind}") for path in paths)
    return [str((p.parent / n).relative_to(folder)) for p, n in zip(paths, names, strict=True)]


def _now(folder: Path) -> float:
    """The clock of the file system, which only writing to it shows; else that of this machine."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".now-") as file:
            return Path(file.name).stat().st_mtime
    except OSError:
        return time.time()


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos status RUN|STORE`; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m rvos status",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="a run folder of eval.py, or a store")
    given = parser.parse_args(arguments)
    Status.of(given.folder).show(Console())
    return 0
