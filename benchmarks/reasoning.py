"""Ref-SAV, ReasonVOS, GroundMoRe, MOSEv2 made up, for `protocols.py`: rvos beside the scripts."""

import json
from pathlib import Path
from typing import Any

import cv2
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
    fits,
    group_means,
    numbers_in,
    official,
    results_of,
    rle,
    run,
    score,
    tracks_of,
    write_pngs,
)

from rvos.masks import encode, read_json, write_json


def ref_sav(root: Path, checkout: Path, seed: int) -> Beside:
    """Sa2VA, tools/eval/eval_ref_sav.py."""
    made = Made(seed)
    meta, masks, answers, fitting = {}, {}, {}, {}
    for v in range(VIDEOS):
        name, num = f"sav_{v:06d}", 3 + v % 4
        ids = [3 * v, 3 * v + 1, 3 * v + 2]
        for k, i in enumerate(ids):  # the third comes and goes
            shown = [made.box(v, k, t) * np.uint8(k < 2 or t % 2) for t in range(num)]
            masks[str(i)] = [rle(mask) for mask in shown]
        targets = [ids[:1], ids[1:2], ids[:2], [], ids[2:]]
        meta[name] = {
            "frames": [f"{4 * t:05d}" for t in range(num)],
            **{"height": HEIGHT, "width": WIDTH},
            "expressions": {
                str(e): {"exp": "x", "anno_id": target, "obj_id": [], "type_id": (v + e) % 2}
                for e, target in enumerate(targets)
            },
        }
        answers[name] = tracks_of(made, v, num)
        fitting[name] = {e: t for e, t in answers[name].items() if fits(EACH * v + int(e))}
    write_json(root / "data/meta_expressions_valid.json", {"videos": meta})
    write_json(root / "data/mask_dict.json", masks)
    write_json(root / "results.json", results_of(answers))
    write_json(root / "fitting.json", results_of(fitting))
    files = ("--exp_path", root / "data/meta_expressions_valid.json")
    files += ("--mask_path", root / "data/mask_dict.json")
    measures, differences = ("J", "F", "A"), []
    ours = {
        name: score("ref_sav", root / "data/valid", root / "fitting.json", *STRICT, *more)
        for name, more in {
            "script": ("--protocol", "ref_sav:strict"),
            "paper": ("--missing", "empty"),
        }.items()
    }
    official(checkout, "tools/eval/eval_ref_sav.py", root, root / "results.json", *files)
    theirs = read_json(root / "ref_sav_valid.json")
    for kind in ("long", "short"):
        of_kind = group_means(ours["script"], kind, *measures)
        differences += [x - theirs[kind][m] / 100 for x, m in zip(of_kind, measures, strict=True)]
    differences += [ours["script"][m] - theirs["overall"][m] / 100 for m in measures]
    effects = {"missing left out, rounding": effect(ours["script"], ours["paper"])}
    return Beside(VIDEOS * EACH, differences, effects)


# ------------------------------------------------------------------------------------- ReasonVOS


