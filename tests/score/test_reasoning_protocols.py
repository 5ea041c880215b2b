"""Scores of Ref-SAV, ReasonVOS and GroundMoRe by hand (8 s)."""

import json

import numpy as np
import pytest
from made_data import square, write_frames, write_png
from PIL import Image

from rvos.app.score import main
from rvos.masks import decode, encode, read_json, write_json

A, B = square(2, 2), square(20, 20)  # 10 x 10 pixels of 40 x 60


def score(folder, dataset, split, answers, *more):
    """What the command writes for answers {video: {expression_id: track}}."""
    write_json(folder / "answers.json", answers)
    arguments = ["--dataset", dataset, "--truth", str(folder / split), "--resamples", "50"]
    arguments += ["--masks", str(folder / "answers.json"), "--json", str(folder / "scores.json")]
    assert main([*arguments, *more]) == 0
    return json.loads((folder / "scores.json").read_text())


# --------------------------------------------------------------------------------------- Ref-SAV


@pytest.fixture
def ref_sav(tmp_path):
    """Two long expressions and a short one, about two objects that share 50 pixels."""
    expressions = {
        "0": {"exp": "long", "obj_id": [1], "anno_id": [7], "type_id": 0},
        "1": {"exp": "short", "obj_id": [1, 2], "anno_id": [7, 8], "type_id": 1},
        "2": {"exp": "long too", "obj_id": [1], "anno_id": [7], "type_id": 0},
    }
    entry = {"frames": ["00000", "00004"], "expressions": expressions}
    write_json(tmp_path / "meta_expressions_valid.json", {"videos": {"v": entry}})
    write_json(tmp_path / "mask_dict.json", {"7": [A, A], "8": [square(7, 2), square(7, 2)]})
    return tmp_path


both = np.zeros((40, 60), np.uint8)
both[2:12, 2:17] = 1
ANSWERS = {"0": [A, square(2, 8)], "1": [encode(both)] * 2}  # of frame 1: 40 of 160 pixels
OF_0 = {"J": (1 + 40 / 160) / 2, "A": 1 - 120 / 2400 / 2}


def test_ref_sav_is_the_mean_of_long_and_short(ref_sav):
    found = score(ref_sav, "ref_sav", "valid", {"v": ANSWERS | {"2": [A, A]}})
    assert found["J"] == pytest.approx(((OF_0["J"] + 1) / 2 + 1) / 2)
    assert found["A"] == pytest.approx(((OF_0["A"] + 1) / 2 + 1) / 2)


def test_ref_sav_as_its_script(ref_sav):
    """Expression 2 is left out; each score is rounded; 50 shared pixels of 2400 are wrong."""
    more = ("--protocol", "ref_sav:strict", "--missing", "protocol")
    found = score(ref_sav, "ref_sav", "valid", {"v": ANSWERS}, *more)
    assert found["names"] == 2
    assert found["J"] == pytest.approx((0.625 + 1) / 2)
    assert found["A"] == pytest.approx((0.975 + 0.9792) / 2)  # of 0.979166...
    (first, _) = found["per_name"]
    assert first["F"] == pytest.approx(round(first["F"], 4))


# ------------------------------------------------------------------------------------- ReasonVOS


def test_reason_vos_counts_the_frames_that_have_a_truth(tmp_path):
    """The last frame has no file of the truth. Expression 1 has no answer."""
    said = [{"obj_id": "1", "exp_id": e, "exp_text": "which?", "is_sent": True} for e in (0, 1)]
    entry = {"source": "mose", "frames": ["1", "2", "3"], "expressions": said}
    write_json(tmp_path / "meta_expressions.json", {"videos": {"v": entry}})
    for frame in ("1", "2"):
        write_png(tmp_path / "Annotations" / "mose_v_1" / f"{frame}.png", A)
    answers = {"v": {"0": [A, B, B]}}
    more = ("--protocol", "reason_vos:strict", "--missing", "protocol")
    found = score(tmp_path, "reason_vos", "valid", answers, *more)
    assert (found["J"], found["F"], found["names"]) == pytest.approx((0.5, 0.5, 1))
    found = score(tmp_path, "reason_vos", "valid", answers, "--missing", "empty")
    assert (found["J"], found["F"], found["names"]) == pytest.approx((0.25, 0.25, 2))


