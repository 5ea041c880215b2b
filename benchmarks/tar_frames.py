"""Reading frames from JPEGImages.tar beside reading them from JPEGImages/.

    python benchmarks/tar_frames.py [--videos 24] [--rounds 5] [--workers 4] [--work FOLDER]

Synthetic videos of 720p (about the bytes of MeViS's frames) lie in a folder and, the same files,
in a tar. Both are read in turn, round by round, so that other jobs on the machine slow both:

- `frames`: every frame of every video is decoded by a DataLoader's workers through
  `Split.open_frames`;
- `clips`: training clips of data=mevis, drawn at random, by a DataLoader's workers;
- `bytes`: all frames in a random order by one process, without decoding.

Before each `cold` reading the files leave the system's cache. Pixels of all frames are compared.
A tar of about as many small members as MeViS's training split has frames is opened twice.
The table gives the median time of the rounds and the median of the ratios of one round.
"""

import argparse
import os
import tarfile
import tempfile
import time
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from machine import describe, write
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset, Subset

from rvos import CONFIG_DIR
from rvos.data import archive
from rvos.data.mevis import read_split, read_truth
from rvos.data.split import Split
from rvos.data.synthetic import synthesize
from rvos.train.clips import ClipDataset

SIZE, FRAMES = (720, 1280), 40
NAMES = ("folder", "tar")


class Videos(Dataset[int]):
    """Reads the frames of a video; an item is how many there were."""

    def __init__(self, split: Split):
        self.split = split

    def __len__(self) -> int:
        return len(self.split.videos)

    def __getitem__(self, index: int) -> int:
        return sum(1 for _ in self.split.open_frames(self.split.videos[index]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--work", type=Path, help="where made-up data goes (deleted again)")
    options = parser.parse_args()
    result = describe(["torch", "pillow"]) | {"workers": options.workers}
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        roots = make(Path(name), options.videos)
        result |= sizes(roots)
        splits = {where: read_split(roots[where], "train") for where in NAMES}
        result["pixels_differ"] = differing(splits)
        result["times"] = measure(splits, options.rounds, options.workers)
        result["many_members"] = many_members(Path(name) / "many")
    result["load_average_at_end"] = os.getloadavg()[0]
    write("tar_frames", result)
    show(result["times"])


def make(work: Path, videos: int) -> dict[str, Path]:
    """The same split twice: with a folder of frames, and with an archive of them."""
    roots = {where: work / where for where in NAMES}
    synthesize(
        roots["folder"],
        size=SIZE,
        num_videos={"train": videos},
        num_frames=FRAMES,
        jpeg_quality=85,
        num_objects=(3, 5),
        object_size=(0.2, 0.34),
        camera_shake=1.0,
        pillars=0.3,
        no_target=0.0,
        hidden_truth=[],
        seed=0,
        workers=2,
    )
    source, target = roots["folder"] / "train", roots["tar"] / "train"
    target.mkdir(parents=True)
    for file in ("meta_expressions.json", "mask_dict.json"):
        (target / file).write_bytes((source / file).read_bytes())
    with tarfile.open(target / "JPEGImages.tar", "w") as tar:
        tar.add(source / "JPEGImages", "JPEGImages")
    return roots


def sizes(roots: dict[str, Path]) -> dict:
    """What is read."""
    files = [path.stat().st_size for path in roots["folder"].rglob("*.jpg")]
    return {"frames": len(files), "kb_per_frame": float(np.mean(files)) / 1e3, "size": SIZE}


def differing(splits: dict[str, Split]) -> int:
    """How many frames have other pixels in the archive than in the folder."""
    count = 0
    for one, other in zip(*(splits[where].videos for where in NAMES), strict=True):
        frames = zip(
            splits["folder"].open_frames(one), splits["tar"].open_frames(other), strict=True
        )
        count += sum(not np.array_equal(a, b) for a, b in frames)
    return count


def measure(splits: dict[str, Split], rounds: int, workers: int) -> dict:
    """Seconds per round from the folder and the archive, by what is read."""
    clips = {where: clips_of(splits[where]) for where in NAMES}
    videos = {where: Videos(splits[where]) for where in NAMES}
    paths = {
        where: [
            splits[where].frame_path(video.name, frame)
            for video in splits[where].videos
            for frame in video.frames
        ]
        for where in NAMES
    }
    order = np.random.default_rng(0).permutation(len(paths["tar"])).tolist()
    readings = {
        "frames": lambda where: drain(videos[where], workers),
        "clips": lambda where: drain(clips[where], workers),
        "bytes": lambda where: [paths[where][i].read_bytes() for i in order],
    }
    times: dict = {}
    for name, read in readings.items():
        for cold in (False, True):
            found: dict[str, list[float]] = {where: [] for where in NAMES}
            for r in range(rounds + 1):  # the first is not counted
                for where in NAMES if r % 2 else NAMES[::-1]:
                    if cold:
                        forget(splits[where].folder)
                    begin = time.perf_counter()
                    read(where)
                    if r:
                        found[where].append(time.perf_counter() - begin)
            times[f"{name}, {'cold' if cold else 'cached'}"] = {
                **{where: float(np.median(found[where])) for where in NAMES},
                "ratio": float(np.median(np.divide(found["tar"], found["folder"]))),
                "seconds": found,
            }
    return times


def many_members(folder: Path) -> dict:
    """The first opening of a tar, which reads the headers, and a later one, from the index."""
    path = folder / "JPEGImages.tar"
    folder.mkdir()
    with tarfile.open(path, "w") as tar:
        for v, t in product(range(1662), range(79)):
            member = tarfile.TarInfo(f"JPEGImages/{v:012x}/{t:05d}.jpg")
            member.size = 700
            tar.addfile(member, BytesIO(bytes(member.size)))
    result: dict = {"members": 1662 * 79}
    for name in ("first", "later"):
        archive._open.cache_clear()
        begin = time.perf_counter()
        archive.open_archive(path)
        result[f"{name}_opening_s"] = time.perf_counter() - begin
    result["index_mb"] = (folder / ".rvos_index" / "frames_tar.npz").stat().st_size / 1e6
    return result


def clips_of(split: Split, count: int = 80) -> Dataset:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        settings = compose(overrides=["+data=mevis", "+seed=0", "+paths.data=."]).data
    recipe = instantiate(settings.clip, _convert_="all")
    data = ClipDataset(split, read_truth(split), recipe, seed=0, skip_bad=False)
    order = np.random.default_rng(0).permutation(len(data))[:count].tolist()
    return Subset(data, order)


def drain(data: Dataset, workers: int) -> None:
    for _ in DataLoader(data, batch_size=None, num_workers=workers):
        pass


def forget(folder: Path) -> None:
    """Let the system's cache forget the files of a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def show(times: dict) -> None:
    table = Table("read", *(f"{where}, s" for where in NAMES), "tar / folder")
    for name, row in times.items():
        table.add_row(name, *(f"{row[where]:.2f}" for where in NAMES), f"{row['ratio']:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
