"""Unchanged evaluation scripts with their own functions and with those of `rvos.score.davis`.

    python benchmarks/scripts.py --mevis CHECKOUT --videoseg CHECKOUT --lmms CHECKOUT

The checkouts are henghuiding/MeViS, Dmmm1997/VideoSEG-O3 and EvolvingLMMs-Lab/lmms-eval. Masks and
ground truth are those of tests/data/davis_masks. Each script's own function scores them in one
process and one thread, in turns: is the output equal, and how long does it take? "Functions" is the
time in `db_eval_iou` and `db_eval_boundary`. MeViS' script reads pictures and VideoSEG's reads RLE;
lmms-eval's gets arrays, since it would run SAM 2 for them. Needs scikit-image and loguru.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path
from queue import Queue
from types import SimpleNamespace

from scorer import REPOSITORY, davis, swap  # sets one thread

sys.path.insert(0, str(REPOSITORY / "tests/support"))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from machine import describe, write  # noqa: E402
from made_data import DAVIS  # noqa: E402

from rvos.masks import TrackFiles, decode, encode, read_json, union  # noqa: E402

VIDEOS = ("judo", "pigs", "india")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in SCRIPTS:
        parser.add_argument(f"--{name}", type=Path, required=True, help="checkout")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    packages = ["numpy", "numba", "opencv-python-headless", "pycocotools", "scikit-image"]
    videos = {v: read_json(DAVIS / "meta_expressions.json")["videos"][v] for v in VIDEOS}
    masks = {v: TrackFiles(DAVIS / "coarse.json.gz").read(v, videos[v]["frames"]) for v in VIDEOS}
    truth = read_json(DAVIS / "mask_dict.json.gz")
    result = describe(packages) | {"videos": VIDEOS}
    for name, prepare in SCRIPTS.items():
        with tempfile.TemporaryDirectory() as folder:
            of_script = prepare(getattr(options, name), Path(folder), videos, masks, truth)
            result[name] = compare(*of_script)
    write("scripts", result | {"load_average_at_end": os.getloadavg()[0]})


def compare(script, own, run):
    """The script's output and seconds with its own functions and with ours."""
    outputs, seconds = {}, {"official": [], "ours": []}
    for turn in range(3):
        for side, functions in (("official", own), ("ours", davis)):
            spent = swap(script, functions)
            start = time.perf_counter()
            outputs[side] = run()
            if turn:  # the first one loads and compiles
                seconds[side].append((sum(spent), time.perf_counter() - start))
    result = {"expressions": len(outputs["ours"])}
    result["equal_output"] = dict(outputs["official"]) == dict(outputs["ours"])
    for side, times in seconds.items():
        in_functions, whole = map(min, zip(*times, strict=True))
        result |= {f"{side}_functions_s": in_functions, f"{side}_whole_s": whole}
    result["times_as_fast"] = result["official_functions_s"] / result["ours_functions_s"]
    return result


def prepare_mevis(checkout, folder, videos, masks, truth):
    """tools/eval_mevis.py: pictures <video>/<expression>/<frame>.png, foreground 255."""
    sys.path.insert(0, str(checkout / "tools"))
    for video, expression, t, pixels in frames_of(videos, masks, truth):
        path = folder / video / expression / f"{videos[video]['frames'][t]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), 255 * pixels)
    script = load(checkout / "tools/eval_mevis.py", exp_dict=videos, mask_dict=truth)
    return script, load(checkout / "tools/metrics.py"), lambda: answer(script, videos, str(folder))


def prepare_videoseg(checkout, folder, videos, masks, truth):
    """tools/eval/eval_mevis.py: RLE in one file, also of empty masks."""
    sys.path.insert(0, str(checkout))
    given = {v: {e: {"prediction_masks": []} for e in masks[v]} for v in videos}
    for video, expression, _, pixels in frames_of(videos, masks, truth):
        given[video][expression]["prediction_masks"].append(encode(pixels))
    space = {"exp_dict": videos, "mask_dict": truth, "mask_pred_dict": given}
    script = load(checkout / "tools/eval/eval_mevis.py", **space)
    own = load(checkout / "third_parts/revos/utils/metircs.py")
    return script, own, lambda: answer(script, videos)


def prepare_lmms(checkout, folder, videos, masks, truth):
    """lmms_eval/tasks/rvos/eval_sam2.py: `evaluate_masks` on (T, H, W) uint8."""
    script = load(checkout / "lmms_eval/tasks/rvos/eval_sam2.py")
    pixels = {}
    for video, expression, t, predicted in frames_of(videos, masks, truth):
        ids = videos[video]["expressions"][expression]["anno_id"]
        true = union([truth[str(i)][t] for i in ids])
        true = np.zeros_like(predicted) if true is None else decode(true)
        pixels.setdefault((video, expression), []).append((true, predicted))
    arrays = {key: [c_order(side) for side in zip(*p, strict=True)] for key, p in pixels.items()}
    own = SimpleNamespace(**vars(script))
    return script, own, lambda: {key: script.evaluate_masks(*p) for key, p in arrays.items()}


def c_order(frames):
    """(T, H, W) as the script makes its arrays; decoded masks lie column by column."""
    return np.ascontiguousarray(np.stack(frames))


SCRIPTS = {"mevis": prepare_mevis, "videoseg": prepare_videoseg, "lmms": prepare_lmms}


def frames_of(videos, masks, truth):
    """(video, expression, t, (H, W) uint8) of all masks."""
    for video, entry in videos.items():
        tracks = [truth[str(i)] for e in entry["expressions"].values() for i in e["anno_id"]]
        size = next(mask["size"] for track in tracks for mask in track if mask)
        for expression in entry["expressions"]:
            for t, mask in enumerate(masks[video][expression]):
                pixels = np.zeros(size, np.uint8) if mask is None else decode(mask)
                yield video, expression, t, pixels


def answer(script, videos, *more):
    """What `eval_queue` of a script says of all expressions."""
    queue, answers = Queue(), {}
    for video, entry in videos.items():
        for expression in entry["expressions"]:
            queue.put([video, expression])
    script.eval_queue(queue, 0, answers, *more)
    return answers


def load(path, **space):
    """A script as a module that has further names."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(space)
    return module


if __name__ == "__main__":
    main()
