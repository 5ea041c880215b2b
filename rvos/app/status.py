"""How far a run or a store is: what is done, who makes what, what failed and why, what is left.

python -m rvos status RUN|STORE
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rvos.errors import InputError, list_problems
from rvos.masks import FileError, read_json
from rvos.score.results import FOLDER
from rvos.stages.claims import hidden, is_alive, together
from rvos.stages.run_folder import SETTINGS_FILE


@dataclass(frozen=True)
class Status:
    """What a folder of results says."""

    done: dict[str, float]  # video -> when it was written, in s
    total: int | None  # None where only the stage knows: of a store
    running: dict[str, dict[str, Any]]  # video -> the process that makes it, as `who` describes it
    stale: dict[str, dict[str, Any]]  # likewise, of a process that has ended or hangs
    failed: dict[str, dict[str, list[str]]]  # video -> problems by kind

    @classmethod
    def of(cls, folder: Path) -> "Status":
        """Of a run folder or a store. Raises InputError for any other folder."""
        total = None
        if (folder / SETTINGS_FILE).is_file():
            from rvos.app.results import of_folder

            total = len(of_folder(folder)[1].videos)
            folder = folder / FOLDER
        elif not (folder / "provenance.json").is_file():
            raise InputError(
                f"{folder}: expected a run folder of eval.py ({SETTINGS_FILE}) or a store "
                "(provenance.json)"
            )
        done = {
            _video(path, folder, ".json.gz"): path.stat().st_mtime
            for path in folder.rglob("*.json.gz")
            if not path.name.startswith(".")
        }
        found: dict[str, dict[str, Any]] = {"running": {}, "stale": {}, "failed": {}}
        now = _now(folder)
        for path in hidden(folder):
            name, _, kind = path.name.removeprefix(".").rpartition(".")
            video = _video(path.with_name(name), folder, "")
            if kind == "failed":
                found["failed"][video] = _read(path).get("problems", {})
            elif kind.startswith("claim-") and video not in done:
                found["running" if is_alive(path, now) else "stale"][video] = _read(path)
        found["stale"] = {v: who for v, who in found["stale"].items() if v not in found["running"]}
        return cls(done, total, **found)

    @property
    def seconds_left(self) -> float | None:
        """At the rate since the first process now at work began; None where nobody can say."""
        if self.total is None or not self.running:
            return None
        since = min(process["since"] for process in self.running.values())
        lately = sum(at >= since for at in self.done.values())
        left = self.total - len(self.done) - len(self.failed)
        return left * (time.time() - since) / lately if lately else None

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table(show_header=False)
        of = "" if self.total is None else f" of {self.total}"
        table.add_row("done", f"{len(self.done)}{of} videos")
        table.add_row("running", str(len(self.running)))
        table.add_row("stale", str(len(self.stale)))
        table.add_row("failed", str(len(self.failed)))
        if (left := self.seconds_left) is not None:
            table.add_row("left", f"{left / 3600:.1f} h, at the rate of those now at work")
        console.print(table)
        for title, claims in (("Running", self.running), ("Stale", self.stale)):
            if claims:
                lines = [f"{video}: {_where(process)}" for video, process in claims.items()]
                console.print(list_problems(title, lines), soft_wrap=True, markup=False)
        for kind, problems in together(self.failed.values()).items():
            console.print(list_problems(kind, problems), soft_wrap=True, markup=False)
        if self.failed:
            console.print("A start that finds no other process at work tries again what failed.")


def _video(path: Path, folder: Path, suffix: str) -> str:
    return str(path.relative_to(folder)).removesuffix(suffix)


def _where(process: dict[str, Any]) -> str:
    job = f", job {process['job']}" if process.get("job") else ""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(process.get("since", 0)))
    return f"{process.get('host')}, process {process.get('pid')}{job}, at work since {since}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except FileError:  # it ended just now
        return {}


def _now(folder: Path) -> float:
    """The clock of the file system, which only writing to it shows; else that of this machine."""
    import tempfile

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
