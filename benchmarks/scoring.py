"""Speed of scoring and of the W x tau grid against the official MeViS functions and vos-benchmark.

    python benchmarks/scoring.py --mevis <checkout of henghuiding/MeViS>

One process, one thread. No pair of masks repeats, and nothing is kept between pairs. We start from
RLE; the others start from arrays, and the time that decoding takes is reported beside. All sides
take turns, five times, and the medians count; compiling is not counted. The official functions
need scikit-image. vos-benchmark is left out if it is not installed (pip install --no-deps
vos-benchmark). Also the peak memory of `eval.py ablation=grid` on the bundled masks, all processes
together.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests/support")]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from machine import describe, write  # noqa: E402
from made_data import DAVIS, davis_arguments  # noqa: E402
from pycocotools import mask as coco  # noqa: E402
from rich.progress import track as progress  # noqa: E402

from rvos.data.mevis import Annotations, read_split  # noqa: E402
from rvos.masks import TrackFiles, decode, encode  # noqa: E402
from rvos.refine import Candidates, Masklets, Vote  # noqa: E402
from rvos.score import FrameScores  # noqa: E402
from rvos.score.ablation import Expression, grid, score_rules  # noqa: E402
from rvos.score.inputs import Inputs  # noqa: E402
from rvos.stages.store import given_nouns  # noqa: E402

try:
    from vos_benchmark import evaluator as vos_benchmark
except ImportError:
    vos_benchmark = None

WINDOWS, TAUS = [1, 5, 10, 15, 20, 30, 60], [round(0.1 * i, 1) for i in range(1, 10)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mevis", type=Path, required=True, help="checkout of henghuiding/MeViS")
    parser.add_argument("--pairs", type=int, default=200, help="mask pairs per size")
    parser.add_argument("--runs", type=int, default=5, help="turns of all sides")
    parser.add_argument(
        "--cells",
        type=int,
        default=63,
        help="grid cells run officially; if fewer"
        " than 63 the official time is scaled up, and the result says so",
    )
    options = parser.parse_args()
    sys.path.insert(0, str(options.mevis / "tools"))
    import metrics as official

    cv2.setNumThreads(1)
    packages = ["numpy", "numba", "opencv-python-headless", "pycocotools", "scikit-image"]
    result = describe(packages + ["vos-benchmark"] * (vos_benchmark is not None))
    start = time.perf_counter()
    FrameScores()(encode(np.eye(9)), None)
    result["first_score_s"] = time.perf_counter() - start  # loads or compiles the kernel
    jobs = load_jobs()
    for name, size in (("480p", None), ("1080p", (1080, 1920))):
        pairs = distinct_pairs(jobs, options.pairs, size)
        result[f"pairs_{name}"] = compare_pairs(pairs, official, options.runs)
    some = [job for job in jobs if job.video.name in ("judo", "pigs")]
    result["grid_judo_pigs"] = compare_grid(some, options.cells, official, options.runs)
    result["memory_whole_grid_mb"] = peak_memory()
    write("scoring", result)


def load_jobs():
    split = read_split(DAVIS.parent, DAVIS.name)
    tracks = [TrackFiles(DAVIS / f"{name}.json.gz") for name in ("coarse", "masklets")]
    nouns = given_nouns("nouns", str(DAVIS / "nouns.json"))
    inputs = Inputs(split, Annotations(split), *tracks, nouns)
    return [inputs.read_video(video) for video in split.videos]


def distinct_pairs(jobs, count, size):
    """(truth, prediction), both present, all different, spread over the videos."""
    pairs = {}
    for job in jobs:
        for expression in job.video.expressions:
            key = expression.expression_id
            for g, p in zip(job.truths[key], job.coarse[key], strict=True):
                if g and p:
                    pairs[g["counts"], p["counts"]] = g, p
    chosen = list(pairs.values())[:: max(1, len(pairs) // count)][:count]
    return [(resized(g, size), resized(p, size)) if size else (g, p) for g, p in chosen]


def resized(mask, size):
    """The mask at another (height, width), by nearest neighbour."""
    return encode(cv2.resize(decode(mask), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def compare_pairs(pairs, official, runs):
    """Seconds of each run and side, and the largest difference of a score from ours."""
    sides = {
        "ours": lambda: [FrameScores()(g, p) for g, p in pairs],
        "decoding": lambda: [(coco.decode(g), coco.decode(p)) for g, p in pairs],
        "official": lambda: [official_scores(official, *pair) for pair in arrays],
    }
    if vos_benchmark is not None:
        sides["vos_benchmark"] = lambda: [vos_benchmark_scores(*pair) for pair in arrays]
    arrays = sides["decoding"]()
    seconds, scores = {side: [] for side in sides}, {}
    for _ in progress(range(runs), "pairs"):
        for side, run in sides.items():
            start = time.perf_counter()
            found = run()
            seconds[side].append(time.perf_counter() - start)
            if side != "decoding":
                scores[side] = np.array(found, np.float64)
    result = {"pairs": len(pairs), "runs": runs}
    for side, times in seconds.items():
        result[f"{side}_ms_per_pair"] = 1e3 * float(np.median(times)) / len(pairs)
        result[f"{side}_ms_per_pair_each_run"] = [1e3 * t / len(pairs) for t in times]
    for side in scores.keys() - {"ours"}:
        ratios = np.array(seconds[side]) / np.array(seconds["ours"])
        result[f"times_as_fast_as_{side}"] = float(np.median(ratios))
        result[f"largest_difference_from_{side}"] = float(abs(scores["ours"] - scores[side]).max())
    return result


def official_scores(official, truth, prediction):
    return official.db_eval_iou(truth, prediction), official.db_eval_boundary(truth, prediction)


def vos_benchmark_scores(truth, prediction):
    evaluator = vos_benchmark.Evaluator()
    evaluator.feed_frame(prediction, truth)
    return evaluator.object_iou[1][0], evaluator.boundary_f[1][0]


def compare_grid(jobs, num_cells, official, runs):
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        ours = [row for job in jobs for row in score_rules(*our_task(job))]
        seconds.append(time.perf_counter() - start)
    ours_s = float(np.median(seconds))
    cells = list(product(WINDOWS, TAUS))
    picked = sorted(set(np.linspace(0, len(cells) - 1, num_cells).round().astype(int).tolist()))
    start, difference = time.perf_counter(), 0.0
    expressions = [(job, e) for job in jobs for e in job.video.expressions]
    for row, (job, expression) in zip(progress(ours, "official"), expressions, strict=True):
        for i, scores in zip(
            picked, official_cells(job, expression, cells, picked, official), strict=True
        ):
            window, tau = cells[i]
            found = row[f"window={window} tau={tau}"]
            mean = np.mean([found.J, found.F], axis=1)
            difference = max(difference, float(np.abs(mean - scores).max()))
    theirs_s = time.perf_counter() - start
    scale = len(cells) / len(picked)
    return {
        "expressions": len(expressions),
        "cells": len(cells),
        "official_cells_run": len(picked),
        "ours_s": ours_s,
        "ours_s_each_run": seconds,
        "official_s": theirs_s * scale,
        "times_as_fast": theirs_s * scale / ours_s,
        "largest_difference": difference,
    }


def our_task(job):
    masklets = {noun: Masklets(tracks) for noun, tracks in job.masklets.items()}
    expressions = []
    for e in job.video.expressions:
        noun = job.nouns[e.expression_id]
        candidates = Candidates(job.coarse[e.expression_id], masklets[noun])
        truth = job.truths[e.expression_id]
        expressions.append(Expression(e.expression_id, noun, truth, candidates))
    return expressions, grid(WINDOWS, TAUS, Vote(WINDOWS[0], TAUS[0]))


def official_cells(job, expression, cells, picked, official):
    """Mean J and F of the picked cells: refined on decoded arrays, scored by MeViS' functions."""
    key = expression.expression_id
    tracks = [job.truths[key], job.coarse[key]]
    tracks += job.masklets[job.nouns[key]]
    size = next(mask["size"] for track in tracks for mask in track if mask)
    empty = np.zeros(size, np.uint8)
    truth, coarse, *masklets = (
        np.stack([empty if mask is None else coco.decode(mask) for mask in track])
        for track in tracks
    )  # each (T, H, W)
    shares = np.zeros((len(coarse), len(masklets)))
    for i, masklet in enumerate(masklets):
        areas, inside = (x.sum((1, 2), dtype=np.int64) for x in (masklet, masklet & coarse))
        shares[areas > 0, i] = inside[areas > 0] / areas[areas > 0]
    for window, tau in (cells[i] for i in picked):
        refined = coarse.copy()
        for start in range(0, len(coarse), window):
            above = shares[start : start + window] > tau
            rows, first, counts = np.unique(above, axis=0, return_index=True, return_counts=True)
            winner = rows[np.lexsort((first, -counts))[0]]
            if winner.any():
                parts = [
                    m[start : start + window]
                    for m, used in zip(masklets, winner, strict=True)
                    if used
                ]
                refined[start : start + window] = np.any(parts, axis=0)
        yield (
            official.db_eval_iou(truth, refined).mean(),
            official.db_eval_boundary(truth, refined).mean(),
        )


def peak_memory():
    """Sum of the resident memory of eval.py and its workers, sampled; MB."""
    import psutil

    with tempfile.TemporaryDirectory() as folder:
        arguments = [*davis_arguments(), "ablation=grid", f"output_dir={folder}/out"]
        process = subprocess.Popen(
            [sys.executable, "eval.py", *arguments], cwd=REPOSITORY, stdout=subprocess.DEVNULL
        )
        peak = 0
        while process.poll() is None:
            try:
                tree = [psutil.Process(process.pid)]
                tree += tree[0].children(recursive=True)
                peak = max(peak, sum(p.memory_info().rss for p in tree))
            except psutil.NoSuchProcess:
                continue
            time.sleep(0.02)
        if process.returncode:
            raise RuntimeError(f"eval.py failed with status {process.returncode}")
    return peak / 1e6


if __name__ == "__main__":
    main()
