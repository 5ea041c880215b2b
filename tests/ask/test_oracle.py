"""The oracle's choice, by hand, and J&F of choices against eval.py's."""

import numpy as np
import pytest

from rvos.ask.oracle import oracle_decisions, score_decisions
from rvos.ask.questions import Asked
from rvos.masks import encode, read_json, write_json


@pytest.fixture
def run(made_data, run_eval):
    """Masklet 1, the still square, loses six tenths of its area (J 0.4) in video "long"."""
    pixels = np.zeros((40, 60))
    pixels[20:24, 40:50] = 1
    made_data.masklets["long"]["square"][1] = [encode(pixels)] * 7
    arguments = made_data.write()
    status, errors = run_eval(arguments)
    assert status == 0, errors
    return made_data.root, arguments


def test_per_target_the_best_masklet_from_half_on(run):
    root, _ = run
    best = oracle_decisions(root / "out", Asked.of(root / "out"))
    absent = {"present": False, "masklets": []}
    assert best["short"] == {
        "0": {"present": True, "masklets": [0]},
        "1": {"present": True, "masklets": [0, 1]},
        "2": absent,
    }
    assert best["long"]["1"] == {"present": True, "masklets": [0]} and best["long"]["2"] == absent


def test_scores_are_those_of_eval(run, run_eval):
    """Also where no masklet is named and the run's windows stay."""
    root, arguments = run
    asked = Asked.of(root / "out")
    decisions = {v: dict(d) for v, d in oracle_decisions(root / "out", asked).items()}
    expressions = {e.expression_id: e for e in asked.split.videos[0].expressions}
    kept = {"present": True, "masklets": [], "windows": asked.windows(expressions["0"])}
    decisions["long"]["0"] = kept
    scored = score_decisions(root / "out", asked, {"mine": decisions})
    write_json(root / "mine.json", decisions)
    given = ["refine=given", f"refine.path={root / 'mine.json'}", f"output_dir={root / 'given'}"]
    status, errors = run_eval([*arguments, *given])
    assert status == 0, errors
    for score, metrics in (("own", "out"), ("mine", "given")):
        values = [s.own if score == "own" else s.decided["mine"] for s in scored.values()]
        expected = read_json(root / metrics / "metrics.json")["J&F"]
        assert sum(values) / len(values) == pytest.approx(expected, abs=1e-12)
    before, after = scored["long", "0"].own, scored["long", "0"].decided["mine"]
    assert before == pytest.approx(after, abs=1e-12)


@pytest.mark.parametrize(
    "windows",
    [
        [{"start": 0, "stop": 3, "selected": [0]}, {"start": 4, "stop": 7, "selected": [0]}],
        [{"start": 0, "stop": 7, "selected": [9]}],
        [{"start": 0, "stop": 6, "selected": [0]}],
        [{"start": 0, "stop": 7}],
        ["all"],
    ],
)
def test_wrong_windows(run, run_eval, windows):
    root, arguments = run
    decisions = {
        v: dict(d) for v, d in oracle_decisions(root / "out", Asked.of(root / "out")).items()
    }
    decisions["long"]["0"] = {"present": True, "masklets": [], "windows": windows}
    write_json(root / "mine.json", decisions)
    given = ["refine=given", f"refine.path={root / 'mine.json'}", f"output_dir={root / 'given'}"]
    status, errors = run_eval([*arguments, *given])
    assert status == 1 and "video long, expression 0: " in errors and "Traceback" not in errors
