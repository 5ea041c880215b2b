"""rvos' scorer beside davis2017-evaluation's, vos-benchmark's and hotcoco's: values and times.

    python benchmarks/scorer.py --davis CHECKOUT

CHECKOUT is davisvideochallenge/davis2017-evaluation, which holds the masks of two methods: those of
OSVOS serve as ground truth here, so the scores say nothing about a method. One process, one thread:
- the first score of a process, with a warm cache;
- random pairs of masks, with and without void pixels: the largest difference of J and of F;
- its unchanged evaluation, task semi-supervised and unsupervised, once with its own functions and
  once with `rvos.score.davis`; and `python -m rvos score` on the same files;
- distinct pairs of 480p, all sides in turns, of arrays and of RLE: CPU time of the process, which
  other jobs on the machine disturb less; medians.
- `--split N` alone: `rvos score` on N made-up videos of 80 frames, 360p to 720p, in JSON: the time
  of the whole command, reading included (50 are as many as MeViS valid_u: 793 expressions).
Needs scikit-image, pandas and tqdm; vos-benchmark and hotcoco are left out if not installed.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from machine import describe, write  # noqa: E402
from pycocotools import mask as coco  # noqa: E402

from rvos.masks import encode  # noqa: E402
from rvos.score import davis, j_and_f, jaccard  # noqa: E402
from rvos.score.sources import read_numbers  # noqa: E402

FIRST = """
import time
import numpy as np
mask, start = np.eye(90), time.process_time()
from rvos.score import j_and_f
j_and_f(mask, mask)
print(time.process_time() - start, time.process_time())
"""
TRUTH, MASKS = "results/semi-supervised/osvos", "results/unsupervised/rvos"
TASKS = {"semi-supervised": ("dogs-jump", "india", "judo", "shooting"), "unsupervised": ("judo",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, help="checkout with its results")
    parser.add_argument("--split", type=int, metavar="N", help="time `rvos score` on N videos")
    parser.add_argument("--random", type=int, default=2000, help="random pairs")
    parser.add_argument("--runs", type=int, default=5, help="turns of all sides")
    options = parser.parse_args()
    if options.split:
        packages = ["numpy", "numba", "pycocotools"]
        write("scorer_split", describe(packages) | time_split(options.split))
        return
    if options.davis is None:
        parser.error("expected --davis CHECKOUT or --split N")
    sys.path.insert(0, str(options.davis))
    cv2.setNumThreads(1)
    from davis2017 import metrics as official

    packages = ["numpy", "numba", "opencv-python-headless", "pycocotools", "scikit-image"]
    result = describe(packages)
    result["first_score"] = time_first_score()
    result["random"] = compare_random(official, options.random)
    for task, videos in TASKS.items():
        result[task] = compare_evaluation(options.davis, task, videos)
    result["pairs_480p"] = compare_pairs(official, options.davis, options.runs)
    result["load_average_at_end"] = os.getloadavg()[0]
    write("scorer", result)


def time_first_score():
    """CPU seconds from the import to the first score, and of the whole process: medians of 9."""
    command, space = [sys.executable, "-c", FIRST], os.environ | {"PYTHONPATH": str(REPOSITORY)}
    lines = [subprocess.check_output(command, env=space, text=True) for _ in range(10)]
    seconds = np.array([line.split() for line in lines[1:]], float)  # the first one compiles
    return dict(zip(("after_numpy_cpu_s", "process_cpu_s"), np.median(seconds, 0), strict=True))


def compare_random(official, count):
    """Masks of random sizes up to 200 x 300, every third pair with void pixels."""
    rng, largest = np.random.default_rng(0), {"J": 0.0, "F": 0.0}
    for i in range(count):
        size = rng.integers(1, [200, 300])
        truth, prediction, void = (random_mask(rng, size) for _ in range(3))
        void = void if i % 3 == 0 else None
        with np.errstate(divide="ignore", invalid="ignore"):
            J = official.db_eval_iou(truth, prediction, void)
        F = official.db_eval_boundary(truth, prediction, void)
        ours = davis.db_eval_iou(truth, prediction, void)
        largest["J"] = max(largest["J"], abs(float(J) - ours))
        ours = davis.db_eval_boundary(truth, prediction, void)
        largest["F"] = max(largest["F"], abs(float(F) - ours))
    return {"pairs": count, "largest_difference": largest}


def random_mask(rng, size):
    """Noise of a random grain and density, which may be empty or full."""
    grain = int(rng.integers(1, 25))
    coarse = rng.random((size[0] // grain + 1, size[1] // grain + 1)) < rng.uniform(-0.1, 1.1)
    return np.repeat(np.repeat(coarse, grain, 0), grain, 1)[: size[0], : size[1]]


# ------------------------------------------------------------------- the unchanged evaluation


def compare_evaluation(checkout, task, videos):
    """Its evaluation with its functions and with ours, and our command on the same files."""
    with tempfile.TemporaryDirectory() as name:
        root, masks = write_davis(checkout, Path(name), task, videos)
        evaluate(root, masks, task, davis)  # loads and compiles
        theirs, theirs_s, theirs_whole_s = evaluate(root, masks, task, None)
        ours, ours_s, ours_whole_s = evaluate(root, masks, task, davis)
        start = time.perf_counter()
        command = ["--truth", str(root / "Annotations"), "--masks", str(masks)]
        command += ["--dataset", "davis17", "--protocol", task, "--json", f"{name}/scores.json"]
        subprocess.run(
            [sys.executable, "-m", "rvos", "score", *command, "--workers", "1"],
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
        )
        command_s = time.perf_counter() - start
        found = json.loads(Path(f"{name}/scores.json").read_text())
    rows = {f"{row['video']}_{row['name']}": row for row in found["per_name"]}
    per_object = {key: theirs[key]["M_per_object"] for key in "JF"}
    difference = max(
        abs(rows[name][key] - value)
        for key, of_objects in per_object.items()
        for name, value in of_objects.items()
    )
    return {
        "videos": list(videos),
        "objects": len(per_object["J"]),
        "equal_output_with_the_import_swapped": theirs == ours,
        "largest_difference_of_the_command": difference,
        "official_functions_s": theirs_s,
        "our_functions_s": ours_s,
        "times_as_fast": theirs_s / ours_s,
        "official_whole_s": theirs_whole_s,
        "swapped_whole_s": ours_whole_s,
        "command_whole_s": command_s,
    }


def write_davis(checkout, folder, task, videos):
    """A DAVIS folder whose truth is OSVOS', and the masks to score."""
    root, masks = folder / "davis", folder / "masks"
    for video in videos:
        shutil.copytree(checkout / TRUTH / video, root / "Annotations/480p" / video)
        (root / "JPEGImages/480p" / video).mkdir(parents=True)
        shutil.copytree(checkout / MASKS / video, masks / video)
        for path in (root / "Annotations/480p" / video).glob("*.png"):
            (root / "JPEGImages/480p" / video / f"{path.stem}.jpg").touch()
        if task == "semi-supervised":  # of the proposals as many as there are objects
            count = max(
                int(read_numbers(p).max()) for p in (checkout / TRUTH / video).glob("00000.png")
            )
            for path in (masks / video).glob("*.png"):
                numbers = read_numbers(path)
                cv2.imwrite(str(path), np.where(numbers > count, 0, numbers))
    shutil.copytree(root / "Annotations/480p", root / "Annotations_unsupervised/480p")
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("\n".join(videos) + "\n")
    (root / "ImageSets/2019").mkdir(parents=True)
    (root / "ImageSets/2019/val.txt").write_text("\n".join(videos) + "\n")
    return root, masks


