"""rules.csv: the scores of rules that an ablation lists, beside a run of each alone."""

import shutil

import pytest

from rvos.refine import KeepCoarse, SlidingVote, Vote
from rvos.report.html import write_report
from rvos.report.rules import write_rules
from rvos.report.run import Run
from rvos.score.ablation import Hashes, grid
from rvos.score.evaluate import evaluate


def test_rows_are_those_of_single_runs_and_stand_in_the_report(tiny, tmp_path, report_settings):
    rules = {
        "none": KeepCoarse(),
        "vote": Vote(window=6, tau=0.5),
        "sliding_vote": SlidingVote(window=3, tau=0.5),
    }
    cells = [*grid([1], [0.5]), *rules.values()]
    results, hashes = [], Hashes(1 + len(cells))
    for video in evaluate(tiny.jobs, Vote(6, 0.5), cells, tmp_path / "again", workers=1):
        for result in video:
            hashes.update(result.fingerprint)
            results.append(result)
    folder = tmp_path / "run"
    shutil.copytree(tiny.run, folder)
    write_rules(folder, results, rules, hashes.hexdigests(), first=1)

    run = Run.read(folder)
    assert [row["rule"] for row in run.rules] == list(rules)
    none, vote, sliding = run.rules
    assert none["J&F"] == pytest.approx(run.metrics["coarse"]["J&F"])
    assert vote["J&F"] == pytest.approx(run.metrics["J&F"])
    same = next(r for r in run.ablation if (r["window"], r["tau"]) == (6, 0.5))
    assert vote["sha256"] == same["sha256"] != sliding["sha256"]
    assert vote["frames_kept_coarse"] == same["frames_kept_coarse"]
    assert (none["window"], none["tau"]) == (None, None) and sliding["window"] == 3

    settings = {**report_settings, "strips": 0}
    page = write_report(folder, tiny.jobs, frame_path=None, **settings).read_text()
    table = page[page.index('id="rules"') : page.index('id="highlights"')]
    assert "sliding vote" in table and f"{100 * sliding['J&F']:.2f}" in table
