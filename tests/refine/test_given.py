"""Given decisions: `refine=given`, and `python -m rvos ask`, which writes what they are made from.

The videos of `made_data` have a noun "square" with two masklets (0 moving, 1 still) and a noun
"circle" without any.
"""

import csv
import json

import numpy as np
import pytest
from commands import command
from made_data import small_synthetic
from PIL import Image

from rvos import InputError
from rvos.masks import TrackFiles, canonical_track, encode, read_json, write_json
from rvos.masks.draw import draw_numbered, number_color
from rvos.refine import Candidates, Given, Masklets

main = command()


def decide(present, *masklets):
    return {"present": present, "masklets": list(masklets)}


def window(start, stop):
    return {"start": start, "stop": stop, "selected": [0]}


def given(tmp_path, decision):
    """The rule for expression 0 of video v."""
    write_json(tmp_path / "decisions.json", {"v": {"0": decision}})
    return Given(str(tmp_path / "decisions.json"))


def row(*positions):
    pixels = np.zeros((1, 8))
    pixels[0, list(positions)] = 1
    return encode(pixels)


@pytest.fixture
def candidates():
    """Two frames; masklets A (pixel 0) and B (pixel 4, in frame 1 alone); coarse is pixel 7."""
    a, b = [row(0), row(0)], [None, row(4)]
    return Candidates([row(7)] * 2, Masklets([a, b]), video="v", expression_id="0")


@pytest.mark.parametrize(
    "decision, track, selected, kept_coarse",
    [
        (decide(True, 1), [None, row(4)], (1,), False),
        (decide(True, 1, 0), [row(0), row(0, 4)], (0, 1), False),
        (decide(True), [row(7), row(7)], (), True),
        (decide(False), [None, None], (), False),
        (decide(False, 0), [None, None], (), False),
    ],
)
def test_decisions_by_hand(tmp_path, candidates, decision, track, selected, kept_coarse):
    refined = given(tmp_path, decision)(candidates)
    assert refined.track == track and len(refined.combinations) == 2
    (window,) = refined.windows
    assert (window.start, window.stop, window.selected, window.kept_coarse) == (
        *(0, 2, selected, kept_coarse),
    )
    assert refined.frames_kept_coarse == (2 if kept_coarse else 0)


@pytest.mark.parametrize(
    "decision, message",
    [
        (decide(True, 2), "expected numbers from 0 to 1, got 2"),
        (decide(True, -1, 0, True), "expected numbers from 0 to 1, got -1, True"),
        (decide("yes", 0), 'expected {"present": true or false'),
        ({"present": True}, 'expected {"present": true or false'),
        ([0], r"got \[0\]"),
        (decide(True) | {"windows": [window(0, 2.0)]}, "expected windows"),
        (decide(True) | {"windows": [window(0, 1)]}, "expected windows of 2 frames, got 1"),
    ],
)
def test_wrong_decisions(tmp_path, candidates, decision, message):
    with pytest.raises(InputError, match=f"video v, expression 0: .*{message}"):
        given(tmp_path, decision)(candidates)


def every(made_data, **changes):
    """A decision for each expression: masklet 0 for squares, nothing for circles; with changes."""
    decisions = {
        video: {"0": decide(True, 0), "1": decide(True, 0, 1), "2": decide(False)}
        for video in ("long", "short")
    }
    for key, decision in changes.items():
        video, _, expression_id = key.partition("_")
        decisions[video][expression_id] = decision
        if decision is None:
            del decisions[video][expression_id]
    path = made_data.root / "decisions.json"
    write_json(path, decisions)
    return f"refine.path={path}"


def test_eval_with_right_decisions_scores_one(made_data, run_eval):
    """Also beside the other rules in `ablation=rules`, which has the run's own rule too."""
    arguments = [*made_data.write(), "refine=given", every(made_data), "ablation=rules"]
    assert run_eval(arguments) == (0, "")
    out = made_data.root / "out"
    metrics = read_json(out / "metrics.json")
    assert (metrics["J"], metrics["F"]) == (1, 1) and metrics["coarse"]["J"] < 1
    rows = {row["rule"]: row for row in csv.DictReader(open(out / "rules.csv"))}
    assert float(rows["given"]["J&F"]) == 1 and float(rows["vote"]["J&F"]) < 1
    assert (rows["vote"]["window"], rows["given"]["window"]) == ("15", "")
    decisions = read_json(out / "decisions" / "long.json")
    assert decisions["1"]["windows"][0] | {"stop": 7} == {
        **{"start": 0, "stop": 7, "selected": [0, 1], "kept_coarse": False}
    }