def test_a_truth_of_another_size_is_an_empty_one_to_video_seg_o3(tmp_path):
    expressions = {str(e): {"exp": "which?", "obj_id": [1], "anno_id": 4} for e in (0, 1)}
    entry = {"source": "mose", "vid_id": 0, "frames": ["1", "2"], "expressions": expressions}
    write_json(tmp_path / "meta_expressions_format.json", {"videos": {"v": entry}})
    write_json(tmp_path / "mask_dict.json", {"4": [A, None]})
    answers = {"v": {"0": [A, None], "1": [None, square(2, 2, size=(44, 60))]}}
    more = ("--protocol", "reason_vos:videoseg-o3")
    found = score(tmp_path, "reason_vos", "valid", answers, *more)
    assert [unit["J"] for unit in found["per_name"]] == [1.0, 0.5]


# ------------------------------------------------------------------------------------ GroundMoRe

VIDEO = "film_0100_0106"
# Of 36 frames, 20 count: 0, 1, 3, 5, 7, 9, 11, 12, 14, ... Of the action's, 6 to 11, three do.
ACTION = {"question": "who?", "answer": "x", "obj_id": "1", "q_type": "Causal"}
ACTION |= {"action_start": "1:01", "action_end": "1:02"}


@pytest.fixture
def groundmore(tmp_path):
    questions = {"1": ACTION, "2": ACTION | {"obj_id": "2", "q_type": "Descriptive"}}
    write_json(tmp_path / "test_v2.json", {"videos": {VIDEO: {"questions": questions}}})
    folder = tmp_path / "annotations" / VIDEO
    write_frames(folder / "images", [f"frame_{t:06d}" for t in range(36)])
    (folder / "masks").mkdir()
    for t in range(36):
        numbers = decode(A) + np.uint8(2) * decode(B)
        Image.fromarray(numbers).save(folder / "masks" / f"frame_{t:06d}.png")
    return tmp_path


def test_groundmore_counts_twenty_frames(groundmore):
    """Question 1 is answered in frames 6 to 10 (7 and 9 of 7, 9, 11), question 2 in none."""
    answers = {"1": [A if 6 <= t <= 10 else None for t in range(36)], "2": [None] * 36}
    found = score(groundmore, "groundmore", "test", {VIDEO: answers})
    assert [unit["J"] for unit in found["per_name"]] == pytest.approx([19 / 20, 17 / 20])
    assert found["J&F"] == pytest.approx(18 / 20)
    more = ("--protocol", "groundmore:videoseg-o3", "--missing", "protocol")
    found = score(groundmore, "groundmore", "test", {VIDEO: {"1": answers["1"]}}, *more)
    assert found["J&F"] == pytest.approx(19 / 20)


def test_a_run_has_the_types_of_questions(groundmore, run_eval):
    answers = {"1": [A if 6 <= t <= 10 else None for t in range(36)], "2": [None] * 36}
    write_json(groundmore / "answers.json", {VIDEO: answers})
    arguments = ["data=groundmore", f"data.root={groundmore}", "coarse=files", "refine=none"]
    arguments += [f"coarse.path={groundmore / 'answers.json'}", "report=none", "score.workers=1"]
    status, told = run_eval([*arguments, f"output_dir={groundmore / 'out'}"])
    assert status == 0, told
    metrics = read_json(groundmore / "out" / "metrics.json")
    assert metrics["protocol"] == "groundmore"
    assert metrics["J&F"] == pytest.approx(18 / 20)
    for type, expected in (("Causal", 19 / 20), ("Descriptive", 17 / 20)):
        assert metrics[type]["J&F"] == pytest.approx(expected)
