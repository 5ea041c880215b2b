"""Presence rules on top of a refinement rule, and their thresholds in one pass: values by hand."""

import csv
import re

import pytest
from commands import command
from hydra import compose, initialize_config_dir

from rvos import CONFIG_DIR, SettingsError
from rvos.app.evaluation import Evaluation
from rvos.masks import read_json, write_json
from rvos.refine import (
    Candidates,
    CoarseScore,
    ConfidenceRule,
    DetectorScore,
    KeepCoarse,
    Masklets,
    NoPresence,
    Presence,
    ShareOfFrames,
    Vote,
)
from rvos.report.rows import Row, best_threshold
from rvos.score.ablation import thresholds
from rvos.score.measures import Summary

best = command("best")
MASK, EMPTY = {"size": [1, 2], "counts": "02"}, {"size": [1, 2], "counts": "2"}


def candidates(coarse, scores=None):
    return Candidates(coarse, Masklets([]), scores)


# ------------------------------------------------------------------------------------ the rules


@pytest.mark.parametrize(
    "rule, name", [(CoarseScore, "coarse_score"), (DetectorScore, "detector_score")]
)
@pytest.mark.parametrize(
    "threshold, present", [(0.0, True), (0.6, True), (0.61, False), (1, False)]
)
def test_masks_go_where_the_score_is_below_the_threshold(rule, name, threshold, present):
    """The score is 0.6; equal is not below."""
    other = "coarse_score" if name != "coarse_score" else "detector_score"
    given = candidates([MASK, None, MASK], {name: 0.6, other: 0.5})
    refined = rule(threshold).on(KeepCoarse())(given)
    assert refined.track == ([MASK, None, MASK] if present else [None] * 3)
    assert refined.presence == Presence(0.6, present)
    assert refined.frames_kept_coarse == (3 if present else 0)


@pytest.mark.parametrize(
    "track, threshold, present",
    [
        ([MASK, None, None, None], 0.25, True),
        ([MASK, None, None, None], 0.2501, False),
        ([MASK, None, None], 1 / 3, True),
        ([None, None], 0.0, True),  # 0 is not below 0; empty either way
        ([None, None], 1e-9, False),
        ([MASK, MASK], 1.0, True),
        ([MASK, EMPTY, EMPTY, EMPTY], 0.2501, False),  # an empty mask is as none
    ],
)
def test_share_of_frames_with_a_mask(track, threshold, present):
    refined = ShareOfFrames(threshold).on(KeepCoarse())(candidates(track))
    assert refined.presence.present is present
    assert refined.track == (track if present else [None] * len(track))


def test_share_of_frames_is_of_the_refined_mask():
    """Coarse has 1 frame of 4, the vote gives its masklet's 4: 1.0 is not below 0.5."""
    given = Candidates([MASK, None, None, None], Masklets([[MASK] * 4]))
    vote = Vote(window=1, tau=0.5)
    assert ShareOfFrames(0.5).on(vote)(given).track == [None] * 4
    given = Candidates([MASK, MASK, None, None], Masklets([[MASK] * 4]))
    whole = Vote(window=4, tau=0.5)  # 2 to 2, the first combination wins
    assert ShareOfFrames(1.0).on(whole)(given).track == [MASK] * 4
    assert ShareOfFrames(1.0).on(whole)(given).windows == whole(given).windows
    given = Candidates([MASK, MASK], Masklets([[MASK, EMPTY]]))
    assert ShareOfFrames(0.0).on(Vote(window=2, tau=0.5))(given).track == [MASK, None]


def test_none_is_the_refinement_rule_itself():
    vote = Vote(window=4, tau=0.5)
    assert NoPresence().on(vote) is vote and vote(candidates([MASK])).presence is None


@pytest.mark.parametrize("threshold", [-0.1, 1.1, None, "0.5", float("nan")])
def test_bad_thresholds(threshold):
    with pytest.raises(SettingsError, match="^threshold: expected a number >= 0 and <= 1"):
        CoarseScore(threshold)