def test_rules_have_no_given_without_its_file(made_data, run_eval):
    assert run_eval([*made_data.write(), "ablation=rules"]) == (0, "")
    rows = csv.DictReader(open(made_data.root / "out" / "rules.csv"))
    assert "given" not in {row["rule"] for row in rows}
    status, errors = run_eval([*made_data.write(), "ablation.rules=[given]"])
    assert status == 1 and "refine.path: expected a file" in errors


def test_what_is_missing_is_listed_before_the_masks_are_read(made_data, run_eval):
    path = every(made_data, long_1=None, short_2=None, short_0=decide(True, -3))
    arguments = [*made_data.write(), "refine=given", path, "score.max_videos=null"]
    made_data.masklets = None
    (made_data.root / "masklets.json").write_text("{}")
    status, errors = run_eval(arguments)
    assert status == 1 and "wrong decisions (3)" in errors
    assert "video long, expression 1: missing" in errors
    assert "video short, expression 2: missing" in errors
    assert "video short, expression 0: masklets: expected numbers from 0, got -3" in errors
    assert not (made_data.root / "out" / "config.yaml").exists()


def test_masklets_that_are_not_there(made_data, run_eval):
    path = every(made_data, long_0=decide(True, 2), long_2=decide(True, 0))
    status, errors = run_eval([*made_data.write(), "refine=given", path])
    assert status == 1 and "wrong decisions (2)" in errors
    assert "video long, expression 0: masklets: expected numbers from 0 to 1, got 2" in errors
    assert "video long, expression 2: its noun has no masklets, got [0]" in errors
    assert not (made_data.root / "out" / "metrics.json").exists()


@pytest.mark.parametrize("path, message", [("null", "expected a file"), ("no.json", "cannot be")])
def test_no_file(made_data, run_eval, path, message):
    status, errors = run_eval([*made_data.write(), "refine=given", f"refine.path={path}"])
    assert status == 1 and "refine.path: " in errors and message in errors


# --------------------------------------------------------------------------------------- ask


@pytest.fixture
def synthetic_run(tmp_path, run_eval):
    """A run with ground-truth masklets and no coarse mask at all, some expressions without target.

    Returns its folder and the arguments.
    """
    small_synthetic(
        tmp_path / "data", num_videos={"train": 0, "valid_u": 3, "valid": 0}, no_target=0.3
    )
    meta = read_json(tmp_path / "data/valid_u/meta_expressions.json")["videos"]
    empty = {v: {e: [None] * 8 for e in video["expressions"]} for v, video in meta.items()}
    write_json(tmp_path / "coarse.json", empty)
    arguments = [
        *("data=synthetic", f"data.root={tmp_path / 'data'}", "masklets=oracle", "report=none"),
        *("coarse=files", f"coarse.path={tmp_path / 'coarse.json'}", "score.workers=1"),
        f"paths.stores={tmp_path / 'stores'}",
    ]
    assert run_eval([*arguments, f"output_dir={tmp_path / 'run'}"])[0] == 0
    return tmp_path / "run", arguments, meta


def answers_of(run, meta, truth):
    """Answers by `anno_id`: the masklets that equal the annotated objects' tracks."""
    masklets = TrackFiles(run / read_json(run / "masklets.json")["path"])
    answers = {}
    for line in (run / "ask" / "questions.jsonl").read_text().splitlines():
        asked = json.loads(line)
        video, key = asked["video"], asked["expression_id"]
        wanted = meta[video]["expressions"][key]["anno_id"]
        tracks = masklets.read(video)[asked["noun"]]
        numbers = [tracks.index(canonical_track(truth[str(i)])) for i in wanted]
        answers.setdefault(video, {})[key] = decide(bool(wanted), *numbers)
    return answers