def evaluate(root, masks, task, functions):
    """(what it returns, seconds in the two functions, seconds of the whole)."""
    from davis2017 import evaluation, metrics

    spent = swap(evaluation, functions or metrics)
    start = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        scores = evaluation.DAVISEvaluation(str(root), task, "val").evaluate(str(masks))
    return scores, sum(spent), time.perf_counter() - start


def swap(module, functions):
    """Give a module the two functions of another; the list gets the seconds of each call."""
    spent = []

    def timed(function):
        def call(*arguments):
            start = time.perf_counter()
            value = function(*arguments)
            spent.append(time.perf_counter() - start)
            return value

        return call

    for name in ("db_eval_iou", "db_eval_boundary"):
        setattr(module, name, timed(getattr(functions, name)))
    return spent


# -------------------------------------------------------------------------------- a whole split


def time_split(num_videos):
    """Seconds of the command, by the clock and of the processor, with one thread and with two."""
    rng = np.random.default_rng(0)
    counts = [16 - (video % 50 >= 43) for video in range(num_videos)]  # 793 expressions in 50
    result = {"videos": num_videos, "expressions": sum(counts), "pairs": sum(counts) * 80}
    with tempfile.TemporaryDirectory() as name:
        paths = {side: Path(name) / f"{side}.json" for side in ("truth", "masks")}
        tracks = {side: {} for side in paths}
        for video, count in enumerate(counts):
            size = [(360, 640), (480, 854), (720, 1280)][video % 3]
            of_video = [moving_ellipses(rng, size) for _ in range(count)]
            for side, of_side in zip(tracks, zip(*of_video, strict=True), strict=True):
                tracks[side][f"video{video}"] = {str(e): track for e, track in enumerate(of_side)}
        for side, path in paths.items():
            path.write_text(json.dumps(tracks[side]))
        command = ["--truth", str(paths["truth"]), "--masks", str(paths["masks"]), "--workers"]
        for workers in (1, 1, 2):  # the first one fills the cache of the machine
            before, start = os.times(), time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "rvos", "score", *command, str(workers)],
                cwd=REPOSITORY,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            after = os.times()
            cpu = after.children_user + after.children_system
            cpu -= before.children_user + before.children_system
            result[f"threads_{workers}"] = {"s": time.perf_counter() - start, "cpu_s": cpu}
    return result | {"load_average_at_end": os.getloadavg()[0]}


