"""Comparing two runs: paired differences, what changed most, and runs that cannot be compared."""

import csv
import shutil

import pytest
from commands import command

from rvos import InputError
from rvos.masks import read_json, write_json
from rvos.report import best
from rvos.report.compare import compare
from rvos.report.run import Run

SETTINGS = {"resamples": 2000, "confidence": 0.95, "seed": 0}


def test_differences_are_those_of_the_metrics(tiny):
    found = compare(tiny.run, tiny.other, **SETTINGS)
    a, b = Run.read(tiny.run).metrics, Run.read(tiny.other).metrics
    for score in ("J", "F", "J&F"):
        before, after, difference = found.scores[score]
        assert before == pytest.approx(a[score]) and after == pytest.approx(b[score])
        assert difference.mean == pytest.approx(b[score] - a[score])
        assert difference.low <= difference.mean <= difference.high
    assert ("refine.window", 6, 1) in found.settings()
    without_effect = ("output_dir", "ablation", "report", "paths")
    assert not any(key.startswith(without_effect) for key, _, _ in found.settings())


def test_a_run_against_itself_does_not_differ(tiny):
    found = compare(tiny.run, tiny.run, **SETTINGS)
    assert all(d.low == d.high == 0 for _, _, d in found.scores.values())
    assert found.num_better == found.num_worse == 0
    assert found.changed_most(10) == [] and found.settings() == []


def test_order_of_rows_does_not_matter_and_changes_are_ranked(tiny, tmp_path):
    """B is A with rows reversed and two J&F changed: one by -0.5, one by +0.25."""
    folder = tmp_path / "b"
    shutil.copytree(tiny.run, folder)
    with open(folder / "per_expression.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    one, two = rows[0], rows[5]
    one["J&F"], two["J&F"] = float(one["J&F"]) - 0.5, float(two["J&F"]) + 0.25
    with open(folder / "per_expression.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(reversed(rows))
    found = compare(tiny.run, folder, **SETTINGS)
    changed = [
        (row["video"], row["expression_id"], round(after - before, 9))
        for row, before, after in found.changed_most(10)
    ]
    assert changed == [
        (one["video"], one["expression_id"], -0.5),
        (two["video"], two["expression_id"], 0.25),
    ]
    assert (found.num_better, found.num_worse) == (1, 1)
    assert found.scores["J&F"][2].mean == pytest.approx(-0.25 / 12)


def test_runs_of_other_expressions_are_refused(tiny, tmp_path):
    folder = tmp_path / "b"
    shutil.copytree(tiny.run, folder)
    lines = (folder / "per_expression.csv").read_text().splitlines()
    (folder / "per_expression.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(InputError, match="video three, expression 3: only in"):
        compare(tiny.run, folder, **SETTINGS)


def test_command_line(tiny, tmp_path, capsys):
    main = command("compare")
    assert main([str(tiny.run), str(tiny.other)]) == 0
    out = capsys.readouterr().out
    assert "save_dir" not in out and "root_dir" not in out  # follow from the run folder
    assert "N-acc" in out and "Final (target)" in out and "protocol expressions" in out
    assert "refine.window: 6 -> 1" in out and "12 expressions in 3 videos" in out
    assert main([str(tiny.run), str(tmp_path)]) == 1
    assert "found no metrics.json" in capsys.readouterr().err


def test_runs_of_other_protocols_are_refused(tiny, tmp_path):
    folder = shutil.copytree(tiny.other, tmp_path / "other")
    metrics = read_json(folder / "metrics.json")
    write_json(folder / "metrics.json", metrics | {"protocol": "davis17"})
    with pytest.raises(InputError, match="scored by the protocol davis17, expected .* expressions"):
        compare(tiny.run, folder, **SETTINGS)


def test_the_best_cell_is_given_as_overrides(tiny, capsys):
    """The first of the cells with the highest J&F; a run without an ablation is refused."""
    rows = Run.read(tiny.run).ablation[1:]
    first = next(row for row in rows if row["J&F"] == max(row["J&F"] for row in rows))
    assert best.main([str(tiny.run)]) == 0
    expected = f"refine.window={first['window']} refine.tau={first['tau']}\n"
    assert capsys.readouterr().out == expected
    assert command("best")([str(tiny.other)]) == 1
    assert "ablation.csv: no such file" in capsys.readouterr().err


def test_answers_have_intervals_of_their_own(tiny, tmp_path):
    """Of 12 expressions the first two have no target: A answers both with masks, B one of them.

    B also says nothing about one of the ten others, so N-acc is +1/2, T-acc -1/10, and Final is a
    third of both while J&F stays.
    """
    folders = tmp_path / "a", tmp_path / "b"
    for folder, silent in zip(folders, (set(), {0, 2}), strict=True):
        shutil.copytree(tiny.run, folder)
        with open(folder / "per_expression.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        for i, row in enumerate(rows):
            row |= {"num_targets": int(i > 1), "says_nothing": int(i in silent), "J&F": 0.5}
        with open(folder / "per_expression.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        content = read_json(folder / "metrics.json")
        known = {"N-acc": 0.5, "T-acc": 0.9, "Final": {"all": 0.6, "target": 0.6}}
        write_json(folder / "metrics.json", content | known)
    answers = compare(*folders, **SETTINGS).answers
    assert list(answers) == ["N-acc", "T-acc", "Final (all)", "Final (target)"]
    assert answers["N-acc"][:2] == pytest.approx((0, 0.5))
    assert answers["T-acc"][:2] == pytest.approx((1, 0.9))
    for name in ("Final (all)", "Final (target)"):
        before, after, difference = answers[name]
        assert (before, after) == pytest.approx((0.5, (0.5 + 0.5 + 0.9) / 3))
        assert difference.mean == pytest.approx(after - before)
        assert difference.low <= difference.mean <= difference.high