def test_asked_answered_and_refined_all_is_right(synthetic_run, run_eval, capfd):
    run, arguments, meta = synthetic_run
    assert main(["ask", str(run), "--frames", "3", "--width", "120"]) == 0
    answers = answers_of(run, meta, read_json(run.parent / "data/valid_u/mask_dict.json"))
    counts = [len(d["masklets"]) for of_video in answers.values() for d in of_video.values()]
    assert {0, 1} < set(counts)  # no target, one, several
    write_json(run / "ask" / "answers.json", answers)
    assert main(["ask", "check", str(run / "ask" / "answers.json")]) == 0
    assert f"{len(counts)} expressions, all decided" in capfd.readouterr().out
    refined = run.parent / "refined"
    path = f"refine.path={run / 'ask' / 'answers.json'}"
    status, errors = run_eval([*arguments, "refine=given", path, f"output_dir={refined}"])
    assert status == 0, errors
    rows = list(csv.DictReader(open(refined / "per_expression.csv")))
    assert len(rows) == len(counts)
    assert {(row["J"], row["F"]) for row in rows} == {("1.0", "1.0")}
    assert min(float(row["coarse_J"]) for row in rows) == 0


def test_questions_and_pictures(synthetic_run):
    run, _, meta = synthetic_run
    main(["ask", str(run), "--frames", "3", "--width", "120"])
    lines = [json.loads(x) for x in (run / "ask/questions.jsonl").read_text().splitlines()]
    identities = [(line["video"], line["expression_id"]) for line in lines]
    assert identities == [(v, e) for v, video in meta.items() for e in video["expressions"]]
    masklets = TrackFiles(run / read_json(run / "masklets.json")["path"])
    for line in lines:
        of_expression = meta[line["video"]]["expressions"][line["expression_id"]]
        assert (
            line["expression"] == of_expression["exp"] and of_expression["exp"] in line["question"]
        )
        tracks = masklets.read(line["video"])[line["noun"]]
        assert [c["masklet"] for c in line["candidates"]] == list(range(len(tracks)))
        assert [c["visible_frames"] for c in line["candidates"]] == [
            len(track) - track.count(None) for track in tracks
        ]
        numbers = line["answer_schema"]["properties"]["masklets"]
        assert numbers["items"].get("maximum", -1) == len(tracks) - 1
        # The middles of thirds of 8 frames: 1.33, 4, 6.67.
        assert [p["frame_idx"] for p in line["pictures"]] == [1, 4, 6]
        assert [p["frame"] for p in line["pictures"]] == ["00001", "00004", "00006"]
        for picture in line["pictures"]:
            assert Image.open(run / "ask" / picture["file"]).size == (120, 80)


def test_wrong_answers_are_listed(made_data, run_eval, capfd):
    assert run_eval(made_data.write()) == (0, "")
    out = made_data.root / "out"
    assert main(["ask", str(out)]) == 0  # there are no images: grey pictures
    every(made_data, long_0=decide(True, 2), short_1=None, short_2=decide(True, 0))
    answers = str(made_data.root / "decisions.json")
    assert main(["ask", "check", answers]) == 1
    assert "--questions names it" in capfd.readouterr().err
    assert main(["ask", "check", answers, "--questions", str(out / "ask/questions.jsonl")]) == 1
    errors = capfd.readouterr().err
    assert "wrong answers (3)" in errors
    assert "video long, expression 0: masklets: expected numbers from 0 to 1, got 2" in errors
    assert "video short, expression 1: missing" in errors
    assert "video short, expression 2: its noun has no masklets" in errors


