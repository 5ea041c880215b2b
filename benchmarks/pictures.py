"""Start and throughput of training on pictures.

    python benchmarks/pictures.py [--clips 200] [--work FOLDER]

1. A converted file of the size of RefCOCO's training split (120,000 sentences about 42,404 objects
   in 16,994 pictures; polygons of 30 points): seconds and memory until the split is read.
2. Clips per second of one core, from synthetic pictures of COCO's usual 480 x 640 pixels at the
   paper's sizes: pseudo-clips of five frames, the same without copies, and single pictures.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from data import throughput
from machine import describe, write
from rich.progress import track as progress

from rvos.data.refcoco import read_split
from rvos.data.synthetic import synthesize
from rvos.masks import read_json, write_json

PICTURES, OBJECTS, SENTENCES, POINTS = 16_994, 42_404, 120_000, 30
SIZE = (480, 640)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work or Path(temporary)
        result = describe(["torch", "torchvision", "pycocotools", "opencv-python-headless"])
        result["clips"] = measure_clips(folder / "clips", args.clips)
        result["start"] = measure_start(folder / "start")
    result["load_average_at_end"] = os.getloadavg()[0]
    write("pictures", result)


def measure_start(root: Path) -> dict:
    """Read a made-up training split of RefCOCO's size."""
    (root / "train2014").mkdir(parents=True)
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    outlines = []
    for _ in range(OBJECTS):
        radii = rng.uniform(40, 90, POINTS)
        points = np.stack([320 + radii * np.cos(angles), 240 + radii * np.sin(angles)], 1)
        outlines.append([points.ravel().round(2).tolist()])
    images, annotations = [], []
    for number in progress(range(SENTENCES), "sentences"):
        of = number * OBJECTS // SENTENCES
        name = f"COCO_train2014_{of * PICTURES // OBJECTS:012d}.jpg"
        entry = {"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
        images.append(entry | {"caption": f"the person number {number}"})
        drawn = {"id": number, "image_id": number, "original_id": of}
        annotations.append(drawn | {"segmentation": outlines[of]})
    path = root / "refcoco" / "instances_refcoco_train.json"
    write_json(path, {"images": images, "annotations": annotations})
    del images, annotations, outlines
    before, begin = time.process_time(), time.perf_counter()
    split = read_split(root / "refcoco", "train")
    return {
        "file_mb": path.stat().st_size / 1e6,
        "pictures": len(split.videos),
        "objects": len(split.masks),
        "cpu_seconds": time.process_time() - before,
        "wall_seconds": time.perf_counter() - begin,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def measure_clips(root: Path, clips: int) -> dict:
    """Clips of pictures that are frames of synthetic videos, one expression each."""
    synthesize(
        root / "videos",
        num_videos={"train": 60},
        num_frames=1,
        size=SIZE,
        num_objects=(3, 5),
        object_size=(0.2, 0.34),
        camera_shake=0.0,
        pillars=0.3,
        no_target=0.0,
        jpeg_quality=90,
        seed=0,
        hidden_truth=[],
        workers=2,
    )
    split = root / "videos" / "train"
    tracks = read_json(split / "mask_dict.json")
    (root / "train2014").mkdir()
    content: dict[str, list] = {"images": [], "annotations": []}
    for video, entry in read_json(split / "meta_expressions.json")["videos"].items():
        frame = split / "JPEGImages" / video / f"{entry['frames'][0]}.jpg"
        (root / "train2014" / f"{video}.jpg").write_bytes(frame.read_bytes())
        for expression in entry["expressions"].values():
            number, of = len(content["images"]), expression["anno_id"][0]
            said = {"file_name": f"{video}.jpg", "height": SIZE[0], "width": SIZE[1]}
            content["images"].append(said | {"id": number, "caption": expression["exp"]})
            drawn = {"id": number, "image_id": number, "original_id": of}
            content["annotations"].append(drawn | {"segmentation": tracks[str(of)][0]})
    write_json(root / "refcoco" / "instances_refcoco_train.json", content)

    def measure(**changes) -> dict:
        found = throughput(root / "refcoco", "refcoco", clips, format="refcoco", **changes)
        del found["frame_kb"]  # the pictures lie elsewhere
        return found

    return {
        "5 frames": measure(),
        "5 frames, pseudo_clip=null": measure(pseudo_clip=None),
        "1 frame": measure(num_frames=1),
    }


if __name__ == "__main__":
    main()
