"""Comparing two runs: paired differences, what changed most, and runs that cannot be compared."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from commands import command

from rvos import InputError
from rvos.masks import read_json, write_json
from rvos.report import best
from rvos.report.compare import compare
from rvos.report.metrics import Metrics
from rvos.report.run import Run
from rvos.score.measures import Summary
from rvos.score.results import VideoFiles

SETTINGS = {"resamples": 2000, "confidence": 0.95, "seed": 0}


def test_differences_are_those_of_the_metrics(tiny):
    found = compare(tiny.run, tiny.other, **SETTINGS)
    a, b = (Run.read(run).metrics.refined.summary.as_dict() for run in (tiny.run, tiny.other))
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


def rewritten(run, folder, change):
    """A copy of a run whose videos' scores are what `change` makes of {name: VideoResult}."""
    shutil.copytree(run, folder)
    metrics, files = Metrics.read(folder), VideoFiles(folder)
    results = change({name: files.read(name) for name in metrics.videos})
    for name, result in results.items():
        files.write(SimpleNamespace(name=name), "", result)
    kept = {"videos": list(results)}
    for label in ("coarse", "refined"):
        scores = [u.scores[label] for result in results.values() for u in result.units[""]]
        J, F = (float(np.mean([score[key] for score in scores])) for key in "JF")
        kept[label] = replace(getattr(metrics, label), summary=Summary(J, F))
    replace(metrics, **kept).write(folder)
    return folder


def with_refined(result, **changes):
    """An expression's result with other scores of the run's rule."""
    refined = replace(result.refined, **changes)
    return replace(result, scores={**result.scores, "refined": refined})


def test_one_video_has_no_interval(tiny, make_page, tmp_path, capsys):
    """Whatever is resampled of one video is that video: no interval could exclude anything."""
    a, b = (
        rewritten(run, tmp_path / run.name, lambda results: {"one": results["one"]})
        for run in (tiny.other, tiny.run)
    )
    assert command("compare")([str(a), str(b)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(" J&F ")]
    assert rows and not any("*" in row or ".." in row for row in rows)
    page = make_page(strips=0).write(b).read_text()
    headline = page[page.index('id="headline"') : page.index('id="kinds"')]
    assert "One video gives no intervals" in headline and "excludes 0" not in headline
    assert 'class="interval"' not in headline and " in 1 video " in page


def test_order_of_rows_does_not_matter_and_changes_are_ranked(tiny, tmp_path):
    """B is A with videos reversed and two J&F changed: one by -0.5, one by +0.25."""
    changed = {("one", "0"): -0.5, ("two", "1"): 0.25}

    def change(videos):
        for video in videos.values():
            for i, r in enumerate(video.expressions):
                by = changed.get((r.video, r.expression_id), 0)
                J, F = r.refined.J + by, r.refined.F + by
                video.expressions[i] = with_refined(r, J=J, F=F)
                scores = {**video.units[""][i].scores, "refined": {"J": J, "F": F}}
                video.units[""][i] = replace(video.units[""][i], scores=scores)
        return dict(reversed(videos.items()))

    comparison = compare(tiny.run, rewritten(tiny.run, tmp_path / "b", change), **SETTINGS)
    ranked = {
        (result.video, result.expression_id): round(after - before, 9)
        for result, before, after in comparison.changed_most(10)
    }
    assert list(ranked.items()) == list(changed.items())
    assert (comparison.num_better, comparison.num_worse) == (1, 1)
    assert comparison.scores["J&F"][2].mean == pytest.approx(-0.25 / 12)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("scored_as_empty",), "0"),
        (("lacking",), {"F": 1}),
        (("units", "", 0, 2, "values", 0, 0), "0.5"),
        (("units", "", 0, 0), 3),
        (("units", "", 0, 2, "values", 0, 0), 0.125),  # J: another mean than in metrics.json
        (("units", "", 0, 2, "values", 0, 0), float("nan")),
        (("expressions", "0", "num_frames"), 12.0),
        (("expressions", "0", "num_targets"), True),
        (("expressions", "0", "scores", "values", 0, 0), [0.5]),
        (("expressions", "0", "scores", "labels", 0), None),
    ],
)
def test_scores_of_a_video_are_read_as_they_were_written(tiny, tmp_path, place, value):
    """Nothing is taken for a number that rvos would have written otherwise."""
    shutil.copytree(tiny.run, tmp_path / "run")
    path = tmp_path / "run" / "videos" / "one.json.gz"
    content = node = read_json(path)
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    write_json(path, content)
    with pytest.raises(InputError, match=r"(one.json.gz|metrics.json): .*again"):
        Run.read(tmp_path / "run")


