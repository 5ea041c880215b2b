"""What the demo proves, on its own videos or on fresh ones, without any training.

    python demo/demo_proof.py runs/demo/train/mutr.pth --tau 0.3 --data data/demo
    python demo/demo_proof.py runs/demo/train/mutr.pth --tau 0.3 --seeds 101 102 103

For each dataset, on its split `valid`: (1) coarse J&F of sentences that only motion can tell apart,
in sub-clips as trained, with the right sentence and with that of an object of the same look; (2)
J&F of the vote with W = 15 over W = 1 at `--tau`, and of the paper's setting over the coarse masks,
with masklets of optical flow and with perfect ones; (3) identity jumps before and after, and frames
with a mask.
`--tau` is the best of W = 15 on valid_u (`python -m rvos best runs/demo/valid_u --window 15`).
Differences are paired, with intervals over videos (`python -m rvos compare`). A second start goes
on where the first has ended. Needs no network.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from machine import describe, write  # noqa: E402

from rvos import preset  # noqa: E402
from rvos.app.results import of_folder
from rvos.data.synthetic import MOTIONS
from rvos.masks import read_json, write_json
from rvos.refine import Vote
from rvos.report.bootstrap import Interval
from rvos.report.compare import compare
from rvos.report.windows import WindowRow, make_windows
from rvos.score.results import read_results

ENDS = tuple(singular for singular, _ in MOTIONS.values())
PAPER = Vote(window=15, tau=0.8)
PROCESSES = ("trainer.devices=2", "trainer.accelerator=cpu", "coarse.cpu_threads=1")
AS_TRAINED = "coarse.clip_length=5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="mutr.pth of the demo")
    parser.add_argument("--tau", type=float, required=True, help="chosen on valid_u for W = 15")
    parser.add_argument("--data", type=Path, help="the demo's videos")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="of fresh videos")
    parser.add_argument("--videos", type=int, default=30, help="of each seed")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_proof"))
    given = parser.parse_args()
    sets = {"demo": given.data} if given.data else {}
    for seed in given.seeds:
        sets[f"seed {seed}"] = folder = given.out / f"data_{seed}"
        if not (folder / "valid" / "meta_expressions.json").exists():
            counts = f"num_videos={{train: 0, valid_u: 0, valid: {given.videos}}}"
            more = counts, f"seed={seed}", "hidden_truth=[]"
            run("-m", "rvos", "data", "synthesize", f"out={folder}", *more)
    found = {
        name: proof(data, given.checkpoint, given.tau, given.out / name.replace(" ", "_"))
        for name, data in sets.items()
    }
    write("demo_proof", describe(["torch"]) | {"tau": given.tau, "datasets": found})
    show(found)


def proof(data: Path, checkpoint: Path, tau: float, runs: Path) -> dict:
    """All numbers of one dataset, scores and differences in points."""

    def evaluated(name: str, *settings: str) -> Path:
        folder = runs / name
        run(  # what is done already is not done again; with other settings it is refused
            *("eval.py", "data=synthetic", f"data.root={data}", "data.split=valid"),
            *("name=demo_proof", "report=none", f"output_dir={folder}", "model=mutr_tiny"),
            *("model.num_queries=1", "coarse=mutr_tiny", "coarse.short_side=96"),
            *("coarse.clip_length=3", f"coarse.checkpoint={checkpoint}", *PROCESSES, *settings),
        )
        return folder

    metas = look_alikes(data / "valid")
    right, wrong = (
        evaluated(name, "refine=none", f"data.meta={path.name}", AS_TRAINED)
        for name, path in metas.items()
    )
    result = {"right over look-alike": difference(wrong, right)}
    cells = "ablation.windows=[1,15]", f"ablation.taus={sorted({tau, PAPER.tau})}"
    for masklets in ("flow", "oracle"):
        run_folder = evaluated(masklets, f"masklets={masklets}", f"refine.tau={tau}", *cells)
        metrics = read_json(run_folder / "metrics.json")
        before, after = metrics["coarse"]["identity"], metrics["identity"]
        result[masklets] = over_others(run_folder, tau) | {
            "jumps": {"before": before, "after": after}
        }
    return result


def look_alikes(split: Path) -> dict[str, Path]:
    """Two files in the split's folder of expressions that name one object by motion: its own, and
    its twin's.

    A twin has the same shape and colour. The ground truth is that of the object in both.
    """
    meta = json.loads((split / "meta_expressions.json").read_text())["videos"]
    objects = json.loads((split / "objects.json").read_text())
    right, wrong = {}, {}
    for video, content in meta.items():
        own = {}
        for key, expression in content["expressions"].items():
            if len(expression["anno_id"]) == 1 and expression["exp"].endswith(ENDS):
                own.setdefault(str(expression["anno_id"][0]), key)
        look = {i: (o["category"], o["color"]) for i, o in objects[video].items()}
        pairs = [(i, j) for i in own for j in own if i != j and look[i] == look[j]]
        twins = dict(reversed(pairs))  # the first twin of each
        if twins:
            mine = {own[i]: content["expressions"][own[i]] for i in own if i in twins}
            theirs = {
                own[i]: content["expressions"][own[i]]
                | {"exp": content["expressions"][own[j]]["exp"]}
                for i, j in twins.items()
            }
            right[video] = content | {"expressions": mine}
            wrong[video] = content | {"expressions": {key: theirs[key] for key in mine}}
    paths = {name: split / f"expressions_{name}.json" for name in ("right", "look-alike")}
    for path, videos in zip(paths.values(), (right, wrong), strict=True):
        write_json(path, {"videos": videos})
    return paths


def difference(a: Path, b: Path) -> dict:
    """J&F of two runs in percent, and B - A with its interval."""
    settings = {key: preset("report", "none")[key] for key in ("resamples", "confidence", "seed")}
    before, after, change = compare(a, b, **settings).scores["J&F"]
    return in_points(before, after, (change.mean, change.low, change.high))


def over_others(run_folder: Path, tau: float) -> dict:
    """W = 15 over W = 1 and over the coarse masks at `tau`, the paper's cell over the coarse."""
    todo, split, _ = of_folder(run_folder)
    results = read_results(run_folder, [video.name for video in split.videos])

    def at(tau: float) -> WindowRow:
        rows = make_windows(
            results, todo.rules, todo.tables["ablation"][1:], tau, **todo.page.bootstrap
        )
        return next(row for row in rows if row.window == PAPER.window)

    vote, paper = at(tau), at(PAPER.tau)
    return {
        "W 15 over W 1": over(vote, vote.over_shortest),
        "W 15 over coarse": over(vote, vote.over_coarse),
        "paper over coarse": over(paper, paper.over_coarse),
    }


