"""`ablation=agree`: agree.csv, `best`, the page and the decisions, on made squares.

Coarse squares of 12 pixels lie (1, 1) beside the true ones: IoU is 121 / 167 = 0.7246.
"""

import csv

import pytest

from rvos.masks import read_json
from rvos.report.best import best_overrides

IOU = 121 / 167


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, run_tiny):
    given = ["ablation=agree", "ablation.agrees=[null,0.7,0.73]", "refine.agree=0.73"]
    return run_tiny(tmp_path_factory.mktemp("agree") / "run", *given, "refine.tau=0.5")


def test_the_table_has_a_row_per_value_and_the_guard_keeps_all_above_the_iou(guarded):
    table = rows(guarded / "agree.csv")
    assert [row["agree"] for row in table] == ["", "0.7", "0.73"]
    metrics = read_json(guarded / "metrics.json")
    off, below, above = (float(row["J&F"]) for row in table)
    assert off == below > metrics["coarse"]["J&F"]
    assert above == metrics["coarse"]["J&F"] == metrics["J&F"]
    frames = [int(row["frames_kept_coarse"]) for row in table]
    assert frames[2] == metrics["num_frames"] > frames[1] == frames[0]
    assert metrics["refine"]["agree"] == 0.73


def test_best_prints_the_first_of_equals(guarded):
    assert best_overrides(guarded) == [
        *("refine=vote", "refine.agree=null", "refine.window=15", "refine.tau=0.5")
    ]


def test_best_of_a_rule_without_windows(run_tiny, tmp_path):
    given = ["refine=whole_video", "refine.tau=0.5", "ablation=agree", "ablation.agrees=[null]"]
    run = run_tiny(tmp_path / "run", *given, "report=none")
    assert best_overrides(run) == ["refine=whole_video", "refine.agree=null", "refine.tau=0.5"]


def test_decisions_and_page_say_which_windows_the_guard_kept(guarded):
    decisions = read_json(guarded / "decisions" / "one.json")
    (window,) = decisions["0"]["windows"]
    assert (window["selected"], window["kept_coarse"]) == ([2], True)
    assert window["agreement"] == pytest.approx(IOU)
    assert "agreement" not in decisions["3"]["windows"][0]  # C_sel is empty: nothing was asked
    page = (guarded / "report" / "index.html").read_text()
    assert "agree ≥ 0.73" in page and 'id="agree"' in page
    assert "agree off: J&amp;F" in page and "agree 0.7: J&amp;F" in page
    assert "by the guard" in page


def test_wrong_values_are_named(run_tiny, tmp_path):
    from rvos import InputError
    from rvos.refine import KeepCoarse, Vote
    from rvos.score.ablation import agrees

    with pytest.raises(
        InputError, match="ablation.agrees: expected different values, each a number"
    ):
        agrees([None, 1.5], Vote(15, 0.8))
    with pytest.raises(InputError, match="ablation.agrees: expected different values"):
        agrees([0.5, 0.5], Vote(15, 0.8))
    with pytest.raises(InputError, match="refine.agree; expected a rule with windows.*refine=none"):
        agrees([0.5], KeepCoarse(), name="none")
    assert agrees([None, 0.5], Vote(15, 0.8)) == {
        "agree=None": Vote(15, 0.8),
        "agree=0.5": Vote(15, 0.8, agree=0.5),
    }
