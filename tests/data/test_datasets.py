"""Long-RVOS and ReVOS in the layout of their releases; scores by hand."""

import csv
import re

import numpy as np
import pytest
from made_data import square, write_frames, write_png
from PIL import Image

from rvos.data.formats import open_split, open_truth
from rvos.data.verify import verify
from rvos.masks import read_json, write_json

A, B, C = square(2, 2), square(20, 20), square(40, 5)  # 10 x 10 pixels each


def run(run_eval, root, *arguments):
    """The metrics and the rows of per_expression.csv of a run on answers in `answers.json`."""
    fixed = [f"data.root={root}", "coarse=files", f"coarse.path={root / 'answers.json'}"]
    fixed += ["refine=none", "report=html", f"output_dir={root / 'out'}", "score.workers=1"]
    status, told = run_eval([*arguments, *fixed])
    assert status == 0, told
    with open(root / "out" / "per_expression.csv", newline="") as file:
        return read_json(root / "out" / "metrics.json"), list(csv.DictReader(file))


# ------------------------------------------------------------------------------------- Long-RVOS

FRAMES = ["00000", "00006", "00012", "00018"]


@pytest.fixture
def long_rvos(tmp_path):
    """Object 1 shows in frames 0, 1; object 2 in all. There are three kinds of expressions."""
    folder = tmp_path / "valid"
    objects = {"1": [A, A, None, None], "2": [B, B, B, B]}
    for name, track in objects.items():
        for frame, mask in zip(FRAMES, track, strict=True):
            if mask is not None:  # no file where the object does not show
                write_png(folder / "Annotations" / "v" / name / f"{frame}.png", mask)
    write_frames(folder / "JPEGImages" / "v", FRAMES)
    expressions = {
        "0": {"exp": "the red one", "obj_id": "1", "type": "static"},
        "1": {"exp": "the one that leaves", "obj_id": "1", "type": "dynamic"},
        "2": {"exp": "the red one that stays", "obj_id": "2", "type": "static+dynamic"},
    }
    meta = {"videos": {"v": {"expressions": expressions, "frames": FRAMES}}}
    write_json(folder / "meta_expressions.json", meta)
    answers = {"0": [A, A, None, None], "1": [A, None, A, None], "2": [B, B, C, C]}
    write_json(tmp_path / "answers.json", {"v": answers})
    return tmp_path


def test_long_rvos_by_hand(long_rvos, run_eval):
    """Expression 1: J 1, 0, 0, 1; truth in frames 0, 1, answer in 0, 2: tIoU = vIoU = 1/3.
    Expression 2: J 1, 1, 0, 0; both in all frames: tIoU 1, vIoU 2/4."""
    metrics, rows = run(run_eval, long_rvos, "data=long_rvos")
    assert metrics["protocol"] == "long_rvos"
    expected = {
        "static": (1.0, 1.0, 1.0),
        "dynamic": (0.5, 1 / 3, 1 / 3),
        "hybrid": (0.5, 1.0, 0.5),
    }
    for name, (j, tiou, viou) in expected.items():
        found = metrics["slices"][name]
        assert [found[k] for k in ("J", "F", "tIoU", "vIoU")] == pytest.approx([j, j, tiou, viou])
        assert found["num_expressions"] == 1
    means = np.mean(list(expected.values()), axis=0)
    for scores in (metrics, metrics["coarse"]):
        assert [scores[k] for k in ("J", "tIoU", "vIoU")] == pytest.approx(list(means))
    assert [row["type"] for row in rows] == ["static", "dynamic", "hybrid"]
    page = (long_rvos / "out" / "report" / "index.html").read_text()
    assert "long_rvos" in page and "dynamic" in page


def test_long_rvos_is_verified(long_rvos):
    (report,) = verify(
        long_rvos, format="long_rvos", release="any", splits=["valid"], decode=True, workers=1
    )
    assert not report.problems
    assert [report.counts[name] for name in ("videos", "expressions", "annotations")] == [1, 3, 2]
    Image.new("L", (8, 8)).save(long_rvos / "valid/Annotations/v/2/00006.png")
    (report,) = verify(
        long_rvos, format="long_rvos", release="any", splits=["valid"], decode=True, workers=1
    )
    assert any("00006.png: expected 40 x 60" in problem for problem in report.problems)


def test_an_object_without_a_folder_is_not_an_absent_one(long_rvos, run_eval):
    meta = long_rvos / "valid" / "meta_expressions.json"
    content = read_json(meta)
    content["videos"]["v"]["expressions"]["0"]["obj_id"] = "7"
    write_json(meta, content)
    arguments = ["data=long_rvos", f"data.root={long_rvos}", "coarse=files", "refine=none"]
    arguments += [f"coarse.path={long_rvos / 'answers.json'}", f"output_dir={long_rvos / 'out'}"]
    status, told = run_eval(arguments)
    assert status == 1 and "annotation v/7 (video v), expression 0: no such annotation" in told


# ----------------------------------------------------------------------------------------- ReVOS

VIDEO = "UVO/all/x-1"  # names have folders


