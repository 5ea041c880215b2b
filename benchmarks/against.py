"""Programs of this checkout beside those of an older one: starts, one's own video, a large run.

    git clone . ../old && git -C ../old checkout 48d9e82
    python benchmarks/against.py --old ../old

Times are read from the clock, one program at a time: `--help` (median of three starts), predict.py
with the demo's model on 289 frames of 720p and on the same folder again (then it only draws), and
eval.py with its page for 793 expressions of 80 frames, 63 cells (`page.py` makes their masks). The
old predict.py has another model, so only drawing compares. Writes results/against.json.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe, write
from page import write_data

from rvos.data.frames import FrameFolder
from rvos.data.synthetic import synthesize
from rvos.masks import write_video

HERE = Path(__file__).resolve().parents[1]
SENTENCE = "the object moving left"
HELP = {
    "train.py": ["train.py"],
    "eval.py": ["eval.py"],
    "predict.py": ["predict.py"],
    "doctor": ["-m", "rvos", "doctor"],
    "compare": ["-m", "rvos", "compare"],
}
OLD_HELP = {"doctor": ["-m", "rvos.doctor"], "compare": ["-m", "rvos.report.compare"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", type=Path, required=True, help="a checkout of an older commit")
    parser.add_argument("--frames", type=int, default=289, help="of the video")
    parser.add_argument("--videos", type=int, default=140, help="of the large run")
    parser.add_argument("--expressions", type=int, default=793, help="of the large run")
    given = parser.parse_args()
    result = describe(["torch", "pytorch_lightning"])
    old = subprocess.check_output(
        ["git", "-C", str(given.old), "rev-parse", "--short", "HEAD"], text=True
    ).strip()
    trees = {"old": given.old.resolve(), "new": HERE}
    rows = {name: {} for name in HELP}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        for name in HELP:
            for side, tree in trees.items():
                command = OLD_HELP.get(name, HELP[name]) if side == "old" else HELP[name]
                times = [seconds(tree, [*command, "--help"]) for _ in range(3)]
                rows[name][side] = round(statistics.median(times), 2)
            print(name, rows[name], flush=True)
        video = write_clip(made, given.frames)
        write_data(made / "large", given.videos, given.expressions, 80)
        for side, tree in trees.items():
            out = made / side
            predict = ["predict.py", f"video={video}", f"expression={SENTENCE}"]
            predict += [f"output_dir={out / 'own'}"]
            predict += ["experiment=shapes"] * (side == "new")
            large = ["eval.py", f"data.root={made / 'large'}", "data.split=made", "name=large"]
            large += ["coarse=files", f"coarse.path={made / 'large/coarse'}", "masklets=files"]
            large += [f"masklets.path={made / 'large/masklets'}", "ablation=grid"]
            large += [f"masklets.nouns={made / 'large/nouns.json'}", f"output_dir={out / 'large'}"]
            for name, command in {
                "predict.py": predict,
                "predict.py, again": predict,
                "eval.py, grid and page": large,
            }.items():
                rows.setdefault(f"{name}: run", {})[side] = round(seconds(tree, command), 1)
                print(name, side, rows[f"{name}: run"][side], flush=True)
    write(
        "against",
        result | {"old": old, "seconds": rows, "load_average_at_end": os.getloadavg()[0]},
    )


def seconds(tree: Path, command: list[str]) -> float:
    """What a program of a checkout takes."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (tree, command, done.stderr[-2000:])
    return time.perf_counter() - start


def write_clip(folder: Path, frames: int) -> Path:
    """A synthetic video of 720p."""
    synthesize(
        folder / "shapes",
        num_videos={"train": 0, "valid_u": 1, "valid": 0},
        num_frames=frames,
        size=(720, 1280),
        num_objects=(3, 3),
        jpeg_quality=90,
        seed=5,
        hidden_truth=[],
        workers=1,
        object_size=(0.2, 0.3),
        camera_shake=3.0,
        pillars=0.0,
        no_target=0.0,
    )
    (pictures,) = (folder / "shapes/valid_u/JPEGImages").iterdir()
    path = folder / "clip.mp4"
    write_video(path, FrameFolder(pictures), 25)
    return path


if __name__ == "__main__":
    main()
