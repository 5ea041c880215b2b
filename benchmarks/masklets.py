"""Masklets, measured: nouns, flow, memory and speed of SAM 2.

    python benchmarks/masklets.py nouns --tsv FILE
    python benchmarks/masklets.py flow --videos clip.mp4 ... [--frames 60] [--sheet DIR]
    python benchmarks/masklets.py flow-iou --data ROOT [--split valid_u] [--max-videos 40]
    python benchmarks/masklets.py memory [--frames 50 200 800] [--objects 5] [--image-size 256]
    python benchmarks/masklets.py speed [--device cuda] [--size l] [--objects 1 5 20] [--frames 200]

`memory` and `speed` use random weights: neither depends on their values. `speed` compares with the
loop of Meta's package on the same frames, each in its own process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(1, str(ROOT))  # behind this folder

from machine import describe, write  # noqa: E402


def flow_tracker():
    from rvos.tracking import FlowTracker

    return FlowTracker.preset()


def nouns(options):
    from rvos.nouns.finder import NounFinder, _read_table

    rows = _read_table(options.tsv)
    finder = NounFinder("rules", "video")
    texts = [row["expression"] for row in rows]
    finder.find(texts[:1])  # loads the dictionary
    many = [f"{text} {i}" for i in range(30_000 // len(texts) + 1) for text in texts][:30_000]
    start = time.perf_counter()
    finder.find(many)
    seconds = time.perf_counter() - start
    return {"expressions": len(many), "seconds": round(seconds, 2)}


def flow(options):
    """Milliseconds per frame at 480p, without decoding; contact sheets of outlines to look at."""
    from rvos.data.frames import open_frames

    tracker, results = flow_tracker(), {}
    for path in options.videos:
        frames = []
        for frame in open_frames(path):
            height, width = frame.shape[:2]
            scale = 480 / min(height, width)
            frames.append(
                cv2.resize(
                    frame,
                    (round(width * scale), round(height * scale)),
                    interpolation=cv2.INTER_AREA,
                )
            )
            if len(frames) == options.frames:
                break
        start = time.perf_counter()
        tracks = tracker.track(frames, frames[0].shape[:2])
        seconds = time.perf_counter() - start
        results[path.name] = {
            "frames": len(frames),
            "size": list(frames[0].shape[:2]),
            "masklets": len(tracks),
            "ms_per_frame": round(1000 * seconds / len(frames), 1),
        }
        if options.sheet:
            write_sheet(options.sheet / f"{path.stem}.png", frames, tracks)
    return results


def write_sheet(path, frames, tracks):
    """Eight frames with the outlines of all masklets, one colour each."""
    from rvos.masks import decode

    colors = [
        (255, 60, 60),
        (60, 255, 60),
        (80, 80, 255),
        (255, 255, 0),
        (255, 0, 255),
        (0, 255, 255),
        (255, 140, 0),
        (255, 255, 255),
    ]
    shown = []
    for t in np.linspace(0, len(frames) - 1, 8).round().astype(int):
        frame = frames[t].copy()
        for i, track in enumerate(tracks):
            if track[t]:
                outlines, _ = cv2.findContours(
                    np.ascontiguousarray(decode(track[t])), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
                )
                cv2.drawContours(frame, outlines, -1, colors[i % len(colors)], 3)
        shown.append(cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack([np.hstack(shown[:4]), np.hstack(shown[4:])])).save(path)


def flow_iou(options):
    """Mean best-match IoU of flow's masklets with the moving ground-truth objects.

    Two readings of a track's IoU: pixels of all frames together, and the mean over the frames
    where object or masklet is present.
    """
    from rvos.data.frames import FrameFolder
    from rvos.data.mevis import Annotations, read_split
    from rvos.masks import decode, read_json

    split = read_split(options.data, options.split)
    truth, objects = Annotations(split), read_json(split.folder / "objects.json")
    tracker, pooled, by_frame, seconds, num_frames = flow_tracker(), [], [], 0.0, 0
    for video in split.videos[: options.max_videos]:
        frames = list(FrameFolder(split.folder / "JPEGImages" / video.name, video.frames))
        size = frames[0].shape[:2]
        start = time.perf_counter()
        tracks = tracker.track(frames, size)
        seconds += time.perf_counter() - start
        num_frames += len(frames)

        def dense(track, size=size):
            return np.array([decode(m) if m else np.zeros(size, np.uint8) for m in track], bool)

        found = [dense(track) for track in tracks]
        for annotation_id, about in objects[video.name].items():
            if about["moving"]:
                target = dense(truth.track(annotation_id))
                scores = [overlaps(target, one) for one in found] or [(0.0, 0.0)]
                pooled.append(max(score[0] for score in scores))
                by_frame.append(max(score[1] for score in scores))
    return {
        "moving_objects": len(pooled),
        "mean_best_iou": round(float(np.mean(pooled)), 4),
        "mean_best_iou_by_frame": round(float(np.mean(by_frame)), 4),
        "ms_per_frame": round(1000 * seconds / num_frames, 1),
    }


def overlaps(a, b):
    """(T, H, W) bool, twice -> IoU of all pixels, mean IoU of the frames with any."""
    both, either = (a & b).sum((1, 2)), (a | b).sum((1, 2))
    some = either > 0
    return both.sum() / max(either.sum(), 1), float((both[some] / either[some]).mean())


def write_frames(folder, num_frames, size):
    """JPEGs of a few textured squares that move; returns the boxes of the first frame."""
    random = np.random.default_rng(0)
    back = random.integers(0, 120, (*size, 3), dtype=np.uint8)
    side = max(size[0] // 8, 8)
    patches = [random.integers(100, 255, (side, side, 3), dtype=np.uint8) for _ in range(20)]
    corners = random.integers(0, [size[1] - side, size[0] - side], (20, 2))
    for t in range(num_frames):
        frame = back.copy()
        for (x, y), patch in zip(
            (corners + t) % [size[1] - side, size[0] - side], patches, strict=True
        ):
            frame[y : y + side, x : x + side] = patch
        Image.fromarray(frame).save(folder / f"{t:05d}.jpg")
    return np.concatenate([corners, corners + side], 1).astype(np.float32)


def track_once(options):
    """In its own process: boxes tracked through a video; seconds per frame and peak memory."""
    import psutil
    import torch

    from rvos.data.frames import FrameCache, FrameFolder
    from rvos.tracking.sam2 import TransformersTracker
    from rvos.tracking.sam2_package import PackageTracker, build_package
    from rvos.tracking.sam2_weights import SIZES, config_for
    from rvos.tracking.track import track_boxes

    torch.manual_seed(0)
    size = next(size for size in SIZES if size.name == options.size)
    precision = "bf16" if options.device == "cuda" else "fp32"
    if options.backend == "transformers":
        from transformers import Sam2VideoModel

        model = Sam2VideoModel(config_for(size, version="2.1", image_size=options.image_size))
        tracker = TransformersTracker(
            model, device=options.device, precision=precision, compile=options.compile
        )
    else:
        grid = [options.image_size // 16] * 2
        model = build_package(
            f"sam2.1/sam2.1_hiera_{size.name}.yaml",
            {
                "image_size": options.image_size,
                "memory_attention.layer.self_attention.feat_sizes": grid,
                "memory_attention.layer.cross_attention.feat_sizes": grid,
            },
        )
        tracker = PackageTracker(
            model, device=options.device, precision=precision, keep_state=True
        )  # the package's own loop drops nothing
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], psutil.Process().memory_info().rss)

    with tempfile.TemporaryDirectory() as folder:
        boxes = write_frames(Path(folder), options.num_frames, (options.height, options.width))
        boxes = boxes[: options.num_objects]
        names = [f"{t:05d}" for t in range(options.num_frames)]

        def once(count):
            with FrameCache(FrameFolder(folder, names[:count])) as frames:
                track_boxes(tracker, frames, 0, boxes, objects_at_once=len(boxes))

        once(20)  # warm up: caches, kernels
        start_rss = psutil.Process().memory_info().rss
        if options.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        thread = threading.Thread(target=watch)
        thread.start()
        start = time.perf_counter()
        once(options.num_frames)
        seconds = time.perf_counter() - start
        done.set()
        thread.join()
    result = {
        "seconds_per_frame": round(seconds / options.num_frames, 4),
        "peak_rss_MiB": round(peak[0] / 2**20),
        "rss_before_MiB": round(start_rss / 2**20),
    }
    if options.device == "cuda":
        result["peak_gpu_MiB"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return result


def in_process(**arguments):
    """`track_once` in a fresh process."""
    command = [sys.executable, __file__, "once"]
    for key, value in arguments.items():
        command += [f"--{key.replace('_', '-')}"] + ([] if value is True else [str(value)])
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(finished.stderr)
    return json.loads(finished.stdout)["result"]


def memory(options):
    """Peak memory of the process on the CPU for videos of different length; flat within 10 %."""
    peaks = {}
    for num_frames in options.frames:
        peaks[num_frames] = in_process(
            backend="transformers",
            device="cpu",
            size="t",
            num_frames=num_frames,
            num_objects=options.objects,
            image_size=options.image_size,
            height=options.image_size,
            width=options.image_size,
        )
        print(num_frames, peaks[num_frames], file=sys.stderr)
    rss = [peak["peak_rss_MiB"] for peak in peaks.values()]
    return {
        "objects": options.objects,
        "image_size": options.image_size,
        "by_frames": peaks,
        "largest_over_smallest": round(max(rss) / min(rss), 3),
    }


def speed(options):
    """Seconds per frame and peak GPU memory, ours beside Meta's own loop."""
    rows = []
    for num_objects in options.objects:
        for backend in ("transformers", "sam2_package"):
            measured = in_process(
                backend=backend,
                device=options.device,
                size=options.size,
                num_frames=options.frames,
                num_objects=num_objects,
                image_size=1024,
                height=720,
                width=1280,
            )
            rows.append({"backend": backend, "objects": num_objects} | measured)
            print(rows[-1], file=sys.stderr)
    return {"size": options.size, "frames": options.frames, "device": options.device, "rows": rows}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("nouns")
    one.add_argument("--tsv", type=Path, required=True)
    one = commands.add_parser("flow")
    one.add_argument("--videos", type=Path, nargs="+", required=True)
    one.add_argument("--frames", type=int, default=60)
    one.add_argument("--sheet", type=Path)
    one = commands.add_parser("flow-iou")
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--split", default="valid_u")
    one.add_argument("--max-videos", type=int)
    one = commands.add_parser("memory")
    one.add_argument("--frames", type=int, nargs="+", default=[50, 200, 800])
    one.add_argument("--objects", type=int, default=5)
    one.add_argument("--image-size", type=int, default=256)
    one = commands.add_parser("speed")
    one.add_argument("--device", default="cuda")
    one.add_argument("--size", default="l")
    one.add_argument("--objects", type=int, nargs="+", default=[1, 5, 20])
    one.add_argument("--frames", type=int, default=200)
    one = commands.add_parser("once")
    for name in ("num-frames", "num-objects", "image-size", "height", "width"):
        one.add_argument(f"--{name}", type=int, required=True)
    for name in ("backend", "device", "size"):
        one.add_argument(f"--{name}", required=True)
    one.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    run = {
        "nouns": nouns,
        "flow": flow,
        "flow-iou": flow_iou,
        "memory": memory,
        "speed": speed,
        "once": track_once,
    }[options.command]
    if options.command == "once":
        print(json.dumps({"result": run(options)}))
        return
    about = describe(["torch", "transformers", "sam2", "opencv-python-headless"])
    about["command"] = " ".join(Path(word).name for word in sys.argv[1:])
    write(f"masklets_{options.command.replace('-', '_')}", about | {"result": run(options)})


if __name__ == "__main__":
    main()
