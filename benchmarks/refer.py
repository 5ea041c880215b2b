"""MeViS, Ref-DAVIS17, Long-RVOS and ReVOS made up, for `protocols.py`: rvos beside each script.

Objects overlap, come and go, answers are shifted, swapped and empty; pictures of DAVIS have pixels
of label 255 and objects that come after the first frame.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from made import (
    EACH,
    HEIGHT,
    STRICT,
    VIDEOS,
    WIDTH,
    Beside,
    Made,
    effect,
    evaluate,
    fitting,
    official,
    results_of,
    rle,
    run,
    score,
    tracks_of,
    write_pngs,
)
from PIL import Image

from rvos.masks import encode, read_json, write_json

# ----------------------------------------------------------------------------------------- MeViS


def mevis(root: Path, checkout: Path, seed: int) -> Beside:
    """MeViS, tools/eval_mevis.py, expression by expression."""
    made = Made(seed)
    meta, masks, answers = {}, {}, {}
    for v in range(VIDEOS):
        name, frames = f"video{v}", [f"{t:05d}" for t in range(3 + v % 4)]
        ids = [2 * v, 2 * v + 1]
        for k, i in enumerate(ids):  # the second is always there
            shown = [made.box(v, k, t) * np.uint8(k or t % 3) for t in range(len(frames))]
            masks[str(i)] = [rle(mask) for mask in shown]
        targets = [ids[:1], ids[1:], [], ids, ids[1:]]
        meta[name] = {
            "frames": frames,
            "expressions": {
                str(e): {"exp": "x", "anno_id": target} for e, target in enumerate(targets)
            },
        }
        answers[name] = {} if v % 20 == 2 else tracks_of(made, v, len(frames))
        for key, track in answers[name].items():
            write_pngs(root / "masks" / name / key, frames, track, 255)
    write_json(root / "valid_u/meta_expressions.json", {"videos": meta})
    write_json(root / "valid_u/mask_dict.json", masks)
    write_json(root / "fitting.json", fitting(answers))
    arguments = ("--mevis_exp_path", root / "valid_u/meta_expressions.json", "--mevis_mask_path")
    arguments += (root / "valid_u/mask_dict.json", "--mevis_pred_path", root / "masks")
    official(checkout, "tools/eval_mevis.py", root, *arguments, "--save_name", "out.json")
    theirs = read_json(root / "out.json")
    truth, masks = root / "valid_u", root / "fitting.json"
    ours = score("mevis", truth, masks, "--protocol", "expressions:strict", *STRICT)
    paper = score("mevis", truth, masks, "--missing", "empty")
    return beside(ours, paper, theirs, ("J", "F"))


def beside(
    ours: dict[str, Any],
    paper: dict[str, Any],
    theirs: dict[str, list[float]],
    measures: tuple[str, ...],
) -> Beside:
    """Each expression and the mean. Where one of both leaves out others, the difference is 1."""
    found = {f"{unit['video']}_{unit['name']}": unit for unit in ours["per_name"]}
    differences = [float(found.keys() != theirs.keys())]
    for key in found.keys() & theirs.keys():
        pairs = zip(measures, theirs[key], strict=True)
        differences += [found[key][measure] - value for measure, value in pairs]
    means = np.mean(list(theirs.values()), axis=0)
    differences += [ours[m] - x for m, x in zip(measures, means, strict=True)]
    effects = {"missing videos are 0, missing expressions left out": effect(ours, paper)}
    return Beside(VIDEOS * EACH, differences, effects)


# ----------------------------------------------------------------------------------------- DAVIS

ONE_ANNOTATOR = """
import json, sys
import numpy as np
from davis2017.evaluation import DAVISEvaluation
found = DAVISEvaluation(sys.argv[1], "unsupervised", "val").evaluate(sys.argv[2])
print(json.dumps([float(np.mean(found[m]["M"])) for m in "JF"]))
"""


def davis(root: Path, checkout: Path, seed: int) -> Beside:
    """davis2017-evaluation, task unsupervised: each annotator and their mean."""
    made, meta, answers, count = Made(seed), {}, {}, 0
    original = root / "DAVIS"
    names = [f"video{v:02d}" for v in range(VIDEOS // 2)]
    for v, name in enumerate(names):
        num_first, num_late = (int(n) for n in made.rng.integers((1, 0), (4, 2)))
        num, frames = num_first + num_late, [f"{t:05d}" for t in range(3 + v % 4)]
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
        count += len(expressions)
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
    (original / "ImageSets/2017/val.txt").write_text("\n".join(names))
    write_json(root / "ours/meta_expressions/valid/meta_expressions.json", {"videos": meta})
    write_json(root / "answers.json", answers)
    (root / "one.py").write_text(ONE_ANNOTATOR)
    theirs = [
        json.loads(
            run(root / "one.py", original, root / f"annotator{a}", cwd=root, path=[checkout])
        )
        for a in range(4)
    ]
    found = evaluate("ref_davis", root / "ours", root / "answers.json")
    pairs = [
        (one["J"] - j, one["F"] - f)
        for one, (j, f) in zip(found["annotators"], theirs, strict=True)
    ]
    means = np.mean(theirs, axis=0)
    differences = [*np.ravel(pairs).tolist(), found["J"] - means[0], found["F"] - means[1]]
    plain = sum(found["expressions"][key] for key in "JF") / 2
    return Beside(count, differences, {"matching": round(100 * (found["J&F"] - plain), 2)})


# ------------------------------------------------------------------------------------- Long-RVOS

IGNORED = "71fb69bbcd"  # VideoSEG-O3 leaves this video of Long-RVOS out


def made_long_rvos(root: Path, seed: int) -> None:
    """Truth, answers of all and those of the truth's size alone."""
    made, meta = Made(seed), {}
    answers: dict[str, dict[str, list[np.ndarray]]] = {}
    split = root / "data/long_rvos/valid"
    types = ("static", "dynamic", "static+dynamic")
    for v in range(VIDEOS):
        name = f"video{v}" if v else IGNORED
        frames = [f"{6 * t:05d}" for t in range(3 + v % 4)]
        for k in (0, 1):
            # No file where it does not show.
            shown = [t == 0 or made.rng.random() < 0.7 for t in range(len(frames))]
            there = [t for t, is_shown in enumerate(shown) if is_shown]
            boxes = [made.box(v, k, t) for t in there]
            folder = split / "Annotations" / name / str(k + 1)
            write_pngs(folder, [frames[t] for t in there], boxes, 255)
        meta[name] = {
            "frames": frames,
            "expressions": {
                str(e): {"exp": "x", "obj_id": 1 + int(made.rng.integers(2)), "type": types[e % 3]}
                for e in range(EACH)
            },
        }
        answers[name] = {} if v % 20 == 2 else tracks_of(made, v, len(frames))
        for key, track in answers[name].items():
            write_pngs(root / "masks/Annotations" / name / key, frames, track, 255)
    write_json(split / "meta_expressions.json", {"videos": meta})
    write_json(root / "results.json", results_of(answers))
    write_json(root / "fitting.json", fitting(answers))