@pytest.fixture
def revos(tmp_path):
    """Two frames, objects A and B in both. Expressions of the three types, two that refer."""
    expressions = {
        "0": {"exp": "the left one", "obj_id": [1], "anno_id": [10], "type_id": 0},
        "1": {"exp": "the right one", "obj_id": [2], "anno_id": [11], "type_id": 0},
        "2": {"exp": "what may fall", "obj_id": [1, 2], "anno_id": [10, 11], "type_id": 1},
        "3": {"exp": "the unicorn", "obj_id": [], "anno_id": [], "type_id": 2},
    }
    frames = ["00000", "00001"]
    meta = {"videos": {VIDEO: {"expressions": expressions, "frames": frames, "vid_id": 4}}}
    write_json(tmp_path / "meta_expressions_valid_.json", meta)
    write_json(tmp_path / "mask_dict.json", {"10": [A, A], "11": [B, B]})
    foreground = {VIDEO: {"masks_rle": [[A, B], [A, B]]}}
    write_json(tmp_path / "mask_dict_foreground.json", foreground)
    write_frames(tmp_path / "JPEGImages" / VIDEO, frames)
    # As the Sa2VA family writes its answers.
    answers = {"0": [A, C], "1": [B, B], "2": [A, A], "3": [None, C]}
    wrapped = {key: {"prediction_masks": track} for key, track in answers.items()}
    write_json(tmp_path / "answers.json", {VIDEO: wrapped})
    return tmp_path


def test_revos_by_hand(revos, run_eval):
    """R: expression 0 has 100 wrong pixels of 200 in frame 1: (1 + 0.5) / 2; others are right.
    J: (1 + 0) / 2 and 1 refer; 1/2 for the reasoning one. Overall: (0.75 + 0.5) / 2."""
    metrics, rows = run(run_eval, revos, "data=revos")
    assert metrics["protocol"] == "revos"
    slices = metrics["slices"]
    assert slices["referring"]["J"] == pytest.approx(0.75)
    assert slices["referring"]["R"] == pytest.approx((0.75 + 1) / 2, abs=1e-6)
    assert slices["reasoning"]["J"] == pytest.approx(0.5)
    assert slices["reasoning"]["R"] == pytest.approx(1.0)
    assert metrics["J"] == pytest.approx((0.75 + 0.5) / 2)
    assert metrics["R"] == pytest.approx(((0.75 + 1) / 2 + 1) / 2, abs=1e-6)
    assert slices["hallucination"]["num_expressions"] == 1
    assert metrics["N-acc"] == 0 and metrics["T-acc"] == 1
    assert len(rows) == 4
    with open(revos / "out" / "units.csv", newline="") as file:
        units = list(csv.DictReader(file))
    assert [(u["group"], u["unit"]) for u in units] == [
        ("referring", "0"),
        ("referring", "1"),
        ("reasoning", "2"),
    ]
    refined = revos / "out" / "refined" / f"{VIDEO}.json.gz"
    assert read_json(refined)["1"] == [B, B]


def test_revos_is_verified_and_can_be_packed(revos, run_eval):
    (report,) = verify(
        revos, format="revos", release="any", splits=["valid"], decode=True, workers=1
    )
    assert not report.problems and report.counts["no target"] == 1
    run(run_eval, revos, "data=revos", "submission=true")
    assert (revos / "out" / "submission.zip").is_file()


@pytest.mark.parametrize(
    "file, change, told",
    [
        ("mask_dict_foreground.json", {VIDEO: {"masks_rle": [[A]]}}, "expected 2 masks"),
        ("mask_dict_foreground.json", {VIDEO: [A, A]}, "expected .*masks_rle"),
        ("mask_dict_foreground.json", {}, "got 0"),
    ],
)
def test_a_foreground_that_does_not_fit_is_named(revos, run_eval, file, change, told):
    write_json(revos / file, change)
    arguments = ["data=revos", f"data.root={revos}", "coarse=files", "refine=none"]
    arguments += [f"coarse.path={revos / 'answers.json'}", f"output_dir={revos / 'out'}"]
    status, error = run_eval(arguments)
    assert status == 1
    assert re.search(f"{file}: video {VIDEO}: .*{told}", error), error


@pytest.mark.parametrize("missing", ["error", "empty"])
def test_queries_that_others_left_out_are_not_dropped(revos, run_eval, missing):
    answers = read_json(revos / "answers.json")
    del answers[VIDEO]["1"]
    write_json(revos / "answers.json", answers)
    if missing == "empty":
        metrics, rows = run(run_eval, revos, "data=revos", "score.missing=empty")
        assert len(rows) == 4 and metrics["slices"]["referring"]["J"] == pytest.approx(0.25)
        assert metrics["extra"]["frames_scored_as_empty"] == 2
        return
    arguments = ["data=revos", f"data.root={revos}", "coarse=files", "refine=none"]
    arguments += [f"coarse.path={revos / 'answers.json'}", f"output_dir={revos / 'out'}"]
    status, told = run_eval(arguments)
    assert status == 1 and f"video {VIDEO}, expression 1: not there" in told


def test_types_are_checked(revos):
    meta = revos / "meta_expressions_valid_.json"
    content = read_json(meta)
    content["videos"][VIDEO]["expressions"]["0"]["type_id"] = 3
    write_json(meta, content)
    with pytest.raises(ValueError, match='"type_id": expected 0, 1 or 2, got 3'):
        open_split("revos", revos, "valid")


def test_truth_of_revos_is_that_of_mask_dict(revos):
    split = open_split("revos", revos, "valid")
    truth = open_truth("revos", split)
    assert truth.track("10") == [A, A]
    assert list(truth.foreground(split.videos[0])) == [200, 200]