def test_a_rule_says_whose_confidence_it_reads():
    class Unnamed(CoarseScore):
        source = "detector"

    class Old(ShareOfFrames):
        name = "old"
        reads_scores = True

    with pytest.raises(SettingsError, match="presence=coarse_score: source: expected coarse or"):
        Unnamed(0.5)
    with pytest.raises(SettingsError, match="presence=old: expected `ConfidenceRule` as its base"):
        Old(0.5)


# ----------------------------------------------------------------------------------- the scores


def clip(frames, scores, query):
    return {"start": 0, "step": 1, "frames": frames, "scores": scores, "query": query}


def test_the_mean_goes_over_frames_not_over_clips():
    """3 frames at 0.9 and 2 at 0.4: (2.7 + 0.8) / 5 = 0.7."""
    clips = [clip(3, [0.9, 0.1], 0), clip(2, [0.3, 0.4], 1)]
    assert CoarseScore(0.5).confidence({"clips": clips}) == 0.7


def test_one_choice_for_the_video_has_one_probability():
    clips = [clip(3, [0.9, 0.1], 0), clip(2, [0.3, 0.4], 1)]
    assert (
        CoarseScore(0.5).confidence({"clips": clips, "long_term": clip(5, [0.8, 0.25], 1)}) == 0.25
    )


def test_equal_probabilities_are_their_mean():
    """3 x 0.7 + 4 x 0.7 is 4.8999... in floats; the mean still is no less than 0.7."""
    assert CoarseScore(0.5).confidence({"clips": [clip(3, [0.7], 0), clip(4, [0.7], 0)]}) == 0.7


# ------------------------------------------------------------------------------------- settings


def test_thresholds_need_a_rule_and_are_all_checked():
    assert (
        thresholds([0, 0.5, 1.0], "coarse_score") == [0, 0.5, 1.0] and thresholds([], "none") == []
    )
    with pytest.raises(SettingsError, match=r"a number >= 0 and <= 1, got \[0.5, 0.5\]"):
        thresholds([0.5, 0.5], "coarse_score")
    with pytest.raises(SettingsError) as error:
        thresholds([0.5, 2], "none")
    assert [p.partition(": ")[2][:30] for p in error.value.problems] == [
        "expected different values, eac",
        "they are those of a presence r",
    ]


def evaluation(*overrides):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return Evaluation.of(compose("eval", [*overrides, "output_dir=x"]))


def test_every_rule_of_a_run_but_coarse_gets_its_presence():
    todo = evaluation(
        *("presence=share_of_frames", "presence.threshold=0.25", "masklets=flow", "coarse=files"),
        *("ablation=rules", "ablation.windows=[1]", "ablation.taus=[0.5]"),
    )
    assert todo.rules["coarse"] == KeepCoarse()
    share = ShareOfFrames(0.25)
    assert todo.rules["refined"] == todo.rules["vote"] == share.on(Vote(15, 0.8))
    assert todo.rules["window=1 tau=0.5"] == share.on(Vote(1, 0.5))
    assert todo.rules["vote + share_of_frames"] == share.on(Vote(15, 0.8))
    assert todo.rules["vote + coarse_score"] == CoarseScore(0.5).on(Vote(15, 0.8))
    assert not isinstance(todo.presence, ConfidenceRule)
    assert list(todo.optional.values()) == [CoarseScore(0.5), DetectorScore(0.5)]


def test_masklets_are_made_only_for_who_reads_them():
    given = ("coarse=files", "refine=none", "masklets=flow")
    for presence, made in (
        ("coarse_score", False),
        ("share_of_frames", False),
        ("detector_score", True),
    ):
        todo = evaluation(*given, f"presence={presence}")
        assert (type(todo.masklets).__name__ == "Flow") is made, presence


# ------------------------------------------------------------------------------------ eval.py