def long_rvos(root: Path, checkout: Path, seed: int) -> Beside:
    """Long_RVOS, eval/eval_long_rvos, expression by expression."""
    made_long_rvos(root, seed)
    truth, masks = root / "data/long_rvos/valid", root / "fitting.json"
    ours = score("long_rvos", truth, masks, "--protocol", "long_rvos:strict", *STRICT)
    paper = score("long_rvos", truth, masks, "--missing", "empty")
    theirs = {}
    for kind in ("static", "dynamic", "hybrid"):
        script = f"eval/eval_long_rvos/eval_{kind}.py"
        official(checkout, script, root, "--pred_path", root / "masks/Annotations")
        (saved,) = root.rglob(f"{kind}_valid.json")
        theirs |= read_json(saved)
    return beside(ours, paper, theirs, ("J", "F", "tIoU", "vIoU"))


def long_rvos_o3(root: Path, checkout: Path, seed: int) -> Beside:
    """VideoSEG-O3, tools/eval/eval_longrvos.py."""
    made_long_rvos(root, seed)
    truth = root / "data/long_rvos/valid"
    arguments = (root / "results.json", "--gt_root", truth)
    arguments += ("--meta_path", truth / "meta_expressions.json")
    official(checkout, "tools/eval/eval_longrvos.py", root, *arguments, exact=True)
    theirs = read_json(root / "longrvos_eval_results.json")["Global"]
    name = "long_rvos:videoseg-o3"
    ours = score("long_rvos", truth, root / "results.json", "--protocol", name, *STRICT)
    paper = score("long_rvos", truth, root / "fitting.json", "--missing", "empty")
    effects = {"one video ignored, missing left out": effect(ours, paper)}
    differences = [ours[key] - theirs[key] / 100 for key in ("J", "F", "J&F")]
    return Beside(VIDEOS * EACH, differences, effects)


# ----------------------------------------------------------------------------------------- ReVOS


def revos(root: Path, checkout: Path, seed: int) -> Beside:
    """VISA, tools/eval_revos.py."""
    made, meta, masks, foreground = Made(seed), {}, {}, {}
    answers: dict[str, dict[str, list[np.ndarray]]] = {}
    for v in range(VIDEOS):
        name, frames = f"UVO/all/{v}", [f"{t:05d}" for t in range(3 + v % 4)]
        first = [made.box(v, 0, t) for t in range(len(frames))]
        second = [made.box(v, 1, t) * (1 - mask) for t, mask in enumerate(first)]
        ids = [2 * v, 2 * v + 1]
        masks |= {
            str(i): [rle(m) for m in track] for i, track in zip(ids, (first, second), strict=True)
        }
        both = [[encode(a), encode(b)] for a, b in zip(first, second, strict=True)]
        foreground[name] = {"masks_rle": both}
        targets = [ids[:1], ids[1:], [], ids, ids[:1]]
        meta[name] = {
            "frames": frames,
            "expressions": {
                str(e): {"exp": "x", "anno_id": target, "type_id": type_id}
                for e, (target, type_id) in enumerate(zip(targets, (0, 1, 2, 0, 1), strict=True))
            },
        }
        answers[name] = {} if v % 20 == 2 else tracks_of(made, v, len(frames))
        for key, track in answers[name].items():
            write_pngs(root / "masks/Annotations" / name / key, frames, track, 1)
    data = root / "data"
    names = ("meta_expressions_valid_", "mask_dict", "mask_dict_foreground")
    for name, content in zip(names, ({"videos": meta}, masks, foreground), strict=True):
        write_json(data / f"{name}.json", content)
    write_json(root / "fitting.json", fitting(answers))
    files = ("--visa_exp_path", "--visa_mask_path", "--visa_foreground_mask_path")
    paths = [
        x for flag, name in zip(files, names, strict=True) for x in (flag, data / f"{name}.json")
    ]
    official(checkout, "tools/eval_revos.py", root, root / "masks/Annotations", *paths)
    theirs = read_json(root / "masks/revos_valid.json")
    truth = data / "valid"
    ours = score("revos", truth, root / "fitting.json", "--protocol", "revos:strict", *STRICT)
    paper = score("revos", truth, root / "fitting.json", "--missing", "empty")
    differences = [ours[key] - theirs["overall"][key] / 100 for key in ("J", "F", "R")]
    return Beside(VIDEOS * EACH, differences, {"missing is 0, rounding": effect(ours, paper)})
