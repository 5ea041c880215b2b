"""Check of this machine: what is installed and found, and what to do about the rest.

`python -m rvos doctor` prints one line for each finding. Its exit status is 1 if something is
missing without which eval.py cannot run on given masks.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from rich.console import Console

from rvos import CONFIG_DIR, __version__
from rvos.data.mevis import METAS
from rvos.masks import find_json
from rvos.settings import configured_folder

_EXTRAS = {
    "models": "training and networks: pip install 'rvos[models]'",
    "sam2": "masklets.tracker=sam2_package: make setup",
    "video": "video files and nouns: pip install 'rvos[video]'",
    "wandb": "logger=wandb: pip install 'rvos[wandb]'",
    "nouns": "masklets.noun.method=benepar or spacy: pip install 'rvos[nouns]'",
    "drive": "python -m rvos weights get, files on Google Drive: pip install 'rvos[drive]'",
    "bench": "benchmarks/scoring.py: pip install 'rvos[bench]'",
    "dev": "tests: pip install 'rvos[dev]'",
}


@dataclass(frozen=True)
class Finding:
    """One line of the check: what is ok, `absent` (something optional) or `needed` (missing)."""

    state: Literal["ok", "absent", "needed"]
    what: str
    detail: str


def findings() -> Iterator[Finding]:
    """All findings: packages, devices, programs, datasets, weights."""
    yield Finding("ok", "rvos", f"{__version__}, {CONFIG_DIR.parent}")
    yield Finding("ok", "Python", f"{platform.python_version()} on {platform.platform()}")
    yield from _packages()
    yield from _devices()
    yield from _programs()
    yield from _look("data", _data, configured_folder("data"))
    yield from _look("weights", _weights, configured_folder("weights"))
    yield from _other_weights()


def _look(what: str, look: Callable[[Path], Iterator[Finding]], path: Path) -> Iterator[Finding]:
    """The findings at a path; a folder that cannot be read is one, too."""
    try:
        yield from look(path)
    except OSError as error:  # somebody else's
        yield Finding("absent", what, f"{error.filename} cannot be read: {error.strerror}")


def _packages() -> Iterator[Finding]:
    """Packages of pyproject.toml's groups; `pip check` says whether their versions fit together."""
    try:
        requirements = importlib.metadata.requires("rvos") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("needed", "packages", "rvos is not installed: pip install rvos")
        return
    extras: dict[str, str | None] = {}  # of each package; the first group counts
    for requirement in map(Requirement, requirements):
        match = re.search(r"extra == ['\"](\w+)", str(requirement.marker))
        if requirement.name != "rvos":  # an extra of it
            extras.setdefault(requirement.name, match[1] if match else None)
    for name, extra in extras.items():
        try:
            yield Finding("ok", name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            todo = (
                _EXTRAS.get(extra, f"pip install 'rvos[{extra}]'") if extra else "pip install rvos"
            )
            yield Finding("absent" if extra else "needed", name, f"not installed; for {todo}")


def _devices() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    yield Finding("ok", "CPU", f"{cores} cores")
    yield from _shared_memory(Path("/dev/shm"))
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if not torch.cuda.is_available():
        built = f"torch {torch.__version__} (CUDA {torch.version.cuda or 'none'})"
        todo = f"none that {built} can use; networks run on the CPU, the full models slowly"
        yield Finding("absent", "GPU", todo)
    for i in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(i)
        bf16 = "" if torch.cuda.is_bf16_supported() else ", no bf16: trainer.precision=32-true"
        memory = f"{device.total_memory / 2**30:.0f} GiB"
        capability = f"compute capability {device.major}.{device.minor}"
        yield Finding("ok", f"GPU {i}", f"{device.name}, {memory}, {capability}{bf16}")


def _shared_memory(folder: Path) -> Iterator[Finding]:
    """Room for batches that loader processes hand over: up to 340 MiB a GPU with data=mevis."""
    if folder.is_dir():
        usage = shutil.disk_usage(folder)
        free = f"{usage.free / 2**20:.0f} MiB free"
        todo = "docker run --shm-size=1g, or --ipc=host; or few data.num_workers"
        enough = not usage.total or usage.free >= 2**30
        yield _either(enough, str(folder), free, f"{free}, little for train.py: {todo}")


def _programs() -> Iterator[Finding]:
    if importlib.util.find_spec("av") is not None:
        import av

        todo = "this PyAV has no libx264; predict.py needs it: pip install --force-reinstall av"
        writes = "libx264" in av.codecs_available
        yield _either(writes, "H.264", "PyAV writes videos that browsers play", todo)
    todo = "only for model.deform_attn=mmcv, its CUDA kernel"
    yield _either(_is_there("mmcv"), "mmcv", "installed", todo)
    launcher = _is_there("hydra_plugins") and _is_there("hydra_plugins.hydra_submitit_launcher")
    todo = "only for hydra/launcher=slurm: pip install hydra-submitit-launcher"
    yield _either(launcher, "SLURM launcher", "installed", todo)
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    todo = "apt-get install chromium chromium-driver; only `make test` uses them, for the page"
    todo = f"no {' and no '.join(lacking)}: {todo}"
    yield _either(not lacking, "Chromium", "with its driver, for `make test`", todo)


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _either(is_there: bool, what: str, detail: str, todo: str) -> Finding:
    return Finding("ok", what, detail) if is_there else Finding("absent", what, todo)


def _data(folder: Path) -> Iterator[Finding]:
    """The splits of each dataset below paths.data."""
    where = f"{folder.resolve()} (RVOS_DATA)"
    sets = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    found = False
    for root in sets:
        for finding in _look(f"data {root.name}", _splits, root):
            found = True
            yield finding
    if not found:
        todo = "docs/data.md says how to get MeViS there as mevis/{train,valid_u,valid,test}"
        yield Finding("absent", "data", f"no data set in {where}; {todo}")


def _splits(root: Path) -> Iterator[Finding]:
    for split in sorted(p for p in root.iterdir() if p.is_dir()):
        yield from _look(f"data {root.name}/{split.name}", _split, split)


def _split(folder: Path) -> Iterator[Finding]:
    """What a split has; nothing for another folder."""
    if not any(find_json(folder / meta) for meta in METAS):
        return
    parts = ["expressions"]
    parts += ["ground truth"] * (find_json(folder / "mask_dict.json") is not None)
    images = folder / "JPEGImages"
    parts += ["images"] * (images.is_dir() or images.with_suffix(".tar").is_file())
    missing = "" if "images" in parts else "; no JPEGImages: only given masks can be used"
    yield Finding("ok", f"data {folder.parent.name}/{folder.name}", ", ".join(parts) + missing)


def _weights(folder: Path) -> Iterator[Finding]:
    """Files in paths.weights."""
    files = (
        sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
    )
    for path in files:
        yield from _look(f"weights {path.name}", _weights_at, path)
    if not files:
        todo = "`python -m rvos weights` says where each official file comes from. `make demo` "
        todo += "trains a small model of its own"
        where = f"nothing in {folder.resolve()} (RVOS_WEIGHTS)"
        yield Finding("absent", "weights", f"{where}; {todo}")


def _weights_at(path: Path) -> Iterator[Finding]:
    if path.is_file():
        yield Finding("ok", f"weights {path.name}", f"{path.stat().st_size / 2**20:.0f} MiB")
    else:
        yield Finding("ok", f"weights {path.name}/", f"{sum(1 for _ in path.iterdir())} files")


def _other_weights() -> Iterator[Finding]:
    """The demo's weights, and the noun parser's model where NLTK looks."""
    demo = CONFIG_DIR.parent / "checkpoints" / "mutr_tiny_demo.pth"
    used = "predict.py and make demo; synthetic shapes only"
    yield _either(demo.is_file(), "demo's weights", used, f"{demo} is part of the repository")
    yield Finding("ok", "weights of the hub", "`python -m rvos weights` lists which are here")
    if importlib.util.find_spec("nltk") is not None:
        import nltk.data

        try:
            nltk.data.find("models/benepar_en3")
            yield Finding("ok", "benepar_en3", "masklets.noun.method=benepar can be used")
        except LookupError:
            todo = "python -c 'import benepar; benepar.download(\"benepar_en3\")'"
            detail = f"only for masklets.noun.method=benepar: {todo}"
            yield Finding("absent", "benepar_en3", detail)


def main(arguments: Sequence[str]) -> int:
    """Say what is installed and found on this machine, and what to do about the rest."""
    parser = argparse.ArgumentParser(prog="python -m rvos doctor", description=main.__doc__)
    parser.parse_args(arguments)
    console = Console(highlight=False)
    marks = {"ok": "[green]ok[/]     ", "absent": "[yellow]-[/]      ", "needed": "[red]MISSING[/]"}
    found = []
    for finding in findings():
        found.append(finding)
        detail = finding.detail.replace("[", r"\[")
        console.print(f"{marks[finding.state]}  {finding.what:<28} {detail}", soft_wrap=True)
    return int(any(finding.state == "needed" for finding in found))