@pytest.fixture
def stored(made_data):
    """Arguments of eval.py: the coarse masks and masklets lie in stores, scores beside them.

    Coarse scores of video `long`: 0.9, 0.5, 0.5 (no target); of `short`: 0.25, 0.5, 0.125 (no
    target), for which the coarse masks of `long` and `short` say something everywhere.
    """
    root = made_data.root
    still = made_data.masklets["long"]["square"][1]
    made_data.coarse["long"]["2"] = still  # a wrong answer: nothing is there
    made_data.coarse["short"]["2"] = still[:1]
    arguments = made_data.write()
    for stage in ("coarse", "masklets"):
        for video, value in read_json(root / f"{stage}.json").items():
            write_json(root / "stores" / stage / "x" / f"{video}.json.gz", value)
    values = {"long": (0.9, 0.5, 0.5), "short": (0.25, 0.5, 0.125)}
    for video, probabilities in values.items():
        frames = 7 if video == "long" else 1
        expressions = {
            str(i): {"clips": [clip(frames, [0.0, p], 1)]} for i, p in enumerate(probabilities)
        }
        content = {"protocol": {}, "expressions": expressions}
        write_json(root / "stores" / "coarse_scores" / "x" / f"{video}.json.gz", content)
        scores = {"square": {"detector": [0.25, 0.75]}, "circle": {"detector": []}}
        write_json(root / "stores" / "masklet_scores" / "x" / f"{video}.json.gz", scores)
    return [
        *(a for a in arguments if not a.startswith(("coarse.path", "masklets.path"))),
        f"coarse.path={root / 'stores' / 'coarse' / 'x'}",
        f"masklets.path={root / 'stores' / 'masklets' / 'x'}",
    ]


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_thresholds_by_hand(stored, made_data, run_eval, capfd):
    """refine=none. A threshold t empties the expressions whose score is below it.

    J&F of the four expressions with a target: "0" of `long` has 5/7 (two of seven frames are
    elsewhere), "0" of `short` 1. "1" is about both squares, the mask has one: J is 1/2. The outline
    of a square has 40 pixels (a pixel differs from the one to its right, below, or both), 29 at the
    left border. Recall is 1/2, in frame 0 of both videos 29/69, precision 1: F is 2/3 and 29/49.
    Those without a target score 0 with a mask, 1 without.
    """
    out = made_data.root / "out"
    given = [*stored, "refine=none", "presence=coarse_score", "ablation=presence"]
    values = "ablation.thresholds=[1.0,0.0,0.125,0.25,0.5,0.51]"
    assert run_eval([*given, values, "presence.threshold=0.25"])[0] == 0
    table = {float(row["threshold"]): row for row in rows(out / "presence.csv")}
    scores = ["N-acc", "T-acc", "J&F_all", "J&F_target", "Final_all", "Final_target"]
    assert list(rows(out / "presence.csv")[0]) == ["threshold", *scores, "rule", "presence"]
    assert {(row["rule"], row["presence"]) for row in table.values()} == {("none", "coarse_score")}
    assert list(table) == [1.0, 0.0, 0.125, 0.25, 0.5, 0.51]
    long0, long1 = 5 / 7, (1 / 2 + (6 * 2 / 3 + 29 / 49) / 7) / 2
    short0, short1 = 1.0, (1 / 2 + 29 / 49) / 2
    all_four = long0 + long1 + short0 + short1
    expected = {  # threshold: N-acc, T-acc, sum of J&F over target
        0.0: (0.0, 1.0, all_four),
        0.125: (0.0, 1.0, all_four),  # the lowest score, a tie: it stays
        0.25: (0.5, 1.0, all_four),
        0.5: (0.5, 0.75, long0 + long1 + short1),
        0.51: (1.0, 0.25, long0),
        1.0: (1.0, 0.0, 0.0),
    }
    for threshold, (n_acc, t_acc, total) in expected.items():
        JF_all, JF_target = (total + 2 * n_acc) / 6, total / 4
        found = [float(table[threshold][key]) for key in scores]
        wanted = [n_acc, t_acc, JF_all, JF_target]
        wanted += [(JF + n_acc + t_acc) / 3 for JF in (JF_all, JF_target)]
        assert found == pytest.approx(wanted, abs=1e-9), threshold
    assert best([str(out)]) == 0
    assert capfd.readouterr().out.endswith("presence=coarse_score presence.threshold=0.25\n")
    metrics = read_json(out / "metrics.json")
    assert metrics["presence"] == {"name": "coarse_score", "threshold": 0.25}
    row = table[0.25]
    assert metrics["N-acc"] == 0.5 and metrics["Final"]["target"] == float(row["Final_target"])
    decisions = read_json(out / "decisions" / "short.json")
    assert decisions["2"]["presence"] == {"value": 0.125, "present": False}
    assert decisions["0"]["presence"] == {"value": 0.25, "present": True}
    assert read_json(out / "refined" / "short.json.gz")["2"] == [None]


