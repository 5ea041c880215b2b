"""A W&B sweep file without W&B: every combination as a run of its own, one after the other.

    python -m rvos sweep sweeps/refine_window.yaml data.split=valid_u

Each run is a process (so several devices are fine) with its folder below runs/sweeps/<name>/. Runs
that finished are not repeated. `wandb sweep` and `wandb agent` take the same files.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from pydantic import AfterValidator, Field, TypeAdapter
from rich.console import Console
from yaml import YAMLError

from rvos.errors import InputError, SettingsError, list_problems
from rvos.masks import read_json, read_text, write_json
from rvos.report.console import percent, table_of
from rvos.report.dashboard import scores
from rvos.report.metrics import Metrics
from rvos.settings import Checks, Text, checked, configured_folder, make
from rvos.stages.run_folder import as_written, reading

_PROGRAMS = {"train.py": "train", "eval.py": "eval"}  # file of a checkout -> command of rvos
_NEEDED = {"${program}", "${args_no_hyphens}"}  # macros of W&B, beside ${env}
_AGAIN = "delete the run's folder and start the sweep again"
_SCORES = TypeAdapter(dict[str, float])
_FINISHED = ".finished"  # in the folder of a run that ended with status 0


@checked
class Metric:
    """What a sweep optimises."""

    name: Text
    goal: Literal["maximize", "minimize"]


def _values(key: str, parameter: Any) -> list[Any]:
    match parameter:
        case {"value": value, **others} if not others:
            return [value]
        case {"values": [_, *_] as values, **others} if not others:
            return values
    expected = "{value: ...} or {values: a list that is not empty}"
    raise InputError(f"parameters.{key}: expected {expected}, got {parameter!r}")


def _lists(parameters: Mapping[str, Any]) -> dict[str, list[Any]]:
    with Checks() as check:
        return {key: check(_values, key, parameter) for key, parameter in parameters.items()}


def _can_run(command: list[str]) -> list[str]:
    macros = {part for part in command if "$" in part}
    if not _NEEDED <= macros <= {"${env}", *_NEEDED}:
        raise ValueError("other macros")
    return command


@checked
class Sweep:
    """A sweep file's content."""

    name: Text
    program: Literal["train.py", "eval.py"]
    method: Literal["grid"]
    metric: Metric
    parameters: Annotated[
        Mapping[str, Any],
        AfterValidator(_lists),
        Field(description="{key: {value: ...} or {values: ...}}"),
    ]
    command: Annotated[
        list[str],
        AfterValidator(_can_run),
        Field(description="a list with ${program}, ${args_no_hyphens} and no macro but ${env}"),
    ]

    def runs(self) -> list[dict[str, Any]]:
        """{key: value} of every run: all combinations, the last key varying fastest."""
        every = product(*self.parameters.values())
        return [dict(zip(self.parameters, values, strict=True)) for values in every]


def read_sweep(path: Path | str) -> Sweep:
    """Read a sweep file.

    Raises InputError listing everything that W&B or the entry points would refuse.
    """
    path = Path(path)
    try:
        content: Any = OmegaConf.to_container(
            OmegaConf.load(StringIO(read_text(path))), resolve=False
        )
        keys = content if isinstance(content, dict) else {}
        return make(Sweep, "", keys, title=f"{path}")
    except OSError as error:  # OmegaConf's of a file that is no mapping
        raise InputError(f"{path}: cannot be read: {error}") from None
    except (YAMLError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    except SettingsError as error:
        raise InputError(
            list_problems(f"{path}: not a sweep that can run", error.problems)
        ) from None


def overrides_of(sweep: Sweep, run: dict[str, Any], extra: Sequence[str]) -> list[str]:
    """A run's overrides, of which `extra` win; without W&B's logger unless `extra` asks for it."""
    fixed = [p for p in sweep.command if "=" in p and not p.startswith("logger=")]
    chosen = dict(part.split("=", 1) for part in fixed)
    chosen |= {key: _text(value) for key, value in run.items()}
    chosen |= dict(part.split("=", 1) for part in extra)
    return [f"{key}={value}" for key, value in chosen.items()]


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


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
            with reading(target / _FINISHED, _AGAIN):
                differing = set(read_json(target / _FINISHED)) ^ set(overrides)
            if differing:
                raise InputError(
                    f"{target}: finished before with other overrides: "
                    f"{' '.join(sorted(differing))}; delete it, or give the overrides it was run "
                    "with"
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
    """Print the scores of the runs that wrote metrics.json, best first by the sweep's metric.

    Raises InputError for runs that have no such metric.
    """
    files = [path for folder in folders if (path := folder / "metrics.json").is_file()]
    rows = []
    for path in files:
        with reading(path, _AGAIN):
            content = read_json(path)  # train.py's files have `last`
            found = content["last"] if "last" in content else scores(Metrics.of(content))
            rows.append((path.parent.name, as_written(_SCORES, found)))
    metric = sweep.metric.name
    columns = list(dict.fromkeys(metric.replace("JF", score) for score in ("J", "F", "JF")))
    known = [row for row in rows if metric in row[1]]
    known.sort(key=lambda row: row[1][metric], reverse=sweep.metric.goal == "maximize")
    cells = [[name, *(percent(values.get(key)) for key in columns)] for name, values in known]
    if known:
        console.print(table_of(f"{sweep.name} (percent)", ["run", *columns], cells))
    if lacking := [name for name, values in rows if metric not in values]:
        title = f"metric.name: {metric} is not among the scores of these runs"
        raise InputError(list_problems(title, lacking))


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
