"""How scores are averaged: yardsticks of the official functions, and small cases by hand."""

import csv
import json

import numpy as np
import pytest
from fork_server import forked_python
from made_data import REPOSITORY, MadeData, square
from PIL import Image

from rvos.masks import decode, encode, read_json, write_json
from rvos.report.bootstrap import Bootstrap
from rvos.report.run import Run
from rvos.score.protocols import PROTOCOLS, Unit, make_protocol, mean_of
from rvos.score.slices import final

DATA = REPOSITORY / "tests" / "data"


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def close(found, expected):
    return found == pytest.approx(expected, abs=1e-9)


# ------------------------------------------------------------------------------------- MeViS v2


@pytest.fixture(scope="module", params=["none", "vote"])
def v2(request, tmp_path_factory):
    """metrics.json and the folder of a run on the yardstick; `vote` finds no masklets."""
    import subprocess

    folder = tmp_path_factory.mktemp(request.param)
    meta = read_json(DATA / "mevis_v2" / "valid_u" / "meta_expressions_v2.json")["videos"]
    nouns = {v: dict.fromkeys(entry["expressions"], "thing") for v, entry in meta.items()}
    write_json(folder / "nouns.json", nouns)
    write_json(folder / "masklets.json", {video: {"thing": []} for video in meta})
    command = [forked_python(), "eval.py", f"data.root={DATA / 'mevis_v2'}", "coarse=files"]
    command += [f"coarse.path={DATA / 'mevis_v2' / 'coarse.json.gz'}", f"refine={request.param}"]
    command += ["masklets=files", f"masklets.path={folder / 'masklets.json'}", "report=none"]
    command += [f"masklets.nouns={folder / 'nouns.json'}", f"output_dir={folder / 'out'}"]
    if request.param != "none":  # a rule without window and tau has no grid
        command += ["ablation.windows=[5,15]", "ablation.taus=[0.5,0.8]"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return read_json(folder / "out" / "metrics.json"), folder / "out", done.stdout


def test_mevis_v2_as_the_official_functions_score_it(v2):
    metrics, folder, printed = v2
    expected = read_json(DATA / "mevis_v2" / "expected.json")
    assert metrics["protocol"] == "expressions"
    for scores in (metrics, metrics["coarse"]):
        for name in ("all", "target", "no_target", "single_target", "multi_target"):
            assert close(scores["slices"][name], expected[name]), name
        assert close(scores["N-acc"], expected["N-acc"]) and close(
            scores["T-acc"], expected["T-acc"]
        )
        for name in ("all", "target"):
            assert close(scores["Final"][name], expected[f"Final (J&F over {name})"])
        assert close(
            [scores[s] for s in ("J", "F", "J&F")], [expected["all"][s] for s in ("J", "F", "J&F")]
        )
    found = {
        (row["video"], row["expression_id"]): row for row in rows(folder / "per_expression.csv")
    }
    assert len(found) == len(expected["expressions"])
    for one in expected["expressions"]:
        row = found[one["video"], one["expression_id"]]
        assert int(row["num_targets"]) == one["targets"]
        assert bool(int(row["says_nothing"])) is one["says_nothing"]
        assert close([float(row["J"]), float(row["F"])], [one["J"], one["F"]])
    without = metrics["refine"]["name"] == "none"
    cells = [] if without else rows(folder / "ablation.csv")
    assert len(cells) == (0 if without else 5)
    for cell in cells:
        assert close(float(cell["Final_all"]), expected["Final (J&F over all)"])
        assert close(float(cell["Final_target"]), expected["Final (J&F over target)"])
        assert (float(cell["N-acc"]), float(cell["T-acc"])) == (0.5, expected["T-acc"])
    assert "Final (all)" in printed and "no target" in printed


# J&F, N-acc, T-acc, Final as published (arXiv 2608.17279, 2608.09475, 2608.23234), rounded to 1e-4.
PUBLISHED = [
    (0.7922, 0.9444, 0.9877, 0.9081),
    (0.7163, 0.9722, 0.9755, 0.8880),
    (0.7610, 0.8333, 0.9755, 0.8566),
    (0.5952, 0.7931, 0.9205, 0.7696),
    (0.5309, 0.4138, 0.9253, 0.6233),
    (0.5672, 0.4138, 0.9253, 0.6354),
    (0.4603, 0.9655, 0.5783, 0.6680),
]


@pytest.mark.parametrize("JF, n_acc, t_acc, published", PUBLISHED)
def test_final_gives_the_published_rows(JF, n_acc, t_acc, published):
    """Each of the four numbers is off by half a unit of its last digit at most."""
    assert final(JF, n_acc, t_acc) == pytest.approx(published, abs=1.0001e-4)


def test_final_needs_all_three():
    assert final(0.5, None, 1.0) is None and final(None, 1.0, 1.0) is None


def test_without_expressions_of_a_kind_their_scores_are_null(tmp_path, run_eval):
    """Never NaN, and the tables do without."""
    data = MadeData(tmp_path)
    for video in data.meta["videos"].values():
        del video["expressions"]["2"]
    assert run_eval([*data.write(), "ablation.windows=[3]", "ablation.taus=[0.5]"])[0] == 0
    text = (tmp_path / "out" / "metrics.json").read_text()
    metrics = json.loads(text)
    assert "NaN" not in text
    assert metrics["N-acc"] is None and metrics["Final"] == {"all": None, "target": None}
    assert metrics["T-acc"] == 1.0
    nothing = {"J": None, "F": None, "J&F": None, "num_expressions": 0}
    assert metrics["slices"]["no_target"] == nothing
    assert "N-acc" not in rows(tmp_path / "out" / "ablation.csv")[0]


# ---------------------------------------------------------------------------------- Ref-DAVIS17


def davis_arguments(root, coarse, out):
    return [
        *("data=ref_davis", f"data.root={root}", "coarse=files", f"coarse.path={coarse}"),
        *("refine=none", "report=html", "report.strips=0", "score.workers=1", f"output_dir={out}"),
    ]


def test_ref_davis_as_published(tmp_path, run_eval):
    root = DATA / "ref_davis"
    assert run_eval(davis_arguments(root, root / "coarse.json.gz", tmp_path))[0] == 0
    expected, metrics = read_json(root / "expected.json"), read_json(tmp_path / "metrics.json")
    assert metrics["protocol"] == "davis17"
    for scores in (metrics, metrics["coarse"]):
        assert close(
            [scores[k] for k in ("J", "F", "J&F")], [expected[k] for k in ("J", "F", "J&F")]
        )
        assert len(scores["annotators"]) == 4
        for found, one in zip(scores["annotators"], expected["annotators"], strict=True):
            assert close(found, one)
    units = {(r["group"], f"{r['video']}_{r['unit']}"): r for r in rows(tmp_path / "units.csv")}
    assert len(units) == sum(map(len, expected["objects"]))
    for annotator, objects in enumerate(expected["objects"]):
        for name, (j, f) in objects.items():
            row = units[str(annotator), name]
            assert close([float(row["J"]), float(row["F"])], [j, f])
    plain = rows(tmp_path / "per_expression.csv")
    assert close(metrics["expressions"]["J"], np.mean([float(row["J"]) for row in plain]))
    assert close(metrics["slices"]["all"]["J"], metrics["expressions"]["J"])
    assert round(100 * metrics["expressions"]["J&F"], 2) == 52.48
    assert "davis17" in (tmp_path / "report" / "index.html").read_text()
    run = Run.read(tmp_path)
    interval = run.bootstrap(resamples=100, confidence=0.95, seed=0).interval(
        run.unit_scores("refined", "J")
    )
    assert interval.mean == pytest.approx(metrics["J"], abs=1e-12)


def test_several_protocols_in_one_pass(tmp_path, run_eval):
    """The first says the score, the means of the others stand beside it."""
    root = DATA / "ref_davis"
    given = davis_arguments(root, root / "coarse.json.gz", tmp_path)
    several = "score.protocol=[davis17,expressions:strict,revos_like]"
    status, told = run_eval([*given, several])
    assert status == 1 and "score.protocol: expected one of expressions" in told
    status, told = run_eval([*given, "score.protocol=[davis17,davis17]"])
    assert status == 1 and "score.protocol: stands there twice: davis17" in told
    assert run_eval([*given, "score.protocol=[davis17,expressions:strict,unsupervised]"])[0] == 0
    expected, metrics = read_json(root / "expected.json"), read_json(tmp_path / "metrics.json")
    assert metrics["protocol"] == "davis17" and close(metrics["J"], expected["J"])
    assert close(metrics["expressions:strict"], metrics["expressions"])
    assert round(100 * metrics["expressions:strict"]["J&F"], 2) == 52.48
    assert 0 < metrics["unsupervised"]["J"] < 1 and len(metrics["annotators"]) == 4
    assert "expressions:strict" in (tmp_path / "report" / "index.html").read_text()


SIZE = (40, 60)


def write_davis(root, labels, answers):
    """One video from pictures of labels; `answers[k]` is the track of object k by all annotators.

    Returns the arguments of eval.py.
    """
    frames = [f"{t:05d}" for t in range(len(labels))]
    folder = root / "valid" / "Annotations" / "v"
    folder.mkdir(parents=True)
    for name, picture in zip(frames, labels, strict=True):
        Image.fromarray(picture).save(folder / f"{name}.png")
    ids = range(4 * len(answers))
    expressions = {str(i): {"exp": f"object {i}", "obj_id": str(i // 4 + 1)} for i in ids}
    meta = {"videos": {"v": {"expressions": expressions, "frames": frames}}}
    write_json(root / "meta_expressions" / "valid" / "meta_expressions.json", meta)
    write_json(root / "coarse.json", {"v": {str(i): answers[i // 4] for i in ids}})
    return davis_arguments(root, root / "coarse.json", root / "out")


def picture(*objects, void=None):
    """Labels 1, 2, ... of RLE masks; `void` gets 255."""
    labels = np.zeros(SIZE, np.uint8)
    for number, mask in enumerate(objects, 1):
        if mask is not None:
            labels[decode(mask) > 0] = number
    if void is not None:
        labels[decode(void) > 0] = 255
    return labels


A, B, C = square(2, 2), square(20, 20), square(40, 5)


@pytest.mark.parametrize(
    "labels, answers, published, strict",
    [
        # Swapped objects are forgiven, object against object is not.
        ([picture(A, B)] * 2, [[B, B], [A, A]], 1.0, 0.0),
        # An object that comes after the first frame is not scored: its answer, the best, is free.
        ([picture(A), picture(A, B)], [[A, A], [None, B]], 1.0, 1.0),
        # Overlaps go to the lower object: the second one loses everything. It is absent in frame 1.
        ([picture(A, B), picture(A)], [[A, A], [A, None]], (1.0 + 0.5) / 2, (1.0 + 0.5) / 2),
        # Where label 255 is, nothing is wrong.
        ([picture(A, void=B)], [[encode((decode(A) | decode(B)) > 0)]], 1.0, 1.0),
        # One answer too many: the wrong one, of object 1, is left out; strictly it counts.
        ([picture(A)], [[B], [A]], 1.0, 0.0),
    ],
    ids=["swapped", "late", "overlap", "void", "surplus"],
)
def test_davis17_by_hand(tmp_path, run_eval, labels, answers, published, strict):
    arguments = write_davis(tmp_path, labels, answers)
    assert run_eval(arguments)[0] == 0
    metrics = read_json(tmp_path / "out" / "metrics.json")
    assert metrics["J"] == pytest.approx(published) and metrics["F"] == pytest.approx(published)
    assert metrics["strict"]["J"] == pytest.approx(strict)


def test_davis17_needs_its_numbers_of_expressions(tmp_path, run_eval):
    arguments = write_davis(tmp_path, [picture(A)], [[A]])
    meta = tmp_path / "meta_expressions" / "valid" / "meta_expressions.json"
    content = read_json(meta)
    content["videos"]["v"]["expressions"].pop("3")
    write_json(meta, content)
    status, told = run_eval(arguments)
    assert status == 1 and "expected the expression ids 4 x object + annotator" in told
    assert "video v: 0, 1, 2" in told
    assert run_eval([*arguments, "score.protocol=expressions"])[0] == 0


@pytest.mark.parametrize("protocol", ["davis17", "revos"])
def test_a_protocol_of_another_dataset_is_refused(made_data, run_eval, protocol):
    status, told = run_eval([*made_data.write(), f"score.protocol={protocol}"])
    assert status == 1 and f"score.protocol={protocol}: expected" in told


def test_an_unknown_protocol_is_named(made_data, run_eval):
    status, told = run_eval([*made_data.write(), "score.protocol=coco"])
    assert status == 1 and "score.protocol: expected one of expressions, expressions:strict" in told


# ------------------------------------------------------------------------------- means of groups


def test_the_mean_of_groups():
    """(mean(0, 1) + mean(1, 1, 0.1)) / 2, not the mean over all five."""
    values = [("a", 0.0), ("a", 1.0), ("b", 1.0), ("b", 1.0), ("b", 0.1)]
    units = [
        Unit("v", str(i), group, {"x": {"J": j, "F": 0.0}}) for i, (group, j) in enumerate(values)
    ]
    assert mean_of(units, "x").J == pytest.approx((0.5 + 0.7) / 2)
    groups = [group for group, _ in values]
    bootstrap = Bootstrap(list("vvwvw"), groups, resamples=500, confidence=0.9, seed=0)
    interval = bootstrap.interval([j for _, j in values])
    assert interval.mean == pytest.approx((0.5 + 0.7) / 2)
    # Both videos drawn: 0.6; v alone: (0.5 + 1) / 2; w alone: group a is not there, (1 + 0.1) / 2.
    assert interval.low == pytest.approx(0.55) and interval.high == pytest.approx(0.75)


def test_revos_leaves_expressions_about_nothing_out():
    revos = make_protocol("revos")
    assert [revos.group(t) for t in ("referring", "reasoning", "hallucination")] == [
        "referring",
        "reasoning",
        None,
    ]


def test_every_protocol_has_its_name_and_says_what_counts():
    for name, protocol in PROTOCOLS.items():
        assert make_protocol(name).name == name == protocol.name and protocol.text
