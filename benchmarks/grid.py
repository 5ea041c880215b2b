"""The 63-cell W x tau grid on as much as MeViS' valid_u has, from masks in files: time, memory.

    python benchmarks/grid.py [--expressions 793] [--frames 80] [--work FOLDER] [--agree 0.5]

50 videos of 480 x 854 in which ragged blobs move; coarse masks are those of the objects with errors
(frames lost, the neighbour's mask, edges off); masklets are the blobs with edges off. `eval.py
ablation=grid` then runs as a user runs it, report included; the memory is that of all its processes
(proportional set size: shared pages are counted once), sampled. With --agree the same masks go
through the grid once more, with the guard, and the ratio of the processors' seconds is printed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
from machine import describe, write
from rich.progress import track as progress

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from rvos.masks import encode, write_json  # noqa: E402

VIDEOS, SIZE = 50, (480, 854)  # height, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expressions", type=int, default=793)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--work", type=Path, help="where the made-up masks go (deleted again)")
    parser.add_argument("--agree", type=float, help="also run with refine.agree, and compare")
    options = parser.parse_args()
    result = describe(["numpy", "scipy", "opencv-python-headless", "pycocotools"])
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        make_masks(folder, options.expressions, options.frames)
        seconds, cpu, megabytes, output = run_grid(folder, "run")
        print(output)
        guard = {}
        if options.agree is not None:
            _, cpu_guard, _, output = run_grid(folder, "guarded", f"refine.agree={options.agree}")
            guard = {"agree": options.agree, "cpu_ratio_of_agree": round(cpu_guard / cpu, 2)}
            print(output, guard)
    write(
        "grid",
        result
        | {
            "expressions": options.expressions,
            "frames": options.frames,
            "size": SIZE,
            "cells": 63,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu, 1),
            "peak_memory_mb": round(megabytes),
        }
        | guard,
    )


def make_masks(root: Path, num_expressions: int, num_frames: int) -> None:
    """valid_u, coarse, masklets and nouns under `root`; two to four objects per video."""
    rng = np.random.default_rng(0)
    meta, mask_dict, nouns = {}, {}, {}
    for v in progress(range(VIDEOS), "masks"):
        video = f"video{v:02d}"
        objects = [moving_blob(rng, num_frames) for _ in range(int(rng.integers(2, 5)))]
        tracks = [[encode(mask) for mask in masks] for masks in objects]
        first = len(mask_dict)
        mask_dict |= {str(first + i): track for i, track in enumerate(tracks)}
        masklets = [[encode(uneven(mask, rng)) for mask in masks] for masks in objects]
        expressions, coarse = {}, {}
        for e in range(v, num_expressions, VIDEOS):
            i = int(rng.integers(len(objects)))
            expressions[str(len(expressions))] = {
                "exp": f"the animal {e}",
                "obj_id": [i],
                "anno_id": [first + i],
            }
            coarse[str(len(coarse))] = [coarse_mask(objects, i, t, rng) for t in range(num_frames)]
        meta[video] = {
            "frames": [f"{t:05d}" for t in range(num_frames)],
            "expressions": expressions,
        }
        nouns[video] = dict.fromkeys(expressions, "animal")
        write_json(root / "coarse" / f"{video}.json.gz", coarse)
        write_json(root / "masklets" / f"{video}.json.gz", {"animal": masklets})
    write_json(root / "nouns.json", nouns)
    write_json(root / "valid_u" / "mask_dict.json", mask_dict)
    write_json(root / "valid_u" / "meta_expressions.json", {"videos": meta})


def moving_blob(rng: np.random.Generator, num_frames: int) -> list[np.ndarray]:
    """Masks (H, W) uint8 of a ragged ellipse on a straight way."""
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    ry, rx = rng.uniform(40, 110, 2)
    start, stop = rng.uniform((ry, rx), (height - ry, width - rx), (2, 2))
    edge = 1 + cv2.resize(rng.normal(0, 0.15, (60, 107)), (width, height))
    centres = np.linspace(start, stop, num_frames)  # (T, 2) y, x
    return [
        ((((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2) < edge).astype(np.uint8)
        for cy, cx in centres
    ]


def uneven(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask whose edge is a few pixels off."""
    side = int(rng.integers(1, 10))
    change = cv2.dilate if rng.random() < 0.5 else cv2.erode
    return change(mask, np.ones((side, side), np.uint8))


def coarse_mask(objects: list, i: int, t: int, rng: np.random.Generator) -> dict | None:
    """Of object i, sometimes of another, sometimes nothing."""
    chance = rng.random()
    if chance < 0.1:
        return None
    shown = objects[i] if chance < 0.8 else objects[(i + 1) % len(objects)]
    mask = uneven(shown[t], rng)
    return encode(mask) if mask.any() else None


def run_grid(folder: Path, run: str, *more: str) -> tuple[float, float, float, str]:
    """Seconds, those of the processors, peak memory of all processes in MB, eval.py's output."""
    command = [
        sys.executable,
        "eval.py",
        f"data.root={folder}",
        "data.split=valid_u",
        "name=grid",
        "coarse=files",
        f"coarse.path={folder}/coarse",
        "masklets=files",
        "ablation=grid",
        f"masklets.path={folder}/masklets",
        f"masklets.nouns={folder}/nouns.json",
        f"output_dir={folder}/{run}",
        *more,
    ]
    before = os.times()
    log = folder / "log.txt"
    started = time.perf_counter()
    with open(log, "w") as file:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=file, stderr=file)
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.5)
    seconds = time.perf_counter() - started
    after = os.times()  # of processes that have ended
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    if process.returncode:
        sys.exit(f"eval.py failed with status {process.returncode}:\n{log.read_text()}")
    return seconds, cpu, peak / 1e6, log.read_text()


def memory_of(pid: int) -> int:
    """Bytes of a process and its children; one that has just ended counts nothing."""
    total = 0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in tree:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


if __name__ == "__main__":
    main()