@pytest.mark.parametrize(
    "text", ["the\u2028square\x85on\x0b\x0c\x1c me", "the square\ron me", "the square\r\non me\n"]
)
def test_line_ends_in_a_sentence_end_no_line(made_data, run_eval, text):
    """questions.jsonl can be read back, and a table has a row per expression."""
    made_data.meta["videos"]["long"]["expressions"]["0"]["exp"] = text
    assert run_eval(made_data.write()) == (0, "")
    out = made_data.root / "out"
    with open(out / "per_expression.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and rows[0]["expression"] == text and rows[0]["noun"] == "square"
    content = (out / "per_expression.csv").read_bytes()
    assert b"\r" not in content.replace(text.encode(), b"")
    assert main(["ask", str(out), "--frames", "1", "--width", "32"]) == 0
    every(made_data)
    answers, questions = str(made_data.root / "decisions.json"), str(out / "ask/questions.jsonl")
    assert main(["ask", "check", answers, "--questions", questions]) == 0


def test_a_run_without_ground_truth_can_be_asked_about(made_data, run_eval):
    arguments = made_data.write()
    (made_data.root / "data/valid_u/mask_dict.json").unlink()
    for video in made_data.meta["videos"].values():
        for expression in video["expressions"].values():
            del expression["anno_id"], expression["obj_id"]
    write_json(made_data.root / "data/valid_u/meta_expressions.json", made_data.meta)
    assert run_eval([*arguments, "submission=true"])[0] == 0
    out = made_data.root / "out"
    assert not (out / "metrics.json").exists() and main(["ask", str(out)]) == 0
    assert len((out / "ask/questions.jsonl").read_text().splitlines()) == 6


def test_a_run_whose_data_has_moved_can_be_asked_about(made_data, run_eval):
    assert run_eval(made_data.write()) == (0, "")
    out, split = made_data.root / "out", made_data.root / "data" / "valid_u"
    assert main(["ask", str(out)]) == 0
    before = (out / "ask/questions.jsonl").read_bytes()
    meta, metrics = read_json(split / "meta_expressions.json"), (out / "metrics.json").read_bytes()
    split.rename(split.with_name("elsewhere"))
    for name in ("ask", "status", "merge"):
        assert main([name, str(out)]) == 0
    assert (out / "ask/questions.jsonl").read_bytes() == before
    # The same of a dataset that is another one by now, with a video and a sentence that were not.
    meta["videos"]["long"]["expressions"]["0"]["exp"] = "the dog"
    write_json(
        split / "meta_expressions.json",
        {"videos": {"new": meta["videos"]["long"], **meta["videos"]}},
    )
    for name in ("ask", "status", "merge"):
        assert main([name, str(out)]) == 0
    assert (out / "ask/questions.jsonl").read_bytes() == before
    assert (out / "metrics.json").read_bytes() == metrics


def test_ask_refuses_what_is_no_run(made_data, run_eval, capfd):
    assert main(["ask", str(made_data.root)]) == 1
    assert "expected the folder of a run of eval.py" in capfd.readouterr().err
    assert run_eval([*made_data.write(), "refine=none"]) == (0, "")
    assert main(["ask", str(made_data.root / "out")]) == 1
    assert "that read masklets" in capfd.readouterr().err
    assert main(["ask", str(made_data.root / "out"), "--frames", "0"]) == 1
    assert "frames: expected a whole number >= 1" in capfd.readouterr().err


def test_numbers_of_masks_at_the_edge_are_all_seen():
    """Six equal masks in the corner; a plate that another one covers would have few pixels."""
    pixels = np.zeros((100, 160))
    pixels[70:, 120:] = 1
    picture = draw_numbered(np.full((100, 160, 3), 128, np.uint8), [encode(pixels)] * 6)
    for number in range(6):
        assert (picture == number_color(number)).all(-1).sum() > 50


def test_numbers_are_drawn_beside_each_other():
    """Two equal masks of 100 x 100 pixels: both numbers' plates are to be seen; frames stay."""
    pixels = np.zeros((200, 300))
    pixels[50:150, 50:150] = 1
    frame = np.full((200, 300, 3), 128, np.uint8)
    picture = draw_numbered(frame, [encode(pixels), None, encode(pixels)])
    assert (frame == 128).all() and picture.shape == frame.shape
    inside = picture[55:145, 55:145].reshape(-1, 3)  # clear of the outlines
    plates = [(inside == number_color(number)).all(-1).sum() for number in (0, 1, 2)]
    assert plates[1] == 0 and plates[0] > 50 and plates[2] > 50


def test_a_run_is_asked_about_as_it_was(made_data, run_eval):
    """An expression that came to the dataset later, and a video that it no longer has."""
    assert run_eval(made_data.write())[0] == 0
    videos = made_data.meta["videos"]
    videos["long"]["expressions"]["3"] = {"exp": "a late one", "obj_id": [], "anno_id": []}
    del videos["short"]
    made_data.write()
    out = made_data.root / "out"
    assert main(["ask", str(out), "--frames", "1", "--width", "32"]) == 0
    lines = (out / "ask" / "questions.jsonl").read_text().splitlines()
    asked = [(json.loads(line)["video"], json.loads(line)["expression_id"]) for line in lines]
    assert asked == [(video, key) for video in ("long", "short") for key in "012"]
