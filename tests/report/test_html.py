"""The report's numbers, pictures and limits, read back from the page."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import command
from PIL import Image

import rvos
from rvos import InputError, SettingsError, preset
from rvos.masks import encode
from rvos.report import NoPage, Run
from rvos.report.strips import COLORS, draw_strip, spread

main = command("report")


@pytest.fixture(scope="module")
def page(tiny):
    """As eval.py wrote it."""
    return tiny.page.decode()


def details_of(page):
    text = re.search(r'<script type="application/json" id="details">(.*?)</script>', page, re.S)
    return json.loads(text[1])


def image_of(uri):
    assert uri.startswith("data:image/webp;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def refined_JF(folder):
    return Run.read(folder).metrics.refined.summary.JF


def test_it_holds_everything_itself(page):
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "http" not in re.sub(r'"http://www.w3.org/2000/svg"', "", page)


def test_texts_are_escaped(page):
    assert "both &lt;squares&gt;" in page and "<squares>" not in page
    assert "nothing &amp; no one" in page


def test_scores_are_those_of_the_run(page, tiny):
    run = Run.read(tiny.run)
    headline = page[page.index('id="headline"') : page.index('id="ablation"')]
    before, after = run.metrics.coarse.summary, run.metrics.refined.summary
    for scores in (before.as_dict(), after.as_dict()):
        for key in ("J", "F", "J&F"):
            assert f"{100 * scores[key]:.2f}" in headline
    assert f"{100 * (after.JF - before.JF):+.2f}".replace("-", "−") in headline
    heat_map = page[page.index('id="ablation"') : page.index('id="scatter"')]
    for row in run.metrics.cells:
        assert f">{100 * row.summary.JF:.1f}</td>" in heat_map
    assert len(re.findall(r'<td class="[^"]*best[^"]*"', heat_map)) == 1
    chosen = re.findall(r'<td class="[^"]*chosen"[^>]*title="([^:]*):', heat_map)
    assert chosen == ["W 6, τ 0.5"]


def test_largest_changes_come_first(page, tiny):
    differences = [float(x) for x in re.findall(r'data-difference="([^"]*)"', page)]
    assert len(differences) == len(Run.read(tiny.run).expressions) == 12
    assert np.all(np.diff(np.abs(differences)) <= 0) and differences[0] != 0


def test_timeline_is_that_of_the_decisions(page, tiny):
    order = re.findall(r'class="row".*?data-video="([^"]*)" data-id="([^"]*)"', page)
    details = dict(zip(order, details_of(page), strict=True))
    decision = json.loads((tiny.run / "decisions" / "one.json").read_text())["0"]
    assert details["one", "0"]["combinations"] == decision["combinations"]
    windows = [[w["start"], w["stop"], w["selected"]] for w in decision["windows"]]
    assert [w[:3] for w in details["one", "0"]["windows"]] == windows
    # Expression 0 jumps to the other square in frames 4 and 5; the vote undoes it exactly.
    assert details["one", "0"]["J"]["coarse"][4] == 0
    assert details["one", "0"]["J"]["refined"] == [100] * 12


def test_strips_show_frames_where_there_are_any(page):
    order = re.findall(r'class="row".*?data-video="([^"]*)" data-id="([^"]*)"', page)
    details = dict(zip(order, details_of(page), strict=True))
    with_frames = details["one", "0"]["strip"]
    assert with_frames["names"] == [f"{t:05d}" for t in (1, 3, 5, 7, 9, 11)]
    assert image_of(with_frames["images"]["truth"])[-3, 3, 2] == pytest.approx(120, abs=12)
    grey = image_of(details["two", "0"]["strip"]["images"]["truth"])[-3, 3]
    assert np.ptp(grey.astype(int)) < 12


def test_pictures_are_limited_in_number_and_size(tiny, make_page):
    few = make_page(strips=2).write(tiny.run)
    assert ["strip" in d for d in details_of(few.read_text())] == [True] * 2 + [False] * 10
    none = make_page(megabytes=1 / 1024).write(tiny.run)
    assert not any("strip" in d for d in details_of(none.read_text()))


def test_oracle_is_paired_with_the_run(tiny, make_page, tmp_path):
    page = make_page(strips=0, oracle=str(tiny.other)).write(tiny.run).read_text()
    oracle = page[page.index('<tr class="oracle">') :]
    assert (
        f"{100 * Run.read(tiny.other).metrics.refined.summary.JF:.2f}"
        in oracle[: oracle.index("</tr>")]
    )
    with pytest.raises(InputError, match="report.oracle: .*metrics.json"):
        make_page(strips=0, oracle=str(tmp_path)).write(tiny.run)


def test_runs_to_compare_with_and_the_ablation_of_another_run(tiny, make_page):
    page = make_page(strips=0, compare_with={"paper": str(tiny.run)}, ablation=str(tiny.run))
    page = page.write(tiny.other).read_text()
    compared = page[page.index('<tr class="compared">') :]
    assert (
        f"{100 * Run.read(tiny.run).metrics.refined.summary.JF:.2f}"
        in compared[: compared.index("</tr>")]
    )
    assert "Paper: vote, window 6" in page
    heat_map = page[page.index('id="ablation"') : page.index('id="scatter"')]
    (chosen,) = re.findall(r'<td class="[^"]*chosen"[^>]*title="([^:]*):', heat_map)
    assert chosen == "W 1, τ 0.5"  # of the run whose page it is
    assert "scores above are of another split" in heat_map


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("frames", 0),
        ("strips", -1),
        ("resamples", 0),
        ("confidence", 1.0),
        ("width", None),
        ("seed", -1),
        ("megabytes", "8"),
        ("oracle", "nowhere"),
        ("compare_with", {"x": "nowhere"}),
        ("ablation", "nowhere"),
    ],
)
def test_settings_are_checked_before_anything_runs(make_page, key, value):
    with pytest.raises(InputError, match=f"report.{key}: "):
        make_page(**{key: value}).check()


def test_all_wrong_settings_are_named_at_once(make_page):
    with pytest.raises(SettingsError) as error:
        make_page(strips=-1, confidence=2, width=0)
    assert [p.partition(":")[0] for p in error.value.problems] == [
        "report.confidence",
        "report.strips",
        "report.width",
    ]
    with pytest.raises(SettingsError) as error:
        make_page(oracle="a", compare_with={"x": "b", "y": "c"}, ablation="d").check()
    assert len(error.value.problems) == 4


def test_an_ablation_is_needed(tiny, make_page):
    make_page(ablation=str(tiny.run)).check()
    with pytest.raises(InputError, match="report.ablation: .*expected a run with an ablation"):
        make_page(ablation=str(tiny.other)).check()


def test_none_writes_nothing_and_has_the_keys_of_the_interval_alone(tmp_path):
    settings = preset("report", "none")
    assert settings.pop("_target_") == "rvos.report.NoPage" and settings.pop("name") == "none"
    page = NoPage(**settings)
    page.check()
    assert page.write(tmp_path) is None and not list(tmp_path.iterdir())
    assert page.bootstrap == settings == {k: preset("report", "html")[k] for k in settings}
    with pytest.raises(InputError, match="^resamples: expected"):
        NoPage(**settings | {"resamples": 0})


# -------------------------------------------------------------------------------- made again


def test_made_again_it_is_the_same_page(tiny, make_page, capsys):
    path = make_page(strips=0).write(tiny.run)
    assert path.read_bytes() != tiny.page
    assert main([str(tiny.run)]) == 0
    assert path.read_bytes() == tiny.page
    assert str(path) in capsys.readouterr().out


def test_flags_win_over_the_settings_of_the_run(tiny, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(tiny.run, folder)
    flags = ["--strips=2", "--frames=3", "--width=40", "--oracle", str(tiny.other)]
    assert main([str(folder), *flags, "--compare-with", f"paper={tiny.other}"]) == 0
    page = (folder / "report" / "index.html").read_text()
    details = details_of(page)
    assert ["strip" in d for d in details] == [True] * 2 + [False] * 10
    assert details[0]["strip"]["size"] == [40 * 3 + 4 * 2, 24]
    assert 'class="oracle"' in page and "Paper: vote, window 1" in page
    assert main([str(folder), "--frames=0", "--confidence=1"]) == 1
    errors = capsys.readouterr().err
    assert "report.frames" in errors and "report.confidence" in errors
    assert main([str(folder), "--compare-with", "paper"]) == 1
    assert "LABEL=RUN" in capsys.readouterr().err


def test_a_run_is_enough(tiny, tmp_path):
    """Data, masks and stores are gone: the same page with grey frames."""
    data, folder = tmp_path / "data", tmp_path / "run"
    shutil.copytree(tiny.data / "tiny", data / "tiny")
    shutil.copytree(tiny.run, folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(str(tiny.data), str(data)))
    assert str(data) in config.read_text()
    path = folder / "report" / "index.html"
    pages = []
    for rest in (data, None):
        if rest is None:
            shutil.rmtree(data)
        assert main([str(folder)]) == 0
        pages.append(path.read_text())
    before, after = (
        re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.S)
        for page in pages
    )
    assert before == after
    same = []
    for old, new in zip(*map(details_of, pages), strict=True):
        strips = old.pop("strip"), new.pop("strip")
        assert old == new
        same.append(strips[0]["images"] == strips[1]["images"])
        grey = image_of(strips[1]["images"]["truth"])[-3, 3]
        assert np.ptp(grey.astype(int)) < 12
    assert same.count(False) == 4  # the video that had images


def test_a_run_of_an_older_version_says_what_to_do(tiny, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(tiny.run, folder)
    shutil.rmtree(folder / "inputs")
    assert main([str(folder)]) == 1
    error = capsys.readouterr().err
    assert "inputs/one.json.gz" in error and "eval.py writes it: run it again" in error


def test_strip_paints_the_mask_and_outlines_the_truth():
    """A 40 x 80 frame drawn half as large: the mask's left half is orange, the right stays grey."""
    pixels = np.zeros((40, 80), bool)
    pixels[:, :40] = True
    mask = encode(pixels)
    strip = draw_strip(
        {"coarse": [mask, None], "truth": [None, None]}, [0, 1], [None, None], width=40
    )
    row = strip.rows["coarse"].astype(int)
    assert row.shape == (20, 40 + 4 + 40, 3)
    assert np.abs(row[10, 5] - COLORS["coarse"]).max() < 30
    assert np.ptp(row[10, 30]) == 0 and np.ptp(row[10, 60]) == 0
    outlined = draw_strip({"coarse": [None], "truth": [mask]}, [0], [None], width=40)
    assert (outlined.rows["coarse"] > 200).all(-1).any()


def test_spread_takes_the_middles_of_equal_parts():
    assert spread(12, 6) == [1, 3, 5, 7, 9, 11]
    assert spread(3, 6) == [0, 1, 2]


@pytest.mark.parametrize("room", ["report", "ask"])
def test_scripts_keep_the_line_length_of_the_house(room):
    """They are written as `prettier --print-width 100` writes them."""
    for path in sorted((Path(rvos.__file__).parent / room / "templates").iterdir()):
        text = path.read_text()
        scripts = [text] if path.suffix == ".js" else re.findall(r"(?s)<script>.*?</script>", text)
        for line in (line for script in scripts for line in script.splitlines()):
            assert len(line) <= 100, f"{path.name}: {line}"