def reason_vos(root: Path, checkout: Path, seed: int) -> Beside:
    """VideoLISA, evaluation/reason_vos/eval_reason_vos.py."""
    made = Made(seed)
    meta, answers = {}, {}
    for v in range(VIDEOS):
        name, frames = f"{v}_video", [f"{t:05d}" for t in range(3 + v % 4)]
        source = ("vipseg", "burst", "mose", "mevis")[v % 4]
        objects = ["000000001", "000000002"]
        for k, number in enumerate(objects):
            shown = [made.box(v, k, t) * np.uint8(k == 0 or t > 0) for t in range(len(frames))]
            # Of every tenth video the last frame has no file of the truth.
            labelled = len(frames) - (v % 10 == 0)
            folder = root / "data/Annotations" / f"{source}_{name}_{number}"
            write_pngs(folder, frames[:labelled], shown[:labelled], 255)
        twice = v % 8 == 0  # an exp_id of both objects
        expressions, answers[name] = [], {}
        for e in range(EACH):
            number, exp_id = objects[e % 2], e // 2 if twice else e
            expressions.append(
                {"obj_id": number, "exp_id": exp_id, "exp_text": "x", "is_sent": True}
            )
            if (track := made.track(EACH * v + e, v, e % 2, len(frames))) is None:
                continue
            write_pngs(
                root / "masks" / f"{source}_{name}_{number}" / str(exp_id), frames, track, 255
            )
            key = f"{number}_{exp_id}" if twice else str(exp_id)
            if fits(EACH * v + e):
                answers[name][key] = [rle(mask) for mask in track]
        meta[name] = {"source": source, "frames": frames, "expressions": expressions}
    write_json(root / "data/meta_expressions.json", {"videos": meta})
    write_json(root / "answers.json", answers)
    arguments = ("--meta_exp_path", root / "data/meta_expressions.json", "--mask_path")
    arguments += (root / "data/Annotations", "--pred_path", root / "masks")
    script = "evaluation/reason_vos/eval_reason_vos.py"
    theirs = numbers_in(official(checkout, script, root, *arguments, "--save_name", "out.json"))
    truth, masks = root / "data/valid", root / "answers.json"
    ours = score("reason_vos", truth, masks, "--protocol", "reason_vos:strict", *STRICT)
    paper = score("reason_vos", truth, masks, "--missing", "empty")
    return Beside(
        VIDEOS * EACH,
        [ours[key] - theirs[key] for key in ("J", "F", "J&F")],
        {"missing left out": effect(ours, paper)},
    )


def reason_vos_o3(root: Path, checkout: Path, seed: int) -> Beside:
    """VideoSEG-O3, tools/eval/eval_reasonvos.py."""
    made = Made(seed)
    meta, masks, answers, fitting = {}, {}, {}, {}
    for v in range(VIDEOS):
        name, num = f"video{v}", 3 + v % 4
        for k in (0, 1):
            shown = [made.box(v, k, t) * np.uint8(k == 0 or t > 0) for t in range(num)]
            masks[str(2 * v + k)] = [encode(mask) for mask in shown]
        meta[name] = {
            **{"source": "mose", "vid_id": v, "frames": [f"{t:05d}" for t in range(num)]},
            "expressions": {
                str(e): {"exp": "x", "obj_id": [e % 2], "anno_id": 2 * v + e % 2}
                for e in range(EACH)
            },
        }
        answers[name] = tracks_of(made, v, num)
        fitting[name] = {e: t for e, t in answers[name].items() if fits(EACH * v + int(e))}
    write_json(root / "data/meta_expressions_format.json", {"videos": meta})
    write_json(root / "data/mask_dict.json", masks)
    write_json(root / "results.json", results_of(answers))
    write_json(root / "fitting.json", results_of(fitting))
    arguments = (root / "results.json", "--reasonvos_exp_path")
    arguments += (root / "data/meta_expressions_format.json", "--reasonvos_mask_path")
    arguments += (root / "data/mask_dict.json",)
    official(checkout, "tools/eval/eval_reasonvos.py", root, *arguments, exact=True)
    theirs = read_json(root / "reasonvos_val.json")
    truth, name = root / "data/valid", "reason_vos:videoseg-o3"
    ours = score("reason_vos", truth, root / "results.json", "--protocol", name, *STRICT)
    left_out = score("reason_vos", truth, root / "fitting.json", "--protocol", name, *STRICT)
    paper = score("reason_vos", truth, root / "fitting.json", "--missing", "empty")
    return Beside(
        VIDEOS * EACH,
        [ours[key] - theirs[key] / 100 for key in ("J", "F", "J&F")],
        {
            "missing left out": effect(left_out, paper),
            "truth of another size is empty": effect(ours, left_out),
        },
    )


# ------------------------------------------------------------------------------------ GroundMoRe