def test_detector_score_of_the_nouns_best_instance(stored, made_data, run_eval):
    """Squares have 0.75; the circle has no instance, 0: only expressions "2" become empty."""
    status, error = run_eval([*stored, "presence=detector_score", "presence.threshold=0.75"])
    assert status == 0, error
    decisions = read_json(made_data.root / "out" / "decisions" / "long.json")
    assert [decisions[key]["presence"]["value"] for key in "012"] == [0.75, 0.75, 0.0]
    metrics = read_json(made_data.root / "out" / "metrics.json")
    assert (metrics["N-acc"], metrics["T-acc"]) == (1.0, 1.0)


def test_a_threshold_of_zero_and_no_rule_give_the_same_numbers(stored, made_data, run_eval):
    out = made_data.root / "out"
    assert run_eval(stored)[0] == 0
    plain = {p.name: p.read_bytes() for p in out.glob("*/*.json*")}
    metrics, table = read_json(out / "metrics.json"), (out / "per_expression.csv").read_bytes()
    assert (
        "presence" not in metrics and "presence" not in read_json(out / "decisions/long.json")["0"]
    )
    again = made_data.root / "again"
    zero = ["presence=share_of_frames", "presence.threshold=0", f"output_dir={again}"]
    assert run_eval([*stored, *zero])[0] == 0
    assert (again / "per_expression.csv").read_bytes() == table
    with_zero = read_json(again / "metrics.json")
    assert with_zero.pop("presence") == {"name": "share_of_frames", "threshold": 0}
    assert metrics.pop("presence", None) is None and with_zero == metrics
    for name in ("long.json.gz", "short.json.gz"):
        assert (again / "refined" / name).read_bytes() == (out / "refined" / name).read_bytes()
    assert plain


def test_rules_side_by_side_where_their_scores_are(stored, made_data, run_eval):
    """Without the masklets' scores their row is left out; refine=vote has its numbers as before."""
    out = made_data.root / "out"
    only = "ablation.rules=[vote]"
    assert run_eval([*stored, "ablation=rules", only, "report=html"])[0] == 0
    table = {row["rule"]: row for row in rows(out / "rules.csv")}
    assert list(table) == [
        "vote",
        *(f"vote + {n}" for n in ("coarse_score", "detector_score", "share_of_frames")),
    ]
    assert (
        table["vote"]["presence"] == ""
        and table["vote + coarse_score"]["presence"] == "coarse_score"
    )
    assert table["vote + coarse_score"]["threshold"] == "0.5"
    metrics = read_json(out / "metrics.json")
    assert float(table["vote"]["J&F"]) == metrics["J&F"] and "presence" not in metrics
    assert float(table["vote + detector_score"]["N-acc"]) == 1.0
    assert "vote + detector score" in (out / "report" / "index.html").read_text()
    for path in (made_data.root / "stores" / "masklet_scores" / "x").iterdir():
        path.unlink()
    path.parent.rmdir()
    again = made_data.root / "again"
    status, error = run_eval([*stored, "ablation=rules", only, f"output_dir={again}"])
    assert status == 0, error
    assert [row["rule"] for row in rows(again / "rules.csv")] == [
        *("vote", "vote + coarse_score", "vote + share_of_frames")
    ]
    assert (
        "left out: vote + detector_score: presence=detector_score"
        in (again / "eval.log").read_text()
    )


