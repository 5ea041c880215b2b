"""Seconds per frame of 720p of `experiment=grounded` and of other sizes and precisions, on a CPU.

    python benchmarks/grounded.py [--frames 8] [--strides 10 20 30]

Networks of the published sizes with random weights: neither time nor memory depends on their
values. A detection is one frame with one sentence at the processor's size (750 x 1333); tracking
reads JPEGs of 720 x 1280. A video costs tracking, and a detection (in fp32, as the product runs it)
every `stride` frames.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

ROOT = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(ROOT), str(ROOT / "tests/support")]  # behind this folder

from family_models import edgetam_config, grounding_config  # noqa: E402
from machine import describe, write  # noqa: E402
from masklets import write_frames  # noqa: E402

from rvos.data.frames import FrameCache, FrameFolder  # noqa: E402
from rvos.tracking.sam2 import TransformersTracker  # noqa: E402
from rvos.tracking.sam2_weights import SIZES, config_for  # noqa: E402
from rvos.tracking.track import autocast, track_boxes  # noqa: E402

SENTENCE = [101, 1996, 3899, 2770, 2000, 1996, 2187, 1012, 102]  # the dog running to the left.
PRECISIONS = ("fp32", "bf16")
OBJECTS = (1, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=8, help="of the tracked video")
    parser.add_argument(
        "--strides", type=int, nargs="+", default=[10, 20, 30], help="frames between detections"
    )
    given = parser.parse_args()
    result = describe(["torch", "transformers"]) | {"threads": torch.get_num_threads()}
    detections = {
        f"{size} {precision}": detection(size, precision)
        for size in ("tiny", "base")
        for precision in PRECISIONS
    }
    print(detections, flush=True)
    trackers = {"edgetam": edgetam, "sam2.1-hiera-tiny": sam2(0), "sam2.1-hiera-small": sam2(1)}
    trackings = {}
    for name, make in trackers.items():
        for precision in PRECISIONS:
            trackings[f"{name} {precision}"] = tracking(make(), precision, given.frames)
            print(name, precision, trackings[f"{name} {precision}"], flush=True)
    detect = detections["tiny fp32"]
    write(
        "grounded",
        result
        | {
            "seconds_per_detection": detections,
            "tracking_seconds_per_frame": trackings,
            "video_seconds_per_frame": {
                f"stride {stride}": {
                    name: {k: round(v + detect / stride, 2) for k, v in row.items()}
                    for name, row in trackings.items()
                }
                for stride in given.strides
            },
            "load_average_at_end": os.getloadavg()[0],
        },
    )


@torch.inference_mode()
def detection(size: str, precision: str) -> float:
    """The median of three."""
    torch.manual_seed(0)
    model = transformers.GroundingDinoForObjectDetection(grounding_config(size)).eval()
    pixels = torch.rand(1, 3, 750, 1333)  # (B, C, H, W)
    ids = torch.tensor([SENTENCE])  # (B, L)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        with autocast(torch.device("cpu"), precision):
            model(pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids))
        seconds.append(time.perf_counter() - start)
    return round(float(np.median(seconds[1:])), 2)  # the first warms up


def sam2(index: int) -> Any:
    return lambda: transformers.Sam2VideoModel(
        config_for(SIZES[index], version="2.1", image_size=1024)
    )


def edgetam() -> Any:
    return transformers.EdgeTamVideoModel(edgetam_config())


def tracking(model: Any, precision: str, num_frames: int) -> dict[str, float]:
    """{objects: seconds per frame}; every object counts as seen, or no mask would be encoded."""
    with torch.no_grad():
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(10)
    tracker = TransformersTracker(model, device="cpu", precision=precision, compile=False)
    names = [f"{t:05d}" for t in range(num_frames)]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        boxes = write_frames(Path(folder), num_frames, (720, 1280))

        def once(objects: int, length: int) -> float:
            start = time.perf_counter()
            with FrameCache(FrameFolder(folder, names[:length])) as frames:
                track_boxes(tracker, frames, 0, boxes[:objects], objects_at_once=objects)
            return time.perf_counter() - start

        once(1, 2)  # warms up
        for objects in OBJECTS:
            found[f"{objects} object(s)"] = round(once(objects, num_frames) / num_frames, 2)
    return found


if __name__ == "__main__":
    main()
