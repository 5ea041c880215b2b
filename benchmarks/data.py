"""Start, memory and throughput of the training data.

    python benchmarks/data.py [--videos 1662] [--clips 100] [--work FOLDER]

1. mask_dict of the size of MeViS's training split (1,662 videos, 6,800 annotations, about 1 GB of
   JSON): the first start (parsing), later starts, memory of loader workers; reading the masks of a
   clip from our index, from Arrow (if pyarrow is there) and from one JSON file per video.
2. Clips per second of one core at the paper's sizes on 720p JPEGs, with and without reduced
   decoding, split into decode, transform and masks; and at the sizes of the synthetic data.

The data is made up: masks are ragged blobs of 720 x 1280, frames are synthetic videos. `--videos`
below 1662 scales part 1 down, and the result says so.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
os.environ["PYTHONPATH"] = str(REPOSITORY)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from machine import describe, write  # noqa: E402
from PIL import Image  # noqa: E402
from rich.progress import track as progress  # noqa: E402

from rvos.data.formats import open_checked  # noqa: E402
from rvos.data.mask_index import open_index  # noqa: E402
from rvos.data.synthetic import synthesize  # noqa: E402
from rvos.masks import encode, read_json, write_json  # noqa: E402
from rvos.train import augment  # noqa: E402
from rvos.train.clips import ClipDataset  # noqa: E402

VIDEOS, ANNOTATIONS, EXPRESSIONS, FRAMES = 1662, 6800, 23_051, 79  # FRAMES: about the mean
SIZE = (720, 1280)

# Run in a fresh process: seconds from a started interpreter to a dataset that can be read.
START = """
import json, sys, time, psutil
import torch, pytorch_lightning  # not counted: every training process loads them
begin = time.perf_counter()
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
with initialize_config_dir(sys.argv[2], version_base="1.3"):
    config = compose(overrides=["+data=mevis", "+seed=0", "+paths.data=.", "data.val_split=null",
                                f"data.root={sys.argv[1]}", "data.num_workers=2"])
module = instantiate(config.data)
module.prepare_data()
module.setup("fit")
seconds = time.perf_counter() - begin
batches = iter(module.train_dataloader())
for _ in range(int(sys.argv[3])):
    next(batches)
