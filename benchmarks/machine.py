"""Results of a benchmark -> benchmarks/results/<name>.json with date, machine and commit."""

import json
import os
import platform
import shutil
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def describe(packages: list[str]) -> dict[str, Any]:
    """When, where and with what a number was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": date.today().isoformat(),
        "machine": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores",
        "load_average_at_start": os.getloadavg()[0],
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in packages},
    }


def commit() -> str:
    """The commit of this checkout, and whether rvos/ differs from it; unknown in a bare copy."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        found = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain", "--", ":/rvos"])
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return "unknown"
    return found + (" with changes" if changed.strip() else "")


def query_gpu(what: str) -> str:
    """nvidia-smi's answer, empty where there is none."""
    command = ["nvidia-smi", what, "--format=csv,noheader,nounits"]
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def write(name: str, result: dict[str, Any]) -> None:
    """Print the result and keep it as results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)
