"""Made-up objects, answers with every irregularity, and the programs that score them.

An official script runs as a copy: its workers take an empty queue for a finished one, and of two
that see the last item one waits for ever. The copy waits a second before they start, and no worker
waits for more than five; `exact` turns off the rounding of results.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rvos.masks import encode, read_json

REPOSITORY = Path(__file__).parents[1]
HEIGHT, WIDTH = 60, 90
VIDEOS, EACH = 40, 5  # videos, expressions of each
STRICT = ("--missing", "protocol")  # of `rvos score`
# What is wrong with every 20th answer, by its number modulo 20.
KINDS = {3: "missing", 7: "empty", 11: "other size"}


@dataclass
class Beside:
    """What a script and rvos said of one made-up dataset."""

    expressions: int
    differences: list[float]  # 0..1
    # Points of J&F that a quirk changes on this data, by its name.
    effects: dict[str, float] = field(default_factory=dict)


class Made:
    """Boxes that move: object `k` of video `v` in frame `t`."""

    def __init__(self, seed: int, scale: int = 1):
        self.rng = np.random.default_rng(seed)
        self.seed, self.scale = seed, scale

    def box(self, video: int, k: int, t: int) -> np.ndarray:
        """(H, W) uint8 of 0 and 1."""
        rng = np.random.default_rng([self.seed, video, k])
        y, x = rng.integers(0, HEIGHT - 20), rng.integers(0, WIDTH - 20)
        h, w = rng.integers(6, 20, 2)
        y, x = max(0, y + t * rng.integers(-2, 3)), max(0, x + t * rng.integers(-2, 3))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[y : y + h, x : x + w] = 1
        return mask.repeat(self.scale, 0).repeat(self.scale, 1)

    def answer(self, video: int, k: int, t: int) -> np.ndarray:
        """The object a frame off, or nothing."""
        late = int(self.rng.integers(-1, 2))
        return self.box(video, k, max(t + late, 0)) * np.uint8(self.rng.random() > 0.2)

    def track(self, number: int, video: int, k: int, frames: int) -> list[np.ndarray] | None:
        """The answer of a number, as irregular as KINDS says; None where it is missing."""
        kind = KINDS.get(number % 20)
        masks = [self.answer(video, k, t) for t in range(frames)]
        if kind == "empty":
            masks = [0 * mask for mask in masks]
        if kind == "other size":  # and never empty, so that the size is known
            masks = [np.pad(self.box(video, k, t), ((0, 4), (0, 0))) for t in range(frames)]
        return None if kind == "missing" else masks


def fits(number: int) -> bool:
    """Whether the answer of a number has the size of the truth."""
    return KINDS.get(number % 20) != "other size"


def tracks_of(made: Made, v: int, num: int) -> dict[str, list[np.ndarray]]:
    """The answers of a video that are there, by expression."""
    found = {}
    for e in range(EACH):
        track = made.track(EACH * v + e, v, int(made.rng.integers(2)), num)
        if track is not None:
            found[str(e)] = track
    return found


def effect(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Points of J&F."""
    return round(100 * (one["J&F"] - other["J&F"]), 2)


def fitting(answers: dict[str, dict[str, list[np.ndarray]]]) -> dict[str, Any]:
    """Answers of the truth's size in the form of the Sa2VA family."""
    return results_of(
        {
            name: {e: track for e, track in of.items() if fits(EACH * v + int(e))}
            for v, (name, of) in enumerate(answers.items())
        }
    )


def rle(mask: np.ndarray) -> Any:
    return encode(mask) if mask.any() else None


def results_of(tracks: dict[str, dict[str, list[np.ndarray]]]) -> dict[str, Any]:
    """Answers in the form of the Sa2VA family, with one of a video that does not exist."""
    found: dict[str, Any] = {
        video: {
            key: {"exp": "x", "prediction_masks": [encode(mask) for mask in track]}
            for key, track in of.items()
        }
        for video, of in tracks.items()
        if of
    }
    extra = encode(np.ones((HEIGHT, WIDTH), np.uint8))
    found["extra"] = {"0": {"exp": "x", "prediction_masks": [extra]}}
    return found


def write_pngs(
    folder: Path, frames: Sequence[str], track: Sequence[np.ndarray], foreground: int
) -> None:
    folder.mkdir(parents=True)
    for frame, mask in zip(frames, track, strict=True):
        cv2.imwrite(str(folder / f"{frame}.png"), mask * np.uint8(foreground))


def evaluate(data: str, root: Path, answers: Path) -> dict[str, Any]:
    """metrics.json of eval.py on given masks."""
    out = answers.parent / "out"
    command = [sys.executable, "eval.py", f"data={data}", f"data.root={root}", "coarse=files"]
    command += [f"coarse.path={answers}", "refine=none", "report=none", f"output_dir={out}"]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return read_json(out / "metrics.json")


def score(dataset: str, truth: Path, masks: Path, *more: str) -> dict[str, Any]:
    """What `rvos score` writes; answers without truth are ignored."""
    out = masks.with_suffix(".scores.json")
    command = [sys.executable, "-m", "rvos", "score", "--dataset", dataset, "--truth", str(truth)]
    command += ["--masks", str(masks), "--extra", "ignore", "--json", str(out), *more]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}{done.stdout}")
    return read_json(out)


def group_means(found: dict[str, Any], group: str, *measures: str) -> list[float]:
    """Means over the units of a group."""
    units = [unit for unit in found["per_name"] if unit["group"] == group]
    return [float(np.mean([unit[measure] for unit in units])) for measure in measures]


def run(script: Path, *arguments: str | Path, cwd: Path, path: Sequence[Path] = ()) -> str:
    """What a script prints; `path` is where it finds its modules."""
    command = [sys.executable, str(script), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{script}: {done.stderr[-2000:]}")
    return done.stdout


def official(
    checkout: Path, script: str, root: Path, *arguments: str | Path, exact: bool = False
) -> str:
    """What a copy of an official script prints, run in `root`."""
    text = (checkout / script).read_text()
    if "q.get()" in text:
        text = text.replace("q.get()", "q.get(timeout=5)")
        text = text.replace("start_time", "time.sleep(1); start_time", 1)
    head = "from skimage.morphology import disk\n"  # once, not in every worker
    head += "round = lambda value, digits: value\n" if exact else ""
    folder = root / "script"
    folder.mkdir(exist_ok=True)
    (folder / "script.py").write_text(head + text)
    path = [(checkout / script).parent, checkout]
    return run(folder / "script.py", *arguments, cwd=root, path=path)


def numbers_in(printed: str) -> dict[str, float]:
    """The lines `name: number` of what a script prints."""
    found = {}
    for line in printed.splitlines():
        name, _, value = line.rpartition(": ")
        try:
            found[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            continue
    return found
