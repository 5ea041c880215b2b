"""Scores of every protocol beside the official code, on made-up data in the official layouts.

    python benchmarks/protocols.py --davis CHECKOUT --long-rvos CHECKOUT --visa CHECKOUT

CHECKOUT: davisvideochallenge/davis2017-evaluation, iSEE-Laboratory/Long_RVOS, cilinyan/VISA. Their
scripts need scikit-image, scipy, pandas, tqdm and termcolor. Objects overlap, come and go, answers
are shifted, swapped and empty; pictures of DAVIS have pixels of label 255 and objects that come
after the first frame. VISA's script is also run without its rounding of single scores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY)]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from machine import describe, write  # noqa: E402
from PIL import Image  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from rvos.masks import encode, read_json, write_json  # noqa: E402

HEIGHT, WIDTH = 60, 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("davis", "long-rvos", "visa"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="made-up datasets per protocol")
    given = parser.parse_args()
    described = describe(["numpy", "opencv-python-headless", "pycocotools", "scipy"])
    rows: dict[str, float] = {}  # largest absolute difference, 0..1
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.seeds):
            for name, found in (
                ("davis17", davis(Path(folder) / f"davis{seed}", given.davis, seed)),
                ("long_rvos", long_rvos(Path(folder) / f"long{seed}", given.long_rvos, seed)),
                ("revos", revos(Path(folder) / f"revos{seed}", given.visa, seed, rounded=True)),
                (
                    "revos without VISA's rounding",
                    revos(Path(folder) / f"exact{seed}", given.visa, seed, rounded=False),
                ),
            ):
                rows[name] = max(rows.get(name, 0.0), *map(abs, found))
    table = Table("protocol", "largest difference from the official code (0..1)")
    for name, value in rows.items():
        table.add_row(name, f"{value:.1e}")
    Console().print(table)
    write("protocols", {**described, "seeds": given.seeds, "largest_difference": rows})


class Made:
    """Boxes that move: object `k` of video `v` in frame `t`."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.seed = seed

    def box(self, video: int, k: int, t: int) -> np.ndarray:
        """(H, W) uint8 of 0 and 1."""
        rng = np.random.default_rng([self.seed, video, k])
        y, x = rng.integers(0, HEIGHT - 20), rng.integers(0, WIDTH - 20)
        h, w = rng.integers(6, 20, 2)
        y, x = max(0, y + t * rng.integers(-2, 3)), max(0, x + t * rng.integers(-2, 3))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[y : y + h, x : x + w] = 1
        return mask

    def answer(self, video: int, k: int, t: int) -> np.ndarray:
        """The object a frame off, or nothing."""
        late = int(self.rng.integers(-1, 2))
        return self.box(video, k, max(t + late, 0)) * np.uint8(self.rng.random() > 0.2)


def rle(mask: np.ndarray) -> Any:
    return encode(mask) if mask.any() else None


def ours(data: str, root: Path, answers: Path) -> dict[str, Any]:
    """metrics.json of eval.py on given masks."""
    out = answers.parent / "out"
    command = [sys.executable, "eval.py", f"data={data}", f"data.root={root}", "coarse=files"]
    command += [f"coarse.path={answers}", "refine=none", "report=none", f"output_dir={out}"]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return read_json(out / "metrics.json")


def run(script: Path, *arguments: str | Path, cwd: Path) -> str:
    """What an official script prints."""
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


# ----------------------------------------------------------------------------------------- DAVIS

ONE_ANNOTATOR = """
import json, sys
import numpy as np
from davis2017.evaluation import DAVISEvaluation
found = DAVISEvaluation(sys.argv[1], "unsupervised", "val").evaluate(sys.argv[2])
print(json.dumps([float(np.mean(found[m]["M"])) for m in "JF"]))
"""