def moving_ellipses(rng, size):
    """80 frames of one object, and of an answer that is a little off: two lists of RLE."""
    rows, columns = np.mgrid[: size[0], : size[1]] / np.array(size).reshape(2, 1, 1)
    center, radii, step = rng.uniform(0.3, 0.7, 2), rng.uniform(0.05, 0.2, 2), rng.normal(size=2)
    tracks = [], []
    for t in range(80):
        for track, error in zip(tracks, (0.0, 0.01), strict=True):
            y, x = center + 0.002 * t * step + error * rng.normal(size=2)
            inside = ((rows - y) / radii[0]) ** 2 + ((columns - x) / radii[1]) ** 2 < 1
            track.append(encode(inside))
    return tracks


# -------------------------------------------------------------------------------------- pairs


def compare_pairs(official, checkout, runs):
    """Milliseconds per pair of every side, the median of `runs` turns."""
    arrays = list(distinct_pairs(checkout))
    coded = [(encode(g), encode(p)) for g, p in arrays]
    sides = {
        "ours_arrays": lambda: [j_and_f(g, p) for g, p in arrays],
        "ours_rle": lambda: [j_and_f(g, p) for g, p in coded],
        "ours_J_rle": lambda: [jaccard(g, p) for g, p in coded],
        "ours_J_rle_one_call": lambda: jaccard(*map(list, zip(*coded, strict=True))),
        "ours_J_arrays": lambda: [jaccard(g, p) for g, p in arrays],
        "official_J_arrays": lambda: [official.db_eval_iou(g, p) for g, p in arrays],
        "official_arrays": lambda: [
            (official.db_eval_iou(g, p), official.db_eval_boundary(g, p)) for g, p in arrays
        ],
        "pycocotools_J_rle": lambda: [coco.iou([g], [p], [0])[0, 0] for g, p in coded],
    }
    with contextlib.suppress(ImportError):
        from hotcoco import mask as hotcoco

        theirs = [tuple({**m, "counts": m["counts"].encode()} for m in pair) for pair in coded]
        sides["hotcoco_J_rle"] = lambda: [hotcoco.iou([g], [p], [False])[0][0] for g, p in theirs]
    with contextlib.suppress(ImportError):
        from vos_benchmark import evaluator

        sides["vos_benchmark_arrays"] = lambda: [vos_benchmark(evaluator, *pair) for pair in arrays]
    with contextlib.suppress(ImportError):
        sides["vernier_boundary_iou_rle"] = vernier_boundary(coded)
    seconds, values = {side: [] for side in sides}, {}
    for turn in range(runs + 1):
        for side, run in sides.items():
            start = time.process_time()
            values[side] = np.array(run(), np.float64)
            if turn:  # the first one compiles and loads
                seconds[side].append(time.process_time() - start)
    result = {"pairs": len(arrays), "runs": runs, "cpu_ms_per_pair": {}, "largest_difference": {}}
    for side, times in seconds.items():
        result["cpu_ms_per_pair"][side] = 1e3 * float(np.median(times)) / len(arrays)
        ours = values["ours_J_rle" if values[side].ndim == 1 else "ours_arrays"]
        if values[side].ndim:  # else it is another measure
            result["largest_difference"][side] = float(abs(values[side] - ours).max())
    ms = result["cpu_ms_per_pair"]
    result["official_over_ours_arrays"] = ms["official_arrays"] / ms["ours_arrays"]
    return result


def distinct_pairs(checkout):
    """(truth, prediction) of one object, both present, in every fourth frame."""
    for video in TASKS["semi-supervised"]:
        for path in sorted((checkout / TRUTH / video).glob("*.png"))[::4]:
            truth, masks = read_numbers(path), read_numbers(checkout / MASKS / video / path.name)
            for k in (1, 2):
                if (truth == k).any() and (masks == k).any():
                    yield (truth == k).view(np.uint8), (masks == k).view(np.uint8)


def vernier_boundary(coded):
    """All pairs as images of one object, from COCO files in memory; Boundary IoU is no F."""
    from vernier._core import evaluate_boundary_grid

    sides = {"annotations": [], "results": []}
    for i, pair in enumerate(coded):
        for side, mask in zip(sides.values(), pair, strict=True):
            found = {"id": i + 1, "image_id": i + 1, "category_id": 1, "score": 1, "iscrowd": 0}
            area, box = float(coco.area(mask)), coco.toBbox(mask).tolist()
            side.append(found | {"segmentation": mask, "area": area, "bbox": box})
    images = [
        {"id": i + 1, "height": g["size"][0], "width": g["size"][1]}
        for i, (g, _) in enumerate(coded)
    ]
    truth = {"images": images, "categories": [{"id": 1, "name": "object"}]}
    truth = json.dumps(truth | {"annotations": sides["annotations"]}).encode()
    results = json.dumps(sides["results"]).encode()
    options = {"parity_mode": "strict", "max_dets_per_image": 100, "use_cats": True}
    options |= {"dilation_ratio": 0.008, "num_threads": 1}

    def run():
        evaluate_boundary_grid(truth, results, **options)

    return run


def vos_benchmark(evaluator, truth, prediction):
    one = evaluator.Evaluator()
    one.feed_frame(prediction, truth)
    return one.object_iou[1][0], one.boundary_f[1][0]


if __name__ == "__main__":
    main()
