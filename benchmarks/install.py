"""What an installation takes from nothing: seconds, MB on the disk, seconds to the first answer.

    python benchmarks/install.py core video models     # some of: core video models wandb all setup
    python benchmarks/install.py                       # all of them, one after the other

It needs a network. Each part is installed from the files of this checkout, with the versions of
constraints.txt, into an environment of its own, without pip's cache. Then the command `rvos` scores
given masks in an empty folder with an empty home folder, and again; with networks it also runs
`rvos demo --quick`. "setup" is `make setup` in a copy of the checkout. Times are read from the
clock. The results of each part are added to results/install.json.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import RESULTS, describe, write

HERE = Path(__file__).resolve().parents[1]
PARTS = ("core", "video", "models", "wandb", "all", "setup")
WITHOUT_NETWORKS = ("core", "video", "wandb")
# The environment of whoever starts this, without what leads to caches and packages that are there.
OURS = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
OURS |= {"PIP_NO_CACHE_DIR": "1", "PIP_NO_INPUT": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--work", type=Path, help="where to install for a while (a new folder)")
    given = parser.parse_args()
    if unknown := {*given.parts} - {*PARTS}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    file = RESULTS / "install.json"
    parts = json.loads(file.read_text())["parts"] if file.exists() else {}
    for part in given.parts or PARTS:
        here = describe([])
        with tempfile.TemporaryDirectory(dir=given.work) as folder:
            parts[part] = here | (measure_setup if part == "setup" else measure)(Path(folder), part)
        print(part, parts[part], flush=True)
    write("install", describe([]) | {"parts": parts})


def measure(folder: Path, part: str) -> dict[str, Any]:
    """Install one part, and ask it its first questions."""
    source, empty, home = folder / "source", folder / "empty", folder / "home"
    copy_checkout(source)
    for made in (empty, home):
        made.mkdir()
    bin_folder = folder / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", bin_folder.parent], check=True)
    what = "." if part == "core" else f".[{part}]"
    pip = [bin_folder / "python", "-m", "pip", "install", "--quiet", "-c", "constraints.txt", what]
    result: dict[str, Any] = {"install_s": seconds(pip, source, OURS)}
    result |= {"MB": megabytes(bin_folder.parent), "largest_MB": largest(bin_folder.parent)}
    # rvos itself gets none of this process's variables.
    user = {"PATH": f"{bin_folder}:/usr/bin:/bin", "HOME": str(home)}
    masks = source / "tests/data/davis_masks"
    score = ["rvos", "score", "--truth", masks, "--masks", masks / "coarse.json.gz"]
    result["rvos_score_s"] = seconds(score, empty, user)
    result["rvos_score_again_s"] = seconds(score, empty, user)
    if part not in WITHOUT_NETWORKS:
        # Nothing of the first answer is kept.
        user["HOME"] = str(folder / "other_home")
        Path(user["HOME"]).mkdir()
        result["rvos_demo_quick_s"] = seconds(["rvos", "demo", "--quick"], empty, user)
    return result


def measure_setup(folder: Path, part: str) -> dict[str, Any]:
    """`make setup` in a copy of the checkout."""
    copy_checkout(folder)
    took = seconds(["make", "setup", f"PYTHON={sys.executable}"], folder, OURS)
    return {"install_s": took, "MB": megabytes(folder / ".venv")}


def copy_checkout(target: Path) -> None:
    """The files of the checkout that git knows."""
    target.mkdir(exist_ok=True)
    git = ["git", "-C", str(HERE), "checkout-index", "--all", f"--prefix={target}/"]
    subprocess.run(git, check=True)


def seconds(command: list[Any], folder: Path, environment: dict[str, str]) -> float:
    """What a command takes that ends well."""
    command = [str(word) for word in command]
    print("$", shlex.join(command), flush=True)
    start = time.perf_counter()
    done = subprocess.run(
        ["/usr/bin/env", *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    took = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return round(took, 1)


def megabytes(folder: Path) -> int:
    """What a folder takes on the disk."""
    told = subprocess.check_output(["du", "-s", "--block-size=MB", str(folder)], text=True)
    return int(told.split("MB")[0])


def largest(venv: Path, count: int = 6) -> dict[str, int]:
    """The largest folders among the packages."""
    (packages,) = venv.glob("lib/python*/site-packages")
    sizes = {entry.name: megabytes(entry) for entry in packages.iterdir()}
    return dict(sorted(sizes.items(), key=lambda item: -item[1])[:count])


if __name__ == "__main__":
    main()
