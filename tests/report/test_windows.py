"""The grid at one threshold, beside runs that are made of each window alone."""

import csv
import re

import pytest
from commands import command

from rvos import preset
from rvos.report import best
from rvos.report.bootstrap import Interval
from rvos.report.compare import compare
from rvos.report.run import Run


def test_changes_are_those_between_runs_of_each_window(tiny):
    """`run` has windows of 6 frames and the grid, `other` windows of 1, both tau 0.5."""
    metrics = Run.read(tiny.run).metrics
    first, last = metrics.windows
    assert [(row.window, row.tau) for row in (first, last)] == [(1, 0.5), (6, 0.5)]
    settings = {key: preset("report", "html")[key] for key in ("resamples", "confidence", "seed")}
    before, after, change = compare(tiny.other, tiny.run, **settings).scores["J&F"]
    assert (first.JF, last.JF) == pytest.approx((before, after))
    assert last.over_shortest == change and change.mean > 0
    assert first.over_shortest == Interval(0, 0, 0)
    gain = metrics.refined.summary.JF - metrics.coarse.summary.JF
    assert last.over_coarse.mean == pytest.approx(gain)
    assert last.over_coarse.low <= gain <= last.over_coarse.high
    assert Run.read(tiny.other).metrics.windows == []


def test_the_file_has_them_with_the_name_of_the_rule(tiny):
    row = Run.read(tiny.run).metrics.windows[1]
    with open(tiny.run / "windows.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert (last["rule"], last["window"], float(last["J&F"])) == ("vote", "6", row.JF)
    assert float(last["over_shortest_low"]) == row.over_shortest.low
    assert float(last["over_coarse_high"]) == row.over_coarse.high


def test_the_page_shows_them(tiny):
    page = tiny.page.decode()
    section = page[page.index('<section id="windows">') :]
    section = section[: section.index("</section>")]
    assert re.findall(r"<title>W (\d+):", section) == ["1", "6"]
    assert b'<section id="windows">' not in (tiny.other / "report/index.html").read_bytes()


def test_the_best_threshold_of_one_window(tiny, capsys):
    cells = [r for r in Run.read(tiny.run).metrics.cells if r.settings["window"] == 1]
    expected = max(cells, key=lambda row: row.summary.JF).settings["tau"]
    assert best.main([str(tiny.run), "--window", "1"]) == 0
    assert capsys.readouterr().out == f"refine=vote refine.window=1 refine.tau={expected}\n"
    assert command("best")([str(tiny.run), "--window", "7"]) == 1
    assert "expected window 7, found windows [1, 6]" in capsys.readouterr().err