@pytest.mark.parametrize(
    ("key", "value"),
    [("coarse", {"0": True}), ("truth", {"0": 1.0}), ("coarse", {"0": -1}), ("tracks", None)],
)
def test_masks_of_a_video_are_found_as_they_were_written(tiny, tmp_path, key, value):
    shutil.copytree(tiny.run, tmp_path / "run")
    path = tmp_path / "run" / "inputs" / "one.json.gz"
    write_json(path, read_json(path) | {key: value})
    with pytest.raises(InputError, match="inputs/one: .*again"):
        Run.read(tmp_path / "run").video("one")


def test_runs_of_other_expressions_are_refused(tiny, tmp_path):
    def change(videos):
        del videos["three"].expressions[-1]
        return videos

    with pytest.raises(InputError, match="video three, expression 3: only in"):
        compare(tiny.run, rewritten(tiny.run, tmp_path / "b", change), **SETTINGS)


def test_command_line(tiny, tmp_path, capsys):
    main = command("compare")
    assert main([str(tiny.run), str(tiny.other)]) == 0
    out = capsys.readouterr().out
    assert "save_dir" not in out and "root_dir" not in out  # follow from the run folder
    assert "N-acc" in out and "Final (target)" in out and "protocol expressions" in out
    assert "refine.window: 6 -> 1" in out and "12 expressions in 3 videos" in out
    assert main([str(tiny.run), str(tmp_path)]) == 1
    assert "found no metrics.json" in capsys.readouterr().err


def test_brackets_in_a_sentence_are_no_markup(tiny, tmp_path, capsys):
    def change(videos):
        for video in videos.values():
            video.expressions[:] = [
                with_refined(replace(r, expression="the dog [/b]"), J=0.0, F=0.0)
                for r in video.expressions
            ]
        return videos

    other = rewritten(tiny.run, tmp_path / "b", change)
    assert command("compare")([str(tiny.run), str(other)]) == 0
    assert "the dog [/b]" in capsys.readouterr().out


def test_runs_of_other_protocols_are_refused(tiny, tmp_path):
    folder = shutil.copytree(tiny.other, tmp_path / "other")
    metrics = read_json(folder / "metrics.json")
    write_json(folder / "metrics.json", metrics | {"protocol": "davis17"})
    with pytest.raises(InputError, match="scored by the protocol davis17, expected .* expressions"):
        compare(tiny.run, folder, **SETTINGS)


def test_the_best_cell_is_given_as_overrides(tiny, capsys):
    """The first of the cells with the highest J&F; a run without an ablation is refused."""
    rows = Run.read(tiny.run).metrics.cells
    highest = max(row.summary.JF for row in rows)
    first = next(row for row in rows if row.summary.JF == highest).settings
    assert best.main([str(tiny.run)]) == 0
    expected = f"refine=vote refine.window={first['window']} refine.tau={first['tau']}\n"
    assert capsys.readouterr().out == expected
    assert command("best")([str(tiny.other)]) == 1
    assert "expected a grid (ablation=grid" in capsys.readouterr().err


def test_answers_have_intervals_of_their_own(tiny, tmp_path):
    """Of 12 expressions the first two have no target: A answers both with masks, B one of them.

    B also says nothing about one of the ten others, so N-acc is +1/2, T-acc -1/10, and Final is a
    third of both while J&F stays.
    """

    def answering(silent):
        def change(videos):
            i = 0
            for video in videos.values():
                for at, result in enumerate(video.expressions):
                    same = with_refined(result, J=0.5, F=0.5, says_nothing=i in silent)
                    video.expressions[at] = replace(same, num_targets=int(i > 1))
                    i += 1
            return videos

        return change

    cases = {"a": answering(set()), "b": answering({0, 2})}
    folders = [rewritten(tiny.run, tmp_path / name, change) for name, change in cases.items()]
    answers = compare(*folders, **SETTINGS).scores
    assert list(answers)[3:] == ["N-acc", "T-acc", "Final (all)", "Final (target)"]
    assert answers["N-acc"][:2] == pytest.approx((0, 0.5))
    assert answers["T-acc"][:2] == pytest.approx((1, 0.9))
    for name in ("Final (all)", "Final (target)"):
        before, after, difference = answers[name]
        assert (before, after) == pytest.approx((0.5, (0.5 + 0.5 + 0.9) / 3))
        assert difference.mean == pytest.approx(after - before)
        assert difference.low <= difference.mean <= difference.high
