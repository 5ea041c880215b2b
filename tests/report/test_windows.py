"""windows.csv: the grid at one threshold, beside runs that are made of each window alone."""

import re

import pytest
from commands import command

from rvos import preset
from rvos.report import best
from rvos.report.compare import compare
from rvos.report.run import Run, read_csv


def test_changes_are_those_between_runs_of_each_window(tiny):
    """`run` has windows of 6 frames and the grid, `other` windows of 1, both tau 0.5."""
    first, last = Run.read(tiny.run).windows
    assert [(row["window"], row["tau"]) for row in (first, last)] == [(1, 0.5), (6, 0.5)]
    settings = {key: preset("report", "html")[key] for key in ("resamples", "confidence", "seed")}
    before, after, change = compare(tiny.other, tiny.run, **settings).scores["J&F"]
    assert (first["J&F"], last["J&F"]) == pytest.approx((before, after))
    found = [last[f"over_shortest{end}"] for end in ("", "_low", "_high")]
    assert found == pytest.approx([change.mean, change.low, change.high])
    assert change.mean > 0 and not any(
        first[f"over_shortest{end}"] for end in ("", "_low", "_high")
    )
    metrics = Run.read(tiny.run).metrics
    assert last["over_coarse"] == pytest.approx(metrics["J&F"] - metrics["coarse"]["J&F"])
    assert last["over_coarse_low"] <= last["over_coarse"] <= last["over_coarse_high"]
    assert Run.read(tiny.other).windows == ()


def test_the_page_shows_them(tiny):
    page = tiny.page.decode()
    section = page[page.index('<section id="windows">') :]
    section = section[: section.index("</section>")]
    assert re.findall(r"<title>W (\d+):", section) == ["1", "6"]
    assert b'<section id="windows">' not in (tiny.other / "report/index.html").read_bytes()


def test_the_best_threshold_of_one_window(tiny, capsys):
    cells = [row for row in read_csv(tiny.run / "ablation.csv") if row["window"] == 1]
    expected = max(cells, key=lambda row: row["J&F"])["tau"]
    assert best.main([str(tiny.run), "--window", "1"]) == 0
    assert capsys.readouterr().out == f"refine.window=1 refine.tau={expected}\n"
    assert command("best")([str(tiny.run), "--window", "7"]) == 1
    assert "expected window 7, found windows [1, 6]" in capsys.readouterr().err
