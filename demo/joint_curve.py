"""Pictures and clips together beside clips alone: the demo's model, equally many frames seen.

    python demo/joint_curve.py [--steps 400] [--out runs/joint_curve]

Both from scratch on the same few synthetic videos; one of them sees as many clips made from 400
pictures with sentences of their own. The joint run is killed once in the middle and resumed. Writes
the curves to results/joint_curve.json and OUT/joint_curve.png. A second start goes on.
"""

import argparse
import csv
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(ROOT), str(ROOT / "tests/support"), str(ROOT / "benchmarks")]

from machine import describe, write  # noqa: E402
from made_data import small_synthetic  # noqa: E402
from made_refcoco import pictures_of  # noqa: E402

FRAMES, CLIPS = 3, 8  # of a clip, of a step
EVERY = 50  # steps between two validations
SETTINGS = [
    *("experiment=demo", "model.weights=null", "validation.at_start=false", "trainer.precision=32"),
    *(f"data.clip.num_frames={FRAMES}", f"data.batch_size={CLIPS}"),
    *(f"data.global_batch_size={CLIPS}", "data.val_clips=48", "score.max_videos=8"),
    *("data.clip.resizing.short_sides=[64]", "data.clip.resizing.max_long_side=96"),
    *("data.clip.plain_short_side=64", "coarse.short_side=64", "loss.mask=6", "loss.dice=15"),
    *("optim.lr=1e-3", "optim.lr_backbone=1e-3", "optim.lr_text_encoder=1e-3"),
    *("optim.lr_linear_proj=1e-3", f"trainer.val_check_interval={EVERY}"),
    *("callbacks.last.every_n_steps=25", "trainer.log_every_n_steps=25"),
]
SOURCE = "{_target_:rvos.train.joint.Source,format:%s,root:%s,split:train,meta:null,weight:1}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("runs/joint_curve"))
    given = parser.parse_args()
    out = given.out.absolute()
    result = describe(["torch", "pytorch-lightning"])
    videos, pictures = data(out)
    sources = f"clips:{SOURCE % ('mevis', videos)},pictures:{SOURCE % ('refcoco', pictures)}"
    joint = [f"data.sources={{{sources}}}", "data.train_split=null"]
    curves = {}
    for name, more in {"clips alone": [], "pictures and clips": joint}.items():
        folder = out / name.replace(" ", "_")
        command = [sys.executable, "train.py", *SETTINGS, *more, f"data.root={videos}"]
        command += [f"trainer.max_steps={given.steps}", f"output_dir={folder}"]
        if more and not (folder / "checkpoints/last.ckpt").exists():
            kill_in_the_middle(command, folder, given.steps // 2)
        again = ["ckpt_path=last"] if (folder / "checkpoints/last.ckpt").exists() else []
        subprocess.run([*command, *again], cwd=ROOT, check=True)  # none of a finished run
        curves[name] = curve(folder)
    draw(curves, out / "joint_curve.png")
    frames = given.steps * CLIPS * FRAMES
    write("joint_curve", result | {"steps": given.steps, "frames_seen": frames, "J&F": curves})


def data(out: Path) -> tuple[Path, Path]:
    """The folders of the videos and of the pictures; 40 videos, 400 pictures, 8 to validate."""
    videos, pictures = out / "data", out / "pictures" / "refcoco"
    if not (videos / "valid_u").exists():
        counts = {"train": 40, "valid_u": 8, "valid": 0}
        small_synthetic(videos, num_videos=counts, num_frames=20, seed=1)
    if not pictures.exists():
        counts = {"train": 400, "valid_u": 0, "valid": 0}
        small_synthetic(out / "single", num_videos=counts, num_frames=2, seed=2)
        pictures_of(out / "single" / "train", out / "pictures")
    return videos, pictures


def kill_in_the_middle(command: list[str], folder: Path, step: int) -> None:
    process = subprocess.Popen(command, cwd=ROOT)
    while max(steps_of(folder), default=0) < step:
        if process.poll() is not None:
            sys.exit(f"{folder}: the training ended before step {step}")
        time.sleep(0.5)
    process.kill()
    process.wait()
    print(f"killed after step {step}; now resumed", flush=True)


def rows_of(folder: Path) -> list[dict[str, str]]:
    files = sorted(folder.glob("csv/version_*/metrics.csv"))
    return [row for path in files for row in csv.DictReader(path.open())]


def steps_of(folder: Path) -> list[int]:
    return [int(row["step"]) + 1 for row in rows_of(folder)]


def curve(folder: Path) -> dict[int, float]:
    """{step: J&F of eight videos, percent}; of a step that was taken twice, the later."""
    return {
        int(row["step"]) + 1: round(100 * float(row["val/JF"]), 2)
        for row in rows_of(folder)
        if row.get("val/JF")
    }


def draw(curves: dict[str, dict[int, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(figsize=(6, 3.5))
    for (name, points), style in zip(curves.items(), ("o-", "s--"), strict=True):
        axes.plot([s * CLIPS * FRAMES for s in points], list(points.values()), style, label=name)
    axes.set(xlabel="frames seen", ylabel="J&F on 8 videos of valid_u, percent")
    axes.grid(alpha=0.3)
    axes.legend()
    plt.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