def over(row: WindowRow, change: Interval) -> dict:
    ends = change.mean, change.low, change.high
    return in_points(row.JF - change.mean, row.JF, ends)


def in_points(before: float, after: float, change: Sequence[float]) -> dict:
    interval = [round(100 * value, 2) for value in change]
    return {"A": round(100 * before, 2), "B": round(100 * after, 2), "B - A": interval}


def show(found: dict) -> None:
    table = Table("", "A", "B", "B - A, 95 % interval", title="J&F, percent")
    for name, result in found.items():
        rows = {"right (B), look-alike (A)": result["right over look-alike"]}
        for masklets in ("flow", "oracle"):
            rows |= {f"{masklets}: {k}": v for k, v in result[masklets].items() if k != "jumps"}
        for label, row in rows.items():
            text = "{:+.2f}  {:+.2f} .. {:+.2f}".format(*row["B - A"])
            table.add_row(f"{name}: {label}", f"{row['A']:.2f}", f"{row['B']:.2f}", text)
        for masklets in ("flow", "oracle"):
            jumps = result[masklets]["jumps"]
            cells = (f"{j['jumps']} of {j['pairs']}" for j in (jumps["before"], jumps["after"]))
            frames = jumps["after"]["non_empty_frames"] / jumps["before"]["non_empty_frames"]
            table.add_row(
                f"{name}: {masklets}: jumps", *cells, f"frames with a mask x {frames:.3f}"
            )
    Console().print(table)


def run(*arguments: str) -> None:
    """Run Python; what it prints is shown only if it fails."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-4000:])


if __name__ == "__main__":
    main()
