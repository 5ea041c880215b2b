"""Real frames with ground truth, where RVOS_REAL_DATA has them (MeViS' layout, with the faulty
coarse masks `coarse.json.gz`); they may not be shipped. benchmarks/real.py measures all of it.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rvos.data.formats import open_split, open_truth
from rvos.data.split import merge_tracks
from rvos.masklets.source import VideoTask
from rvos.masks import read_json
from rvos.refine import Candidates, KeepCoarse, Masklets, Vote
from rvos.score.measures import FrameScores
from rvos.settings import build, preset

REPOSITORY = Path(__file__).parents[2]
NETWORKS = ("picodet_s_416_coco", "nanotrack_backbone_sim", "nanotrack_head_sim", "u2netp")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder():
    if "RVOS_REAL_DATA" not in os.environ:
        pytest.skip("RVOS_REAL_DATA is not set: the guard and small networks on real frames")
    return Path(os.environ["RVOS_REAL_DATA"]).resolve()


@pytest.fixture(scope="module")
def split(folder):
    return open_split("mevis", folder, "valid_u")


@pytest.fixture(scope="module")
def truth(split):
    return open_truth("mevis", split)


def j_and_f(truth, track):
    return 100 * np.mean([FrameScores()(a, b) for a, b in zip(truth, track, strict=True)])


def test_the_guard_keeps_flow_from_harm_and_true_masklets_most_of_their_gain(folder, split, truth):
    coarse_masks = read_json(folder / "coarse.json.gz")
    flow = build(preset("masklets", "flow"), "masklets")
    rules = {"coarse": KeepCoarse()} | {
        agree: Vote(window=15, tau=0.5, agree=agree) for agree in (None, 0.3, 0.5)
    }
    scores = {source: {name: [] for name in rules} for source in ("flow", "true")}
    for video in split.videos:
        task = VideoTask(video, ("object",), {e.expression_id: "object" for e in video.expressions})
        moving = flow.make(task, split.open_frames(video))["object"]
        ids = {i for e in video.expressions for i in e.annotation_ids}
        objects = [truth.track(i) for i in sorted(ids)]
        for e in video.expressions:
            target = merge_tracks([truth.track(i) for i in e.annotation_ids], len(video.frames))
            coarse = coarse_masks[video.name][e.expression_id]
            for source, tracks in (("flow", moving), ("true", objects)):
                candidates = Candidates(coarse, Masklets(tracks))
                for name, rule in rules.items():
                    scores[source][name].append(j_and_f(target, rule(candidates).track))
    means = {source: {n: np.mean(v) for n, v in of.items()} for source, of in scores.items()}
    coarse = means["flow"]["coarse"]
    assert means["flow"][None] < coarse - 1 < means["flow"][0.5]
    assert means["true"][None] > coarse + 9
    assert means["true"][None] - means["true"][0.3] <= 3.5


def test_one_command_answers_a_sentence_about_the_dog(folder, split, truth, tmp_path):
    weights = Path(os.environ.get("RVOS_WEIGHTS", "")).resolve()
    if not all((weights / f"{name}.onnx").is_file() for name in NETWORKS):
        pytest.skip("RVOS_WEIGHTS has no small networks: their answer on real frames")
    [video] = [video for video in split.videos if video.name == "dog"]
    [expression] = video.expressions
    command = [sys.executable, REPOSITORY / "predict.py", "experiment=small"]
    command += [f"video={split.frame_path('dog', video.frames[0]).parent}", "output_dir=run"]
    command += [f'expression="{expression.text}"', f"paths.weights={weights}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "run" / "refined").glob("*.json.gz")
    [track] = read_json(path).values()
    assert j_and_f(truth.track(expression.annotation_ids[0]), track) >= 85
