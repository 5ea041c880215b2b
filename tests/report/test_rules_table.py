"""ablation.csv and rules.csv: two views of one table; each row equals a run of its rule alone."""

import csv
import shutil
from dataclasses import dataclass, replace

import pytest

from rvos.errors import InputError
from rvos.masks import read_json, write_json
from rvos.refine import KeepCoarse, Refinement, SlidingVote, Vote
from rvos.report import Run
from rvos.report.csv_tables import write_tables
from rvos.report.metrics import Metrics
from rvos.report.rows import make_rows
from rvos.score import COARSE, Expressions, Scorer, grid, labelled, read_results


@dataclass(frozen=True)
class Own(Vote):
    """Somebody's own rule, with fields of its own."""

    mode: str
    least: int


@pytest.fixture(scope="module")
def scored(tiny, tmp_path_factory):
    """The folder of a run with a cell and four named rules."""
    rules = {
        "none": KeepCoarse(),
        "vote": Vote(window=6, tau=0.5),
        "sliding_vote": SlidingVote(window=3, tau=0.5),
        "own": Own(window=6, tau=0.5, mode="strict", least=2),
    }
    cells = grid([1, 6], [0.5], rules["vote"])
    every = labelled(Vote(6, 0.5), cells, rules)
    folder = tmp_path_factory.mktemp("scored") / "run"
    scorer = Scorer(every, {}, folder)
    for video in tiny.videos:
        scorer(video)
    results = read_results(folder, [inputs.video.name for inputs in tiny.videos])
    rows = make_rows(results, every)
    shutil.copytree(tiny.run, folder, dirs_exist_ok=True)
    metrics = Metrics.of_results(
        results,
        split="tiny",
        refine={"name": "vote", "window": 6, "tau": 0.5},
        ablation=[rows[label] for label in (COARSE, *cells)],
        rules=[rows[label] for label in rules],
    )
    write_tables(folder, metrics, results)
    assert metrics.refined == Run.read(tiny.run).metrics.refined
    return folder


def test_rows_are_those_of_single_runs(scored):
    metrics = Run.read(scored).metrics
    assert [row.label for row in metrics.rules] == ["none", "vote", "sliding_vote", "own"]
    none, vote, sliding, own = metrics.rules
    assert none.summary.JF == pytest.approx(metrics.coarse.summary.JF)
    assert vote.summary.JF == pytest.approx(metrics.refined.summary.JF)
    same = next(r for r in metrics.cells if r.settings == {"window": 6, "tau": 0.5, "agree": None})
    assert vote.sha256 == same.sha256 == own.sha256 != sliding.sha256
    assert vote.frames_kept_coarse == same.frames_kept_coarse
    assert none.settings == {} and sliding.settings == {"window": 3, "tau": 0.5, "agree": None}
    assert none.sha256 == metrics.ablation[0].sha256 and metrics.ablation[0].label == COARSE


def test_the_tables_are_those_of_the_run_alone(scored, tiny):
    """The same cells in another grid have the same rows, and every expression its scores."""
    rows = {row.label: row for row in Run.read(tiny.run).metrics.ablation}
    for row in Run.read(scored).metrics.ablation:
        assert row == rows[row.label]
    files = [folder / "per_expression.csv" for folder in (scored, tiny.run)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_metrics_are_read_as_they_were_written(scored, tiny):
    for folder in (scored, tiny.run, tiny.other):
        metrics = Metrics.read(folder)
        assert Metrics.of(metrics.as_dict()) == metrics
    assert metrics.ablation == metrics.windows == []


def test_settings_of_an_own_rule_are_further_columns(scored, make_page):
    header = (scored / "rules.csv").read_text().splitlines()[0].split(",")
    ours = ["rule", "window", "tau", "box_ratio", "agree"]
    scores = ["J", "F", "J&F", "frames_kept_coarse", "sha256"]
    scores += ["N-acc", "T-acc", "Final_all", "Final_target"]  # there are no-target expressions
    assert header == [*ours, "mode", "least", *scores]
    rules = Run.read(scored).metrics.rules
    own = {"window": 6, "tau": 0.5, "agree": None, "mode": "strict", "least": 2}
    assert rules[-1].settings == own
    page = make_page(strips=0).write(scored).read_text()
    table = page[page.index('id="rules"') : page.index('id="highlights"')]
    assert "sliding vote" in table and "mode strict" in table and "τ 0.5" in table
    assert f"{100 * rules[2].summary.JF:.2f}" in table


class Sure(Expressions):
    """Measures more where an answer shows something; each expression is a group of its own."""

    name, groups = "sure", "expressions"

    def more(self, answer, J, F, of_video):
        return {"sure": float(answer.name)} if answer.answered.any() else {}

    def units(self, video, answers, of_video):
        units = self.of_expressions(video, answers, of_video)
        return {"": [replace(unit, group=unit.name) for unit in units]}


def test_a_measure_may_lack_in_some_rules_and_expressions(tiny, tmp_path):
    """Expression 3 is answered by nothing, so that the mean goes over 0, 1 and 2."""
    rules = {"none": lambda candidates: Refinement([None] * len(candidates.coarse), (), ())}
    every = labelled(Vote(6, 0.5), rules)
    scorer = Scorer(every, {}, tmp_path, Sure())
    for video in tiny.videos:
        scorer(video)
    results = read_results(tmp_path, [inputs.video.name for inputs in tiny.videos])
    refine = {"name": "vote"}
    metrics = Metrics.of_results(results, split="tiny", refine=refine, protocol=Sure())
    assert metrics.refined.summary.more == {"sure": 1.0}
    assert metrics.refined.slices["all"]["sure"] == 1.0
    assert "sure" not in metrics.refined.slices["no_target"]
    assert results.summary("none").more == {}
    write_tables(tmp_path, metrics, results)
    with open(tmp_path / "units.csv", newline="") as file:
        units = list(csv.DictReader(file))
    assert [unit["sure"] for unit in units[:4]] == ["0.0", "1.0", "2.0", ""]
    assert [unit["coarse_J"] for unit in units] == [str(r.coarse.J) for r in results.expressions]


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("coarse", {"J": "high", "F": 0.5}, "coarse.summary.J"),
        ("num_frames", None, "num_frames"),
        ("num_frames", "36", "num_frames"),
        ("num_frames", 36.0, "num_frames"),
        ("coarse", {"J": True, "F": 0.5}, "coarse.summary.J"),
        ("coarse", {"J": "0.5", "F": 0.5}, "coarse.summary.J"),
        ("tables", {"rules": [{"label": "vote"}]}, "rules.0.settings"),
        ("coarse", [0.5], "AttributeError"),
    ],
)
def test_what_is_wrong_in_metrics_is_named(scored, tmp_path, key, value, named):
    write_json(tmp_path / "metrics.json", read_json(scored / "metrics.json") | {key: value})
    with pytest.raises(InputError, match=rf"metrics.json: not as rvos writes it: {named}.*again"):
        Metrics.read(tmp_path)
