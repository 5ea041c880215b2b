"""A W&B sweep file without W&B: every combination as a run of its own, one after the other.

    python -m rvos sweep sweeps/refine_window.yaml data.split=valid_u

Each run is a process (so several devices are fine) with its folder below runs/sweeps/<name>/. Runs
that finished are not repeated. `wandb sweep` and `wandb agent` take the same files.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from yaml import YAMLError

from rvos.errors import InputError, list_problems
from rvos.masks import read_json, write_json
from rvos.report.dashboard import scores
from rvos.report.metrics import Metrics
from rvos.settings import configured_folder

_KEYS = {"name", "program", "method", "metric", "parameters", "command"}
_PROGRAMS = {"train.py": "train", "eval.py": "eval"}  # file of a checkout -> command of rvos
_MACROS = {"${env}", "${program}", "${args_no_hyphens}"}
_FINISHED = ".finished"  # in the folder of a run that ended with status 0


@dataclass(frozen=True)
class Sweep:
    """A sweep file's content."""

    name: str
    program: str
    metric: str
    maximize: bool
    parameters: dict[str, list[Any]]
    fixed: tuple[str, ...]  # overrides of every run

    def runs(self) -> list[dict[str, Any]]:
        """{key: value} of every run: all combinations, the last key varying fastest."""
        keys = list(self.parameters)
        return [
            dict(zip(keys, values, strict=True)) for values in product(*self.parameters.values())
        ]


def read_sweep(path: Path | str) -> Sweep:
    """Read a sweep file.

    Raises InputError listing everything that W&B or the entry points would refuse.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a sweep with the keys {', '.join(sorted(_KEYS))}")
    problems = list(_problems(content))
    if problems:
        raise InputError(list_problems(f"{path}: not a sweep that can run", problems))
    return Sweep(
        name=content["name"],
        program=content["program"],
        metric=content["metric"]["name"],
        maximize=content["metric"]["goal"] == "maximize",
        parameters={
            key: entry["values"] if "values" in entry else [entry["value"]]
            for key, entry in content["parameters"].items()
        },
        fixed=tuple(part for part in content["command"] if "=" in part),
    )


def _problems(content: dict[Any, Any]):
    for key in sorted(_KEYS - content.keys()):
        yield f"{key}: missing"
    for key in sorted(map(str, content.keys() - _KEYS)):
        yield f"{key}: unknown; expected {', '.join(sorted(_KEYS))}"
    if content.get("method", "grid") != "grid":
        yield f"method: expected grid, got {content['method']!r}"
    program = content.get("program")
    if program is not None and program not in _PROGRAMS:
        yield f"program: expected {' or '.join(_PROGRAMS)}, got {program!r}"
    metric = content.get("metric", {"name": "", "goal": "maximize"})
    if not isinstance(metric, dict) or metric.keys() != {"name", "goal"}:
        yield f"metric: expected name and goal, got {metric!r}"
    elif metric["goal"] not in ("maximize", "minimize"):
        yield f"metric.goal: expected maximize or minimize, got {metric['goal']!r}"
    parameters = content.get("parameters", {})
    for key, entry in parameters.items() if isinstance(parameters, dict) else ():
        kind = tuple(entry) if isinstance(entry, dict) else None
        if kind not in (("value",), ("values",)):
            yield f"parameters.{key}: expected value or values, got {entry!r}"
        elif kind == ("values",) and not (isinstance(entry["values"], list) and entry["values"]):
            yield f"parameters.{key}.values: expected a non-empty list, got {entry['values']!r}"
    command = content.get("command")
    if not isinstance(command, list) or not {"${program}", "${args_no_hyphens}"} <= set(command):
        yield "command: expected a list with ${program} and ${args_no_hyphens}"
        return
    for part in command:
        if "$" in str(part) and part not in _MACROS:
            yield f"command: {part}: expected one of {', '.join(sorted(_MACROS))}"


def overrides_of(sweep: Sweep, run: dict[str, Any], extra: Sequence[str]) -> list[str]:
    """A run's overrides, of which `extra` win; without W&B's logger unless `extra` asks for it."""
    chosen = dict(part.split("=", 1) for part in sweep.fixed if not part.startswith("logger="))
    chosen |= {key: _text(value) for key, value in run.items()}
    chosen |= dict(part.split("=", 1) for part in extra)
    return [f"{key}={value}" for key, value in chosen.items()]


def _text(value: Any) -> str:
    return (
        "null"
        if value is None
        else str(value).lower()
        if value is True or value is False
        else str(value)
    )


def run_sweep(sweep: Sweep, folder: Path, extra: Sequence[str], console: Console) -> list[Path]:
    """Run what has not finished; returns all runs' folders. Raises InputError if a run fails."""
    folders = []
    runs = sweep.runs()
    for number, run in enumerate(runs, 1):
        label = ",".join(f"{key}={_text(value)}" for key, value in run.items())
        target = folder / (label.replace("/", "_") or "run")
        folders.append(target)
        overrides = overrides_of(sweep, run, extra)
        if (target / _FINISHED).is_file():
            before, now = set(read_json(target / _FINISHED)), set(overrides)
            before = {
                part for part in before if not part.startswith("output_dir=")
            }  # of older runs
            if before != now:
                raise InputError(
                    f"{target}: finished before with other overrides: "
                    f"{' '.join(sorted(before ^ now))}; delete it, or give the "
                    "overrides it was run with"
                )
            console.print(f"[{number}/{len(runs)}] {label}: finished before", soft_wrap=True)
            continue
        console.print(f"[{number}/{len(runs)}] {label}", soft_wrap=True)
        command = [sys.executable, "-m", "rvos", _PROGRAMS[sweep.program], *overrides]
        done = subprocess.run([*command, f"output_dir={target.resolve()}"])
        if done.returncode:
            raise InputError(
                f"{label}: {sweep.program} ended with status {done.returncode}; "
                "the same command continues here"
            )
        write_json(target / _FINISHED, sorted(overrides))
    return folders


def print_results(sweep: Sweep, folders: Sequence[Path], console: Console) -> None:
    """Print the scores of the runs that wrote metrics.json, best first by the sweep's metric."""
    contents = {
        folder.name: read_json(folder / "metrics.json")
        for folder in folders
        if (folder / "metrics.json").is_file()
    }
    rows = [  # train.py's files have `last`
        (name, content["last"] if "last" in content else scores(Metrics.of(content)))
        for name, content in contents.items()
    ]
    if not rows:
        return
    columns = [sweep.metric.replace("JF", score) for score in ("J", "F", "JF")]
    table = Table(title=f"{sweep.name} (percent)", title_justify="left")
    for column in ("run", *columns):
        table.add_column(column, justify="left" if column == "run" else "right")
    rows.sort(key=lambda row: row[1][columns[-1]], reverse=sweep.maximize)
    for name, values in rows:
        table.add_row(name, *(f"{100 * values[column]:.2f}" for column in columns))
    console.print(table)


def main(arguments: Sequence[str]) -> int:
    """Run the combinations of a W&B sweep file without W&B; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m rvos sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", type=Path, help="sweeps/<name>.yaml")
    parser.add_argument("overrides", nargs="*", help="key=value for every run")
    given = parser.parse_args(arguments)
    console = Console()
    if wrong := [part for part in given.overrides if "=" not in part]:
        raise InputError(f"expected key=value, got {wrong[0]!r}")
    sweep = read_sweep(given.sweep)
    place = configured_folder("runs") / "sweeps" / sweep.name
    print_results(sweep, run_sweep(sweep, place, given.overrides, console), console)
    return 0
