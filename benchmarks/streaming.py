"""Memory and time of eval.py on many expressions, and what MeViS v2 train would take.

    python benchmarks/streaming.py

Made-up masks: videos of 79 frames of 360 x 640 with 8 expressions about 4 objects each, 9 masklets
of one noun; coarse masks that now and then jump. eval.py refines and scores them with the grid of
63 cells, in two processes, report=none. Peak memory is that of all its processes together, sampled
every 50 ms; the first video is the first file in videos/. MeViS v2 train has 27,502 expressions.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY)]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402
from machine import describe, write  # noqa: E402

from rvos.masks import encode, write_json  # noqa: E402

FRAMES, SIZE, PER_VIDEO, MEVIS_V2_TRAIN = 79, (360, 640), 8, 27_502


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expressions", type=int, nargs="+", default=[100, 400, 1600])
    options = parser.parse_args()
    result = describe(["numpy", "numba", "pycocotools"])
    result["cells"], result["frames"] = 63, FRAMES
    result["runs"] = []
    rng = np.random.default_rng(0)
    drawn = [[track(rng) for _ in range(9)] for _ in range(20)]
    result["mask_bytes"] = float(np.mean([len(m["counts"]) for v in drawn for t in v for m in t]))
    with tempfile.TemporaryDirectory() as folder:
        for count in options.expressions:
            data = Path(folder) / str(count)
            write_data(data, count, drawn)
            result["runs"].append({"expressions": count, **measure(data)})
            print(result["runs"][-1], flush=True)
    last = result["runs"][-1]
    result["mevis_v2_train"] = {
        "expressions": MEVIS_V2_TRAIN,
        "hours": last["seconds"] / last["expressions"] * MEVIS_V2_TRAIN / 3600,
        "output_gb": last["output_mb"] / last["expressions"] * MEVIS_V2_TRAIN / 1e3,
    }
    result["load_average_at_end"] = os.getloadavg()[0]
    write("streaming", result)


def blob(rng, center, radius):
    """A mask with an uneven outline."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radii = radius * (1 + 0.25 * np.sin(3 * angles + rng.uniform(0, 6)) + rng.normal(0, 0.06, 60))
    points = np.stack([center[0] + radii * np.cos(angles), center[1] + radii * np.sin(angles)], 1)
    pixels = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(pixels, [points.round().astype(np.int32)], 1)
    return encode(pixels)


def track(rng):
    """An object that moves along a line."""
    start, move = rng.uniform((100, 80), (540, 280)), rng.uniform(-1, 1, 2)
    radius = rng.uniform(30, 80)
    return [blob(rng, start + t * move, radius) for t in range(FRAMES)]


def write_data(folder, count, drawn):
    """A MeViS folder with masks of every stage. The masks of twenty videos are drawn, and later
    videos have them again: no less is read and refined."""
    videos, truths, nouns = {}, {}, {}
    for v in range(-(-count // PER_VIDEO)):
        name, number = f"video{v:05d}", min(PER_VIDEO, count - v * PER_VIDEO)
        tracks = drawn[v % len(drawn)]
        truths |= {f"{name}-{i}": tracks[i] for i in range(4)}
        coarse = {
            str(e): [tracks[(e % 4 + (t // 10 % 3 == 2)) % 4][t] for t in range(FRAMES)]
            for e in range(number)
        }
        write_json(folder / "coarse" / f"{name}.json.gz", coarse)
        write_json(folder / "masklets" / f"{name}.json.gz", {"thing": tracks})
        nouns[name] = dict.fromkeys(coarse, "thing")
        videos[name] = {
            "frames": [f"{t:05d}" for t in range(FRAMES)],
            "expressions": {
                key: {"exp": f"thing {key}", "anno_id": [f"{name}-{int(key) % 4}"], "obj_id": [0]}
                for key in coarse
            },
        }
    write_json(folder / "valid_u" / "meta_expressions.json", {"videos": videos})
    write_json(folder / "valid_u" / "mask_dict.json", truths)
    write_json(folder / "nouns.json", nouns)


def measure(data):
    """Run eval.py: seconds, peak memory, when the first video was done, what it wrote."""
    out = data / "out"
    arguments = [
        *(f"data.root={data}", f"output_dir={out}", "report=none", "ablation=grid"),
        *("coarse=files", f"coarse.path={data / 'coarse'}", "score.workers=2"),
        *("masklets=files", f"masklets.path={data / 'masklets'}"),
        f"masklets.nouns={data / 'nouns.json'}",
    ]
    subprocess.run(  # builds the index of mask_dict.json, once for all runs on a dataset
        [
            sys.executable,
            "eval.py",
            *arguments,
            "score.max_videos=1",
            f"output_dir={data / 'first'}",
        ],
        cwd=REPOSITORY,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    started, first, peak, peak_main = time.perf_counter(), None, 0, 0
    process = subprocess.Popen(
        [sys.executable, "eval.py", *arguments], cwd=REPOSITORY, stdout=subprocess.DEVNULL
    )
    while process.poll() is None:
        try:
            main = psutil.Process(process.pid)
            own = main.memory_info().rss
            peak_main = max(peak_main, own)
            peak = max(peak, own + sum(p.memory_info().rss for p in main.children(recursive=True)))
        except psutil.NoSuchProcess:
            continue
        if first is None and any((out / "videos").glob("video*.json.gz")):
            first = time.perf_counter() - started
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"eval.py failed with status {process.returncode}")
    files = [p for p in out.rglob("*") if p.is_file()]
    return {
        "seconds": seconds,
        "first_video_s": first,
        "peak_memory_mb": peak / 1e6,
        "peak_memory_first_process_mb": peak_main / 1e6,
        "output_files": len(files),
        "output_mb": sum(p.stat().st_size for p in files) / 1e6,
    }


if __name__ == "__main__":
    main()