workers = [child.memory_full_info() for child in psutil.Process().children()]
print(json.dumps({
    "seconds": seconds, "clips": len(module.train_data),
    "worker_rss_mb": max((w.rss for w in workers), default=0) / 1e6,
    "worker_uss_mb": max((w.uss for w in workers), default=0) / 1e6,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=VIDEOS)
    parser.add_argument("--clips", type=int, default=100, help="clips timed per setting")
    parser.add_argument("--work", type=Path, help="where made-up data goes (2.5 GB, deleted again)")
    options = parser.parse_args()
    result = describe(["torch", "torchvision", "pillow", "pycocotools", "opencv-python-headless"])
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        result["mask_dict"] = measure_masks(folder / "large", options.videos)
        result["loader"] = measure_loader(folder, options.clips)
    result["load_average_at_end"] = os.getloadavg()[0]
    write("data", result)


# ------------------------------------------------------------------------------------ mask_dict


def measure_masks(root: Path, videos: int) -> dict:
    size = make_large(root, videos)
    source = root / "train" / "mask_dict.json"
    first = start(root, batches=0)
    later = start(root, batches=50)
    index = open_index(source)
    wanted = wanted_masks(list(index), 1000)
    readers = {"index": index.mask, "per_video_json": per_video(root, index)}
    if arrow := arrow_reader(root, index):
        readers["arrow"] = arrow
    return {
        "videos": videos,
        "scaled_down_from": VIDEOS if videos != VIDEOS else None,
        "mask_dict_gb": source.stat().st_size / 1e9,
        **size,
        "first_start_s": first["seconds"],
        "later_start_s": later["seconds"],
        "clips": later["clips"],
        "worker_after_25_clips_rss_mb": later["worker_rss_mb"],
        "worker_after_25_clips_uss_mb": later["worker_uss_mb"],
        "five_masks_of_a_track_ms": {
            name: 1e3 * time_reads(read, wanted) for name, read in readers.items()
        },
        "index_gb": folder_size(root / "train" / ".rvos_index") / 1e9,
    }


def make_large(root: Path, videos: int) -> dict:
    """A train split of `videos` videos; frames are links to few JPEGs, masks repeat 200 blobs."""
    rng = np.random.default_rng(0)
    blobs = [json.dumps(encode(blob(rng)), separators=(",", ":")) for _ in range(200)]
    share = videos / VIDEOS
    annotations, expressions = round(ANNOTATIONS * share), round(EXPRESSIONS * share)
    pictures = make_pictures(root, rng)
    content: dict = {}
    for v in progress(range(videos), "frames"):
        name = f"video{v:04d}"
        frames = [f"{t:05d}" for t in range(FRAMES)]
        (root / "train" / "JPEGImages" / name).mkdir(parents=True)
        for t, frame in enumerate(frames):
            os.link(
                pictures[(v + t) % len(pictures)],
                root / "train" / "JPEGImages" / name / f"{frame}.jpg",
            )
        content[name] = {"frames": frames, "expressions": {}}
    names = list(content)
    for e in range(expressions):
        video = e % videos
        own = range(video, annotations, videos)
        ids = sorted({own[int(i)] for i in rng.integers(len(own), size=1 + int(e % 5 == 0))})
        content[names[video]]["expressions"][str(e // videos)] = {
            "exp": f"the animal {e} moving left",
            "obj_id": ids,
            "anno_id": ids,
        }
    with open(root / "train" / "mask_dict.json", "w") as file:
        for a in progress(range(annotations), "masks"):
            picked = rng.integers(len(blobs), size=FRAMES)
            track = ",".join("null" if i % 10 == 0 else blobs[i] for i in picked)
            file.write(("{" if a == 0 else ",") + f'"{a}":[{track}]')
        file.write("}")
    write_json(root / "train" / "meta_expressions.json", {"videos": content})
    return {"annotations": annotations, "expressions": expressions}


def blob(rng: np.random.Generator) -> np.ndarray:
    """A ragged ellipse, so that its RLE is about as long as MeViS's (1.9 kB a mask)."""
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    cy, cx = rng.uniform(200, 520), rng.uniform(580, 700)
    ry, rx = rng.uniform(80, 180), rng.uniform(380, 580)
    edge = 1 + np.repeat(rng.normal(0, 0.05, width // 2), 2)
    return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < edge


def make_pictures(root: Path, rng: np.random.Generator) -> list[Path]:
    pictures = []
    for i in range(8):
        paper = np.repeat(np.repeat(rng.integers(0, 255, (90, 160, 3), np.uint8), 8, 0), 8, 1)
        path = root / "pictures" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paper).save(path, quality=75)
        pictures.append(path)
    return pictures


def start(root: Path, batches: int) -> dict:
    """A training process's start, in a process of its own."""
    command = [sys.executable, "-c", START, str(root), str(REPOSITORY / "conf"), str(batches)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def wanted_masks(ids: list[str], count: int) -> list[tuple[str, list[int]]]:
    rng = np.random.default_rng(1)
    return [
        (ids[int(rng.integers(len(ids)))], rng.integers(FRAMES, size=5).tolist())
        for _ in range(count)
    ]


def time_reads(read, wanted: list[tuple[str, list[int]]]) -> float:
    """Mean seconds to read five masks of one track."""
    begin = time.perf_counter()
    for annotation_id, frames in wanted:
        for t in frames:
            read(annotation_id, t)
    return (time.perf_counter() - begin) / len(wanted)


def per_video(root: Path, index):
    """Reader of one JSON file per annotation's video; the last file read is kept in memory."""
    groups = defaultdict(list)
    videos = len(list((root / "train" / "JPEGImages").iterdir()))
    for i in index:
        groups[int(i) % videos].append(i)
    for video, ids in progress(groups.items(), "one file per video"):
        (root / "per_video").mkdir(exist_ok=True)
        content = json.dumps({i: index.track(i) for i in ids}, separators=(",", ":"))
        (root / "per_video" / f"{video}.json").write_text(content)
    last: dict = {}

    def read(annotation_id: str, t: int):
        video = int(annotation_id) % videos
        if video not in last:
            last.clear()
            last[video] = read_json(root / "per_video" / f"{video}.json")
        return last[video][annotation_id][t]

    return read


def arrow_reader(root: Path, index):
    """Reader of a memory-mapped Arrow file with one string per mask, or None without pyarrow."""
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        return None
    path, starts, row = root / "masks.arrow", {}, 0
    schema = pa.schema([("counts", pa.large_string())])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for i in progress(list(index), "Arrow"):
            track = index.track(i)
            starts[i] = row
            row += len(track)
            counts = [mask and mask["counts"] for mask in track]
            column = pa.array(counts, pa.large_string())
            writer.write_batch(pa.record_batch([column], schema=schema))
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    column = table.column("counts")

    def read(annotation_id: str, t: int):
        counts = column[starts[annotation_id] + t].as_py()
        return counts and {"size": list(SIZE), "counts": counts}

    return read


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --------------------------------------------------------------------------------------- loader


def measure_loader(folder: Path, clips: int) -> dict:
    torch.set_num_threads(1)
    shared = {
        "num_videos": {"train": 6},
        "num_frames": 20,
        "num_objects": (3, 5),
        "seed": 0,
        "object_size": (0.2, 0.34),
        "camera_shake": 1.0,
        "pillars": 0.3,
        "no_target": 0.0,
        "hidden_truth": [],
        "workers": 2,
    }
    synthesize(folder / "720p", size=SIZE, jpeg_quality=60, **shared)
    synthesize(folder / "small", size=(128, 192), jpeg_quality=90, **shared)
    return {
        "720p, mevis.yaml": throughput(folder / "720p", "mevis", clips),
        "720p, mevis.yaml, reduced_decode=false": throughput(
            folder / "720p", "mevis", clips, reduced_decode=False
        ),
        "128x192, synthetic.yaml": throughput(folder / "small", "synthetic", 4 * clips),
    }


def throughput(root: Path, config: str, clips: int, *, format: str = "mevis", **changes) -> dict:
    """Clips of one process with one thread, CPU seconds: other processes do not count."""
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        settings = compose(overrides=[f"+data={config}", "+seed=0", "+paths.data=."]).data
    recipe = replace(instantiate(settings.clip, _convert_="all"), **changes)
    split, truth = open_checked(format, root, "train", with_truth=True, skip_bad=False)
    data = ClipDataset(split, truth, recipe, seed=0, skip_bad=False)
    order = np.random.default_rng(0).permutation(len(data))[:clips].tolist()
    for index in order[:5]:
        data[index]  # warm up
    spent: dict[str, float] = defaultdict(float)
    undo = [
        timed(owner, name, key, spent)
        for owner, name, key in [
            (augment, "_decode", "decode"),
            (ClipDataset, "_masks", "masks"),
            (augment, "place_masks", "masks"),
        ]
    ]
    gc.collect()
    begin, wall = time.process_time(), time.perf_counter()
    for index in order:
        data[index]
    total, wall = time.process_time() - begin, time.perf_counter() - wall
    for restore in undo:
        restore()
    sizes = [path.stat().st_size for path in root.rglob("*.jpg")]
    decode, masks = 1e3 * spent["decode"] / len(order), 1e3 * spent["masks"] / len(order)
    cpu = 1e3 * total / len(order)
    return {
        "clips_per_s_and_core": len(order) / total,
        "cpu_ms_per_clip": cpu,
        "decode_ms": decode,
        "masks_ms": masks,
        "transform_ms": cpu - decode - masks,
        "wall_over_cpu": wall / total,
        "frame_kb": float(np.mean(sizes)) / 1e3 if sizes else None,
    }


def timed(owner, name: str, key: str, spent: dict[str, float]):
    """Let `owner.name` add its CPU time to `spent[key]`; returns what undoes it."""
    function = getattr(owner, name)

    def wrapper(*args):
        begin = time.process_time()
        value = function(*args)
        spent[key] += time.process_time() - begin
        return value

    setattr(owner, name, wrapper)
    return lambda: setattr(owner, name, function)


if __name__ == "__main__":
    main()