def davis(root: Path, checkout: Path, seed: int) -> list[float]:
    """Differences of J and F, of each annotator and of their mean."""
    made, meta, answers = Made(seed), {}, {}
    original = root / "DAVIS"
    for v, name in enumerate(("a", "b", "c")):
        num_first, num_late = (int(n) for n in made.rng.integers((1, 0), (4, 2)))
        num, frames = num_first + num_late, [f"{t:05d}" for t in range(3 + v)]
        for t, frame in enumerate(frames):
            labels = np.zeros((HEIGHT, WIDTH), np.uint8)
            for k in range(num_first if t == 0 else num):
                labels[made.box(v, k, t) > 0] = k + 1
            labels[(made.box(v, 9, t) > 0) & (made.rng.random(labels.shape) < 0.7)] = 255
            for folder in (
                root / "ours/valid/Annotations",
                original / "Annotations_unsupervised/480p",
            ):
                (folder / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(labels).save(folder / name / f"{frame}.png")
            images = original / "JPEGImages/480p" / name
            images.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT)).save(images / f"{frame}.jpg")
        expressions = {str(i): {"exp": "x", "obj_id": str(i // 4 + 1)} for i in range(4 * num)}
        meta[name] = {"frames": frames, "expressions": expressions}
        answers[name] = {}
        for annotator in range(4):
            swapped = made.rng.permutation(num)
            tracks = [[made.answer(v, k, t) for t in range(len(frames))] for k in swapped]
            if annotator == 0:
                tracks[-1] = [0 * mask for mask in tracks[-1]]  # nothing said of the last object
            for k, track in enumerate(tracks):
                answers[name][str(4 * k + annotator)] = [rle(mask) for mask in track]
            folder = root / f"annotator{annotator}" / name
            folder.mkdir(parents=True)
            for t, frame in enumerate(frames):
                layers = [np.full((HEIGHT, WIDTH), 0.1), *(track[t] for track in tracks)]
                picture = np.argmax(layers, axis=0).astype(np.uint8)
                Image.fromarray(picture).save(folder / f"{frame}.png")
    (original / "ImageSets/2017").mkdir(parents=True)
    (original / "ImageSets/2017/val.txt").write_text("a\nb\nc\n")
    write_json(root / "ours/meta_expressions/valid/meta_expressions.json", {"videos": meta})
    write_json(root / "answers.json", answers)
    (root / "one.py").write_text(
        f"import sys; sys.path.insert(0, {str(checkout)!r})\n{ONE_ANNOTATOR}"
    )
    theirs = [
        json.loads(run(root / "one.py", original, root / f"annotator{a}", cwd=root))
        for a in range(4)
    ]
    found = ours("ref_davis", root / "ours", root / "answers.json")
    pairs = [
        (one["J"] - j, one["F"] - f)
        for one, (j, f) in zip(found["annotators"], theirs, strict=True)
    ]
    means = np.mean(theirs, axis=0)
    return [*np.ravel(pairs), found["J"] - means[0], found["F"] - means[1]]


# ------------------------------------------------------------------------------------- Long-RVOS


def long_rvos(root: Path, checkout: Path, seed: int) -> list[float]:
    """Differences of all scores, by type and overall."""
    made, meta, answers = Made(seed), {}, {}
    split = root / "data/long_rvos/valid"
    types = ("static", "dynamic", "static+dynamic")
    for v, name in enumerate(("a", "b", "c")):
        frames = [f"{6 * t:05d}" for t in range(3 + v)]
        for k in (0, 1):
            for t, frame in enumerate(frames):
                path = split / "Annotations" / name / str(k) / f"{frame}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                if t == 0 or made.rng.random() < 0.7:  # no file where it does not show
                    cv2.imwrite(str(path), 255 * made.box(v, k, t))
        expressions = {
            str(e): {"exp": "x", "obj_id": int(made.rng.integers(2)), "type": types[e % 3]}
            for e in range(5)
        }
        meta[name] = {"frames": frames, "expressions": expressions}
        answers[name] = {}
        for key in expressions:
            track = [made.answer(v, int(made.rng.integers(2)), t) for t in range(len(frames))]
            answers[name][key] = [rle(mask) for mask in track]
            write_pngs(root / "masks/Annotations" / name / key, frames, track, 255)
    write_json(split / "meta_expressions.json", {"videos": meta})
    write_json(root / "answers.json", answers)
    found = ours("long_rvos", root / "data/long_rvos", root / "answers.json")
    differences = []
    for kind in ("static", "dynamic", "hybrid", "overall"):
        script = f"eval/eval_long_rvos/eval_{kind}.py"
        scores = found["slices"].get(kind, found)
        printed = run_queue(checkout, script, root, "--pred_path", root / "masks/Annotations")
        lines = dict(line.split(": ") for line in printed.splitlines() if ": " in line)
        keys = ("J", "F", "J&F", "tIoU", "vIoU")
        differences += [scores[key] - float(lines[key]) for key in keys]
    return differences


def run_queue(checkout: Path, script: str, root: Path, *arguments: str | Path) -> str:
    """Run a copy of a script whose workers take an empty queue for a finished one.

    The copy waits for a second, so that its queue is filled before they look.
    """
    folder = root / "script"
    folder.mkdir(exist_ok=True)
    text = (checkout / script).read_text()
    (folder / "script.py").write_text(text.replace("start_time", "time.sleep(1); start_time", 1))
    metrics = (checkout / script).with_name("metrics.py")
    (folder / "metrics.py").write_bytes(metrics.read_bytes())
    return run(folder / "script.py", *arguments, cwd=root)


def write_pngs(folder: Path, frames: list[str], track: list[np.ndarray], foreground: int) -> None:
    folder.mkdir(parents=True)
    for frame, mask in zip(frames, track, strict=True):
        cv2.imwrite(str(folder / f"{frame}.png"), mask * np.uint8(foreground))


# ----------------------------------------------------------------------------------------- ReVOS


def revos(root: Path, checkout: Path, seed: int, *, rounded: bool) -> list[float]:
    """Differences of J, F and R, of the two types and overall."""
    made, meta, answers, masks, foreground = Made(seed), {}, {}, {}, {}
    for v, name in enumerate(("UVO/all/a", "UVO/all/b", "c")):
        frames = [f"{t:05d}" for t in range(3 + v)]
        first = [made.box(v, 0, t) for t in range(len(frames))]
        second = [made.box(v, 1, t) * (1 - mask) for t, mask in enumerate(first)]
        ids = [2 * v, 2 * v + 1]
        masks |= {
            str(i): [rle(m) for m in track] for i, track in zip(ids, (first, second), strict=True)
        }
        both = [[encode(a), encode(b)] for a, b in zip(first, second, strict=True)]
        foreground[name] = {"masks_rle": both}
        targets = [ids[:1], ids[1:], [], ids, ids[:1]]
        expressions = {
            str(e): {"exp": "x", "anno_id": target, "type_id": type_id}
            for e, (target, type_id) in enumerate(zip(targets, (0, 1, 2, 0, 1), strict=True))
        }
        meta[name] = {"frames": frames, "expressions": expressions}
        answers[name] = {}
        for key in expressions:
            track = [made.answer(v, int(made.rng.integers(2)), t) for t in range(len(frames))]
            answers[name][key] = [rle(mask) for mask in track]
            write_pngs(root / "masks/Annotations" / name / key, frames, track, 1)
    data = root / "data"
    names = ("meta_expressions_valid_", "mask_dict", "mask_dict_foreground")
    for name, content in zip(names, ({"videos": meta}, masks, foreground), strict=True):
        write_json(data / f"{name}.json", content)
    write_json(root / "answers.json", answers)
    found = ours("revos", data, root / "answers.json")
    script = checkout
    if not rounded:
        script = root / "copy"
        (script / "tools").mkdir(parents=True)
        for name in ("eval_revos.py", "metrics.py"):
            text = (checkout / "tools" / name).read_text()
            (script / "tools" / name).write_text(
                text.replace("round(100 * ", "(lambda x, _: x)(100 * ")
            )
    files = ("--visa_exp_path", "--visa_mask_path", "--visa_foreground_mask_path")
    paths = [
        x for flag, name in zip(files, names, strict=True) for x in (flag, data / f"{name}.json")
    ]
    run_queue(script, "tools/eval_revos.py", root, root / "masks/Annotations", *paths)
    theirs = read_json(root / "masks/revos_valid.json")
    ours_of = {**found["slices"], "overall": found}
    kinds = {"referring": "referring", "reasoning": "reason", "overall": "overall"}
    return [
        ours_of[kind][key] - theirs[name][key] / 100
        for kind, name in kinds.items()
        for key in ("J", "F", "R")
    ]


if __name__ == "__main__":
    main()