TYPES = ("Causal", "Sequential", "Counterfactual", "Descriptive")


def made_groundmore(root: Path, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The questions and the answers that are there, by video, which begin 1:00 into a film."""
    made = Made(seed)
    meta: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for v in range(VIDEOS):
        name, num = f"film{v}_0100_0106", (12, 20, 36)[v % 3]
        folder = root / "data/annotations" / name
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        for t in range(num):
            (folder / "images" / f"frame_{t:06d}.jpg").touch()
            numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
            for k in (0, 1):
                numbers[made.box(v, k, t) > 0] = k + 1
            mask = folder / "masks" / (f"{t:07d}.png" if v % 5 == 0 else f"frame_{t:06d}.png")
            if made.rng.random() > 0.1:  # no file of every tenth frame
                cv2.imwrite(str(mask), numbers)
        questions = {}
        for e in range(EACH):
            # Of a prediction of another size, the script stops at the first picture of the truth.
            start = int(made.rng.integers(0, 5)) if fits(EACH * v + e) else 0
            end = start + int(made.rng.integers(1, 4))
            questions[str(e)] = {
                **{"question": "who?", "answer": "x", "q_type": TYPES[(v + e) % 4]},
                "obj_id": str(1 + e % 3),  # object 3 never shows
                **{"action_start": f"1:0{start}", "action_end": f"0:01:0{end}"},
            }
        meta[name] = {"questions": questions}
        answers[name] = tracks_of(made, v, num)
    write_json(root / "data/test_v2.json", {"videos": meta})
    return meta, answers


def groundmore_o3(root: Path, checkout: Path, seed: int) -> Beside:
    """VideoSEG-O3, tools/eval/eval_groundmore.py."""
    _, answers = made_groundmore(root, seed)
    fitting = {
        name: {e: track for e, track in of.items() if fits(EACH * v + int(e))}
        for v, (name, of) in enumerate(answers.items())
    }
    write_json(root / "results.json", results_of(answers))
    write_json(root / "fitting.json", results_of(fitting))
    arguments = (root / "results.json", "--video_root", root / "data/annotations")
    arguments += ("--meta_file", root / "data/test_v2.json")
    official(checkout, "tools/eval/eval_groundmore.py", root, *arguments)
    theirs = read_json(root / "groundmore_eval_result.json")
    truth, masks = root / "data/test", root / "fitting.json"
    ours = score("groundmore", truth, masks, "--protocol", "groundmore:videoseg-o3", *STRICT)
    paper = score("groundmore", truth, masks, "--missing", "empty")
    differences = [ours[key] - theirs["Global"][key] for key in ("J", "F", "J&F")]
    return Beside(VIDEOS * EACH, differences, {"missing left out": effect(ours, paper)})


# A stand-in for the network: it says of every picture that is read what the answers have of it.
STAND_IN = """
import json, os, runpy, sys, types
import cv2, numpy as np, torch
from pycocotools import mask as coco
root, order = sys.argv[1:3]
meta = json.load(open("groundmore_test.json"))["videos"]
answers = json.load(open("answers.json"))
asked = iter([(v, q) for v in meta for q in meta[v]["questions"]])
read = []

def imread(path):
    read.append(int(os.path.basename(path)[6:12]))
    return np.zeros((%d, %d, 3), np.uint8)

class Whatever:
    def __init__(self, *a, **k): self.config = self
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def __getitem__(self, key): return self
    def __setattr__(self, name, value): self.__dict__[name] = value
    def __add__(self, other): return ""
    def __radd__(self, other): return ""
    def copy(self): return Whatever()
    def get_prompt(self): return ""
    @classmethod
    def from_pretrained(cls, *a, **k): return cls()

class Tokenizer(Whatever):
    unk_token = ""
    def decode(self, *a, **k): return ""
    def __call__(self, *a, **k): return types.SimpleNamespace(input_ids=[0])

class Processor(Whatever):
    def preprocess(self, *a, **k): return {"pixel_values": [torch.zeros(1)]}

class Model(Whatever):
    def evaluate(self, *a, **k):
        video, question = next(asked)
        masks = [coco.decode(answers[video][question][t]) for t in read]
        read.clear()
        return torch.zeros(1, 1), [torch.from_numpy(mask)[None] for mask in masks]

class Resize(Whatever):
    def apply_image(self, image): return image

def module(name, **of):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(of)

module("transformers", AutoTokenizer=Tokenizer, BitsAndBytesConfig=Whatever,
       CLIPImageProcessor=Processor)
for name in ("model", "model.llava", "model.segment_anything", "model.segment_anything.utils"):
    module(name, conversation=types.SimpleNamespace(conv_templates={"llava_v1": Whatever()}))
module("model.MoRA", VideoLISAForCausalLM=Model, PooledVideoLISAForCausalLM=Model)
module("model.llava.mm_utils", tokenizer_image_token=lambda *a, **k: torch.zeros(1))
module("model.segment_anything.utils.transforms", ResizeLongestSide=Resize)
module("utils")
module("utils.utils", DEFAULT_IM_END_TOKEN="", DEFAULT_IM_START_TOKEN="", LONG_QUESTION_LIST=[],
       DEFAULT_IMAGE_TOKEN="", IMAGE_TOKEN_INDEX=-1, REASONING_LONG_QUESTION_LIST=[])
cv2.imread = imread
torch.Tensor.cuda = lambda self, *a, **k: self
torch.nn.functional.pad = lambda image, *a: image
listed = os.listdir
os.listdir = lambda path: sorted(listed(path), reverse=order == "reversed")
sys.path.insert(0, root)
sys.argv = ["evaluate_groundmore.py"]
runpy.run_path(root + "/evaluate_groundmore.py", run_name="__main__")
"""


def groundmore(root: Path, checkout: Path, seed: int) -> Beside:
    """GroundMoRe, evaluate_groundmore.py, with a stand-in for its network.

    It knows masks named by six digits alone, and stops where an answer is missing.
    """
    meta, answers = made_groundmore(root, seed)
    for path in (root / "data/annotations").glob("*/masks/0*.png"):
        path.rename(path.with_name(f"frame_{path.stem[1:]}.png"))
    empty = np.zeros((HEIGHT, WIDTH), np.uint8)
    tracks = {}
    for v, (name, of) in enumerate(answers.items()):
        num = (12, 20, 36)[v % 3]
        there = {e: t for e, t in of.items() if fits(EACH * v + int(e))}
        tracks[name] = {str(e): there.get(str(e), [empty] * num) for e in range(EACH)}
    encoded = {v: {e: [encode(m) for m in t] for e, t in of.items()} for v, of in tracks.items()}
    write_json(root / "answers.json", encoded)
    write_json(root / "groundmore_test.json", {"videos": meta})
    (root / "groundmore_videos").symlink_to(root / "data/annotations")
    (root / "stand_in.py").write_text(STAND_IN % (HEIGHT, WIDTH))
    means = {}
    for order in ("sorted", "reversed"):
        run(root / "stand_in.py", checkout, order, cwd=root)
        rows = [line.split(", ") for line in (root / "mora-zs-7b.txt").read_text().splitlines()]
        theirs = {(row[0], row[1]): [float(x) for x in row[3:]] for row in rows}
        means[order] = 100 * float(np.mean(list(theirs.values())))
        if order == "sorted":
            ours = score("groundmore", root / "data/test", root / "answers.json")
            differences = [
                unit[key] - of
                for unit in ours["per_name"]
                for key, of in zip("JF", theirs[unit["video"], unit["name"]], strict=True)
            ]
    effects = {"files in reversed order": round(means["reversed"] - means["sorted"], 2)}
    return Beside(VIDEOS * EACH, differences, effects)


# ---------------------------------------------------------------------------------------- MOSEv2

# A run of their main with results that are not rounded; it needs a folder for its output.
MEASURES = {
    "J": "J",
    "F": "F_new",
    "J&F_d": "disappear_J&F_new",
    "J&F_r": "reappear_J&F_new",
    "F_davis": "F",
}


def mosev2(root: Path, checkout: Path, seed: int) -> Beside:
    """MOSE-api, MOSEv2/sam2_rcms/tools/score.py: objects come and go, the large ones too."""
    made = Made(seed, scale=4)
    meta, count = {}, 0
    for v in range(VIDEOS):
        name, num = f"video{v:02d}", 6 + v % 5
        objects = list(range(1, EACH + 1))
        there = made.rng.random((EACH, num)) > 0.3  # of the truth
        there[0] = True  # one never goes
        if v % 4 == 0:
            there[1] = np.arange(num) < num // 2  # and does not return
        for t in range(num):
            truth = np.zeros((4 * HEIGHT, 4 * WIDTH), np.uint8)
            answer = truth.copy()
            for k in range(EACH):
                if there[k, t]:
                    truth[made.box(v, k, t) > 0] = k + 1
                if (EACH * v + k) % 20 != 7:  # every twentieth object is never answered
                    answer[made.answer(v, k, t) > 0] = k + 1
            truth[(made.box(v, 9, t) > 0) & (made.rng.random(truth.shape) < 0.2)] = 255
            for folder, picture in (("truth", truth), ("masks", answer)):
                (root / folder / name).mkdir(parents=True, exist_ok=True)
                if folder == "truth" or v % 20 != 3:  # no masks of every twentieth video
                    cv2.imwrite(str(root / folder / name / f"{t:05d}.png"), picture)
        if v % 20 == 3:
            (root / "masks" / name).rmdir()
        meta[name] = {"length": num, "height": None, "width": None, "objects": objects}
        count += EACH
    write_json(root / "meta.json", {"videos": meta})
    theirs = run_mose(root, checkout)
    more = ("--protocol", "mosev2:strict", *STRICT)
    ours = score("mosev2", root / "truth", root / "masks", *more)
    differences = []
    for unit in ours["per_name"]:
        of = theirs[f"{unit['video']}_{unit['name']}"]
        for key, name in MEASURES.items():
            if (unit.get(key) is None) != (of[name] is None):
                differences.append(1.0)
            elif of[name] is not None:
                differences.append(unit[key] - of[name] / 100)
    differences += [
        ours[key] - theirs["all"][name] / 100
        for key, name in {**MEASURES, "J&F": "J&F_new"}.items()
    ]
    empty, paper = (
        score("mosev2", root / "truth", root / "masks", "--protocol", name, "--missing", "empty")
        for name in ("mosev2:strict", "mosev2")
    )
    gone = next((root / "masks/video00").glob("*3.png"))
    picture = gone.read_bytes()
    gone.unlink()
    shifted = run_mose(root, checkout)
    of_video = [f"video00_{k + 1}" for k in range(EACH)]
    moved = [shifted[key]["J&F_new"] - theirs[key]["J&F_new"] for key in of_video]
    gone.write_bytes(picture)
    effects = {
        "a missing video counts as 0": effect(ours, empty),
        "disk that is not rounded": effect(empty, paper),
        "a missing frame shifts the others (of its video)": round(float(np.mean(moved)), 2),
    }
    return Beside(count, differences, effects)


def run_mose(root: Path, checkout: Path) -> dict[str, Any]:
    """Their numbers of each object, and under "all" of all, in percent."""
    arguments = ("--meta", root / "meta.json", "--ann", root / "truth", "--pred", root / "masks")
    script = "MOSEv2/sam2_rcms/tools/score.py"
    printed = official(checkout, script, root, *arguments, "--output", root / "out", exact=True)
    return {**json.loads((root / "out/metrics.json").read_text()), "all": numbers_in(printed)}