def test_presence_without_its_scores_is_one_error(made_data, run_eval, stored):
    """Files that come from no store, a video that is not there, scores that are none."""
    arguments = made_data.write()
    status, error = run_eval([*arguments, "presence=coarse_score"])
    assert status == 1
    assert error.count("presence=coarse_score reads confidence that coarse=mutr writes") == 1
    scores = made_data.root / "stores" / "coarse_scores" / "x" / "short.json.gz"
    content = read_json(scores)
    content["expressions"]["1"]["clips"][0]["scores"][1] = 1.5
    write_json(scores, content)
    status, error = run_eval([*stored, "presence=coarse_score"])
    assert status == 1 and "expected values in 0..1, got {'1': 1.5}" in error
    scores.unlink()
    status, error = run_eval([*stored, "presence=coarse_score"])
    assert status == 1 and "coarse_scores/x: video short is not there" in error


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            ["presence=detector_score", "masklets=flow"],
            "presence=detector_score .*masklets=sam2 does",
        ),
        (["presence=coarse_score", "coarse=several"], "presence=coarse_score .*coarse=mutr does"),
        (["ablation=presence"], "ablation.thresholds: they are those of a presence rule"),
        (["ablation.presence=[none]"], "ablation.presence: expected names of presence rules"),
        (
            ["presence=coarse_score", "presence.threshold=2"],
            "presence.threshold: expected a number",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(made_data, run_eval, overrides, message):
    arguments = made_data.write()
    if "coarse=several" in overrides:
        path = next(a for a in arguments if a.startswith("coarse.path")).partition("=")[2]
        arguments = [a for a in arguments if not a.startswith("coarse.path")]
        arguments.append(f"coarse.sources=[{path}]")
    if "masklets=flow" in overrides:
        arguments = [a for a in arguments if not a.startswith("masklets.path")]
    status, error = run_eval([*arguments, *overrides])
    assert status == 1 and re.search(message, error), error
    assert not (made_data.root / "out" / "config.yaml").exists()


def test_best_needs_expressions_of_both_kinds(made_data, run_eval, capfd):
    for video in made_data.meta["videos"].values():
        del video["expressions"]["2"]
    given = [*made_data.write(), "presence=share_of_frames", "ablation=presence", "report=html"]
    assert run_eval(given)[0] == 0
    assert best([str(made_data.root / "out")]) == 1
    assert "expected expressions with and without target" in capfd.readouterr().err
    page = (made_data.root / "out" / "report" / "index.html").read_text()
    assert "there is no Final" in page and "Final_target" not in page


def test_ties_go_to_the_lower_threshold():
    def row(threshold, final):
        answers = {"Final_target": final}
        return Row("", {"threshold": threshold}, Summary(0.5, 0.5), answers, 0, "")

    table = [row(0.5, 0.7), row(0.2, 0.7), row(0.1, 0.6), row(0.9, None)]
    assert best_threshold(table) is table[1]
    assert best_threshold([row(0.1, None)]) is None


def test_best_gives_what_the_run_has(stored, made_data, run_eval, capfd):
    """A grid and thresholds: both overrides; the page has the curve."""
    given = [*stored, "presence=coarse_score", "ablation=presence", "ablation.windows=[1,7]"]
    given += ["ablation.taus=[0.5]", "report=html"]
    assert run_eval(given)[0] == 0
    out = made_data.root / "out"
    assert best([str(out)]) == 0
    *refine, name, threshold = capfd.readouterr().out.split()[-5:]
    assert refine == ["refine=vote", "refine.window=7", "refine.tau=0.5"]
    assert name == "presence=coarse_score"
    # 0.125 is the highest score that may go: the next thresholds of the list are 0.15, 0.2, 0.25.
    assert threshold == "presence.threshold=0.15"
    page = (out / "report" / "index.html").read_text()
    section = page[page.index('id="presence"') : page.index('id="highlights"')]
    assert section.count("<polyline") == 4 and section.count("<circle") == 23
    assert "Best by Final over target: 0.15" in section
