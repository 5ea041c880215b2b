"""The report's numbers, pictures and limits, read back from the page."""

import base64
import io
import json
import re

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from rvos import InputError
from rvos.app.entry import CONFIG_DIR
from rvos.masks import encode
from rvos.report.html import check_report, write_report
from rvos.report.run import Run
from rvos.report.strips import COLORS, draw_strip, spread


@pytest.fixture(scope="module")
def page(tiny, report_settings):
    path = write_report(tiny.run, tiny.jobs, frame_path=tiny.split.frame_path, **report_settings)
    assert path == tiny.run / "report" / "index.html"
    return path.read_text(encoding="utf-8")


def details_of(page):
    text = re.search(r'<script type="application/json" id="details">(.*?)</script>', page, re.S)
    return json.loads(text[1])


def image_of(uri):
    assert uri.startswith("data:image/webp;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def test_it_holds_everything_itself(page):
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "http" not in re.sub(r'"http://www.w3.org/2000/svg"', "", page)


def test_texts_are_escaped(page):
    assert "both &lt;squares&gt;" in page and "<squares>" not in page
    assert "nothing &amp; no one" in page


def test_scores_are_those_of_the_run(page, tiny):
    run = Run.read(tiny.run)
    headline = page[page.index('id="headline"') : page.index('id="ablation"')]
    for scores in (run.metrics, run.metrics["coarse"]):
        for key in ("J", "F", "J&F"):
            assert f"{100 * scores[key]:.2f}" in headline
    change = 100 * (run.metrics["J&F"] - run.metrics["coarse"]["J&F"])
    assert f"{change:+.2f}".replace("-", "−") in headline
    heat_map = page[page.index('id="ablation"') : page.index('id="scatter"')]
    for row in run.ablation[1:]:
        assert f">{100 * row['J&F']:.1f}</td>" in heat_map
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


def test_pictures_are_limited_in_number_and_size(tiny, report_settings):
    few = write_report(tiny.run, tiny.jobs, frame_path=None, **{**report_settings, "strips": 2})
    assert ["strip" in d for d in details_of(few.read_text())] == [True] * 2 + [False] * 10
    one_kilobyte = {**report_settings, "megabytes": 1 / 1024}
    none = write_report(tiny.run, tiny.jobs, frame_path=None, **one_kilobyte)
    assert not any("strip" in d for d in details_of(none.read_text()))


def test_oracle_is_paired_with_the_run(tiny, report_settings, tmp_path):
    settings = {**report_settings, "strips": 0, "oracle": str(tiny.other)}
    page = write_report(tiny.run, tiny.jobs, frame_path=None, **settings).read_text()
    oracle = page[page.index('<tr class="oracle">') :]
    assert f"{100 * Run.read(tiny.other).metrics['J&F']:.2f}" in oracle[: oracle.index("</tr>")]
    with pytest.raises(InputError, match="report.oracle: .*metrics.json"):
        settings["oracle"] = str(tmp_path)
        write_report(tiny.run, tiny.jobs, frame_path=None, **settings)


def test_runs_beside_and_the_ablation_of_another_run(tiny, report_settings, tmp_path):
    settings = {
        **report_settings,
        "strips": 0,
        "beside": {"paper": str(tiny.run)},
        "ablation": str(tiny.run),
    }
    page = write_report(tiny.other, tiny.jobs, frame_path=None, **settings).read_text()
    beside = page[page.index('<tr class="beside">') :]
    assert f"{100 * Run.read(tiny.run).metrics['J&F']:.2f}" in beside[: beside.index("</tr>")]
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
        ("oracle", "nowhere"),
        ("beside", {"x": "nowhere"}),
        ("ablation", "nowhere"),
    ],
)
def test_settings_are_checked_before_anything_runs(report_settings, key, value):
    with pytest.raises(InputError, match=f"report.{key}: "):
        check_report(**report_settings | {key: value})


def test_an_ablation_is_needed(tiny, report_settings):
    check_report(**report_settings | {"ablation": str(tiny.run)})
    with pytest.raises(InputError, match="report.ablation: .*expected a run with an ablation"):
        check_report(**report_settings | {"ablation": str(tiny.other)})


def test_none_writes_nothing(tiny, tmp_path):
    settings = OmegaConf.to_container(OmegaConf.load(CONFIG_DIR / "report" / "none.yaml"))
    assert write_report(tmp_path, tiny.jobs, frame_path=None, **settings) is None
    assert not list(tmp_path.iterdir())


def test_choices_have_the_same_keys():
    keys = [list(OmegaConf.load(path)) for path in (CONFIG_DIR / "report").glob("*.yaml")]
    assert len(keys) == 2 and keys[0] == keys[1]


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
