"""The whole method on synthetic videos: fine-tune, segment, track, refine, score.

It needs no GPU and downloads nothing. Each step is a command that you can type yourself; it is
printed before it runs. If you start again, only what is missing is made.
"""

import argparse
import os
import shlex
import subprocess
import sys
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rvos.errors import InputError
from rvos.report.best import best_overrides
from rvos.report.console import range_of, signed
from rvos.report.metrics import Metrics

MODEL = (
    *("model=mutr_tiny", "model.num_queries=1", "coarse=mutr_tiny"),
    *("coarse.short_side=96", "coarse.clip_length=3"),
)
VIDEOS = ("num_videos.train=60", "num_videos.valid_u=10", "num_videos.valid=20")
# Two processes of one thread are twice as fast for so small a model as one of two.
PROCESSES = ("trainer.devices=2", "trainer.accelerator=cpu", "coarse.cpu_threads=1")
# valid keeps its masks: it is scored.
WITH_TRUTH = "hidden_truth=[]"
QUICK_VIDEO = ("num_videos.train=0", "num_videos.valid_u=1", "num_videos.valid=0", "seed=11")


def run(*arguments: str) -> None:
    """Print a command of rvos and run it in a process of its own. Raises InputError if it fails."""
    print("$ rvos", shlex.join(arguments), flush=True)
    # Two threads: the sums of the training depend on their number in the last digits.
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    status = subprocess.run([sys.executable, "-m", "rvos", *arguments], env=environment).returncode
    if status:
        raise InputError(f"rvos {arguments[0]} ended with exit status {status}; it says why above")


def is_finished(folder: Path) -> bool:
    """Whether a run's folder has the file that a run writes last."""
    return (folder / "metrics.json").exists()


def evaluate(data: Path, split: str, folder: Path, *settings: str) -> None:
    """Segment, track, refine and score a split, where that is not done yet."""
    if not is_finished(folder):
        where = ("data=synthetic", f"data.root={data}", f"data.split={split}", "name=demo")
        run("eval", *where, *MODEL, f"output_dir={folder}", *settings)


def whole(data: Path, runs: Path, synthesize: Sequence[str], train: Sequence[str]) -> Path:
    """Make all of the demo; returns the folder of its last run."""
    # 1. Videos of moving shapes, with sentences and masks.
    if not (data / "valid" / "meta_expressions.json").exists():
        run("data", "synthesize", f"out={data}", *VIDEOS, *synthesize, WITH_TRUTH)

    # 2. Fine-tuning, a fixed number of steps from the checkpoint that comes with rvos.
    trained = runs / "train"
    if not is_finished(trained):
        stopped = (trained / "checkpoints" / "last.ckpt").exists()
        settings = ["experiment=demo", f"data.root={data}", f"output_dir={trained}", *train]
        run("train", *settings, *["ckpt_path=last"] * stopped)

    # 3. The W x tau grid on valid_u, where tau is chosen for the paper's window.
    network = (f"coarse.checkpoint={trained / 'mutr.pth'}", *PROCESSES)
    evaluate(data, "valid_u", runs / "valid_u", *network, "masklets=flow", "ablation=grid")
    best = best_overrides(runs / "valid_u", 15)
    chosen = (*network, *best, "ablation=grid")

    # 4. On valid: perfect masklets, which show what the vote can give, then those of optical flow.
    oracle, refined = runs / "oracle", runs / "refined"
    evaluate(data, "valid", oracle, "masklets=oracle", *chosen)
    evaluate(data, "valid", refined, "masklets=flow", *chosen, f"report.oracle={oracle}")
    print("chosen on valid_u:", *best)
    print(f"J&F in percent on the {len(Metrics.read(refined).videos)} held-out videos:")
    for masklets, folder in (("optical flow", refined), ("perfect masklets", oracle)):
        print(f"  {masklets}: {in_words(Metrics.read(folder))}")
    return refined


def in_words(metrics: Metrics) -> str:
    """The scores of a run with a grid, as README's table has them."""
    JF = (100 * masks.summary.JF for masks in (metrics.coarse, metrics.refined))
    jumps = (masks.jumps.per_100_pairs for masks in (metrics.coarse, metrics.refined))
    text = "coarse {:.2f}, refined {:.2f}".format(*JF)
    window = metrics.refine["window"]
    chosen = next((row for row in metrics.windows if row.window == window), None)
    if chosen is not None:
        shortest = metrics.windows[0].window
        alone = "each frame alone" if shortest == 1 else f"windows of {shortest}"
        text += f"; windows of {window} frames"
        for change, other in (
            (chosen.over_coarse, "the coarse masks"),
            (chosen.over_shortest, alone),
        ):
            text += f" {signed(change.mean)} ({range_of(change)}) over {other},"
        text = text.removesuffix(",")
    return text + "; jumps to another object {:.2f} -> {:.2f} per 100 pairs of frames".format(
        *jumps
    )


def quick(data: Path, runs: Path) -> Path:
    """Segment and refine one synthetic video with the weights that come with rvos."""
    if not (data / "valid_u" / "meta_expressions.json").exists():
        run("data", "synthesize", f"out={data}", *QUICK_VIDEO)
    settings = ("masklets=flow", "refine.window=15", "refine.tau=0.6", "coarse.cpu_threads=2")
    evaluate(data, "valid_u", runs, *settings)
    return runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the demo; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="rvos demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="one video, no training: within a minute"
    )
    parser.add_argument("--data", type=Path, help="folder of the videos (data/demo[_quick])")
    parser.add_argument("--runs", type=Path, help="folder of the results (runs/demo[_quick])")
    parser.add_argument("--synthesize", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--train", nargs="+", default=[], metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    name = "demo_quick" if given.quick else "demo"
    data, runs = given.data or Path("data") / name, given.runs or Path("runs") / name
    if find_spec("torch") is None:
        raise InputError("the demo runs networks: pip install 'rvos[models]'")
    made = quick(data, runs) if given.quick else whole(data, runs, given.synthesize, given.train)
    page = (made / "report" / "index.html").resolve()
    print("report:", page)
    if given.quick and sys.stdout.isatty() and os.environ.get("DISPLAY"):
        webbrowser.open(page.as_uri())
    return 0
