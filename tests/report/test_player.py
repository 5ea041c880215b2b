"""The page's player, slices, bad cases and the page of two runs, in Chromium and by numbers."""

import base64
import gzip
import io
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from chromium import DESKTOP, PHONE, click, resize
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from rvos.masks import encode, read_json
from rvos.report.bad_cases import Facts, bad_cases
from rvos.report.bootstrap import Bootstrap
from rvos.report.clips import contours_of
from rvos.report.compare import main as compare
from rvos.report.run import Run
from rvos.report.slices import slices_of

browser = pytest.mark.browser
BOOTSTRAP = {"resamples": 2000, "confidence": 0.95, "seed": 0}


@pytest.fixture
def page(driver, tiny, make_page):
    resize(driver, DESKTOP)
    driver.get(make_page(strips=10).write(tiny.run).as_uri())
    yield driver
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def opened(page, video, key):
    """Open the row of an expression; its player."""
    row = page.find_element(By.CSS_SELECTOR, f"tr.row[data-video='{video}'][data-id='{key}']")
    click(page, row)
    under = row.find_element(By.XPATH, "following-sibling::tr[1]")
    WebDriverWait(page, 10).until(lambda _: under.find_elements(By.CSS_SELECTOR, ".player"))
    return under.find_element(By.CSS_SELECTOR, ".player")


def frame(player):
    return int(player.find_element(By.CSS_SELECTOR, "output").text.split(" / ")[0]) - 1


def pixel(player, x, y):
    """The colour of a pixel of the 80 x 48 frame, as the screen shows it."""
    canvas = player.find_element(By.TAG_NAME, "canvas")
    canvas.parent.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    with Image.open(io.BytesIO(canvas.screenshot_as_png)) as image:
        scale = image.width / 80
        return np.array(image.convert("RGB").getpixel((int((x + 0.5) * scale), int(y * scale))))


# ------------------------------------------------------------------------------ the player


@browser
def test_keys_step_and_jump_to_the_changes_of_C_t(page, tiny):
    """Expression 1 of video one follows B for 3 frames, then A."""
    decision = read_json(tiny.run / "decisions" / "one.json")["1"]
    C = decision["combinations"]
    assert [t for t in range(1, 12) if C[t] != C[t - 1]] == [3]
    player = opened(page, "one", "1")
    assert frame(player) == 0
    player.send_keys(Keys.ARROW_RIGHT)
    assert frame(player) == 1
    player.send_keys("n")
    assert frame(player) == 3
    player.send_keys("n")
    assert frame(player) == 3  # there is no other change
    player.send_keys(Keys.END)
    assert frame(player) == 11
    player.send_keys("p")
    assert frame(player) == 3
    player.send_keys(Keys.ARROW_LEFT)
    assert frame(player) == 2
    player.send_keys(Keys.HOME, Keys.ARROW_LEFT)
    assert frame(player) == 0
    click(page, player.find_element(By.CSS_SELECTOR, "[aria-label='Next change']"))
    assert frame(player) == 3
    slider = player.find_element(By.CSS_SELECTOR, "input[type=range]")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert frame(player) == 4
    player.send_keys(" ")
    WebDriverWait(page, 10).until(lambda _: frame(player) > 4)
    player.send_keys(" ")
    stopped = frame(player)
    page.execute_async_script("setTimeout(arguments[0], 500)")
    assert frame(player) == stopped


@browser
def test_it_draws_the_frame_and_the_masks_that_are_switched_on(page):
    """Frame t of video one is (30, 20 t, 120). In frame 5 the coarse mask of A is on B, at (51, 31)
    to (62, 42); the refined mask is A's, at (22, 4) to (33, 15); the distractor is at (4, 30)."""
    player = opened(page, "one", "0")
    for _ in range(5):
        player.send_keys(Keys.ARROW_RIGHT)
    background = np.array([30, 100, 120])
    WebDriverWait(page, 10).until(lambda _: np.abs(pixel(player, 70, 5) - background).max() < 12)
    places = {"coarse": (56, 36), "refined": (27, 10), "masklets": (9, 35)}
    switches = {key: player.find_element(By.NAME, key) for key in places}
    assert {key for key, s in switches.items() if s.is_selected()} == {"coarse", "refined"}
    for name in ("truth", "coarse", "refined"):
        click(page, player.find_element(By.NAME, name))
    for place in places.values():
        assert np.abs(pixel(player, *place) - background).max() < 12
    for key, place in places.items():
        click(page, switches[key])
        assert np.abs(pixel(player, *place) - background).max() > 12
        click(page, switches[key])


@browser
def test_pictures_that_do_not_fit_lie_in_a_folder(driver, tiny, make_page):
    """The page holds no more than its megabytes, and the player shows the same frames."""
    page = make_page(strips=2).write(tiny.run)
    strips = len(page.read_bytes())
    assert not (page.parent / "index_frames").exists()
    sizes = re.findall(r'"images": (\{.*?\})', page.read_text())
    megabytes = (sum(len(text) for text in sizes) + 64) / 2**20
    page = make_page(strips=2, megabytes=megabytes).write(tiny.run)
    folder = page.parent / "index_frames" / "one"
    assert len(list(folder.iterdir())) == 12 and len(page.read_bytes()) < strips
    resize(driver, DESKTOP)
    driver.get(page.as_uri())
    row = driver.find_element(By.CSS_SELECTOR, "tr.row[data-video=one][data-pictured='1']")
    player = opened(driver, "one", row.get_attribute("data-id"))
    WebDriverWait(driver, 10).until(
        lambda _: np.abs(pixel(player, 70, 5) - [30, 0, 120]).max() < 12
    )
    assert [entry["message"] for entry in driver.get_log("browser")] == []
    make_page(strips=0).write(tiny.run)
    assert not folder.exists()


@browser
def test_only_frames_that_are_shown_are_decoded(driver, tiny, make_page):
    driver.get(make_page(strips=10).write(tiny.run).as_uri())
    assert driver.execute_script("return clips.size") <= 2  # of the highlights that are open
    made = """
    const kept = window.Image; window.made = 0;
    window.Image = function () { window.made++; return new kept(); };"""
    driver.execute_script(made)
    player = opened(driver, "one", "3")
    assert driver.execute_script("return made") == 5  # the first and the four after it
    player.send_keys(Keys.ARROW_RIGHT)
    assert driver.execute_script("return made") == 6


@pytest.mark.parametrize("step", [1, 2, 5])
def test_outlines_are_those_of_the_mask(step):
    """A frame of 50 x 60 with a square from (10, 20) to (29, 39) and a hole in it: the corners."""
    pixels = np.zeros((50, 60), bool)
    pixels[20:40, 10:30] = True
    pixels[25:35, 15:25] = False
    contours = contours_of(encode(pixels), step)
    points = [np.cumsum(np.reshape(c, (-1, 2)), axis=0) for c in contours]
    boxes = sorted((*p.min(0), *p.max(0)) for p in points)
    outer = (10 // step, 20 // step, 30 // step - 1, 40 // step - 1)
    # OpenCV draws the border of a hole on the pixels around it.
    inner = (15 // step - 1, 25 // step - 1, 25 // step, 35 // step)
    assert boxes == [outer, inner]


def packed_clip(page, number=0):
    text = re.search(rf'id="clip-{number}">([^<]*)<', page)[1]
    return json.loads(gzip.decompress(base64.b64decode(text)))


def test_without_their_file_there_are_no_masklets(tiny, make_page, tmp_path):
    page = make_page(strips=12).write(tiny.run).read_text()
    assert len(packed_clip(page)["layers"]["0"]["masklets"]) == 3
    folder = tmp_path / "run"
    shutil.copytree(tiny.run, folder)
    (folder / "masklets.json").write_text('{"path": "gone.json", "by_expression": false}')
    page = make_page(strips=12).write(folder).read_text()
    assert set(packed_clip(page)["layers"]["0"]) == {"coarse", "refined", "truth"}


# ------------------------------------------------------------------- slices and bad cases


def test_slices_are_means_over_their_expressions_with_paired_intervals(tiny):
    run = Run.read(tiny.run)
    order = list(range(12))[::-1]
    sizes = {(v, k): None if k == "3" else 0.0375 for v, k in run.identities}
    words = {"motion": ["moves"], "static": ["standing"]}
    slices = slices_of(run, order, sizes, words, **BOOTSTRAP)
    by_name = {(kind, s.name): s for kind, found in slices.items() for s in found}
    assert set(slices) == {"Number of targets", "Words", "Words in the expression", "Noun"}
    keys = lambda rows: {run.identities[order[row]][1] for row in rows}  # noqa: E731
    for name, key in (("motion words", "0"), ("static words", "1")):
        found = by_name["Words", name]
        assert keys(found.rows) == {key} and found.num_videos == 3
        members = [i for i, (_, k) in enumerate(run.identities) if k == key]
        refined, coarse = run.JF("refined")[members], run.JF("coarse")[members]
        assert found.refined.mean == pytest.approx(refined.mean())
        assert found.change.mean == pytest.approx((refined - coarse).mean())
        alone = Bootstrap([run.expressions[i].video for i in members], **BOOTSTRAP)
        expected = alone.interval(refined - coarse)
        assert (found.change.low, found.change.high) == pytest.approx((expected.low, expected.high))
    assert keys(by_name["Words", "none of these"].rows) == {"2", "3"}
    assert keys(by_name["Number of targets", "no target"].rows) == {"3"}
    assert keys(by_name["Number of targets", "2"].rows) == {"2"}
    assert keys(by_name["Words in the expression", "up to 4"].rows) == {"1", "2", "3"}


def track(*boxes):
    found = []
    for box in boxes:
        pixels = np.zeros((10, 10), bool)
        if box:
            pixels[box[0] : box[1]] = True
        found.append(encode(pixels) if box else None)
    return found


def test_bad_cases_are_silent_expressions_and_one_answer_to_two():
    """b has 80 of a's 100 pixels, all inside: IoU 0.8. c has 70 of 100: 0.7 is not above 0.7. d has
    a's masks but a's target too; e has a target and no mask, f neither."""
    target, other = track((0, 5), (0, 5)), track((5, 9), (5, 9))
    refined = {
        "a": track((0, 5), (0, 5)),
        "b": track((0, 5), (0, 3)),
        "c": track((0, 5), (0, 2)),
        "d": track((0, 5), (0, 5)),
        "e": track(None, None),
        "f": track(None, None),
    }
    truth = {"a": target, "b": other, "c": other, "d": target, "e": other, "f": track(None, None)}
    tracks = {key: {"refined": refined[key], "truth": truth[key]} for key in refined}
    facts = Facts()
    facts.add(SimpleNamespace(name="v", tracks=tracks))
    pairs = {(a, b): iou for _, a, b, iou in facts.mistaken}
    assert pairs == {("a", "b"): pytest.approx(0.8), ("b", "d"): pytest.approx(0.8)}
    assert facts.sizes["v", "a"] == 0.5 and facts.sizes["v", "b"] == 0.4
    assert facts.sizes["v", "f"] is None
    results = [
        SimpleNamespace(num_targets=int(k != "f"), refined=SimpleNamespace(says_nothing=k in "ef"))
        for k in refined
    ]
    run = SimpleNamespace(expressions=results, identities=[("v", k) for k in refined])
    position = {("v", key): row for row, key in enumerate("fedcba")}
    bad = bad_cases(run, facts, position)
    assert bad["silent"] == [1]
    assert [pair[:2] for pair in bad["pairs"]] == [(5, 4), (4, 2)]


@browser
def test_a_slice_filters_the_table(page):
    click(page, page.find_element(By.CSS_SELECTOR, "[data-name='Noun: thing']"))
    shown = [r for r in page.find_elements(By.CSS_SELECTOR, "tr.row") if r.is_displayed()]
    assert [row.get_attribute("data-noun") for row in shown] == ["thing"] * 3
    chip = page.find_element(By.ID, "slice")
    assert chip.text == "Noun: thing ✕"
    page.find_element(By.ID, "filter").send_keys("two")
    assert page.find_element(By.ID, "count").text == "1 of 12"
    page.find_element(By.ID, "filter").clear()
    page.find_element(By.ID, "filter").send_keys(" ")
    click(page, chip)
    assert page.find_element(By.ID, "count").text == "12 of 12" and not chip.is_displayed()


@browser
def test_bad_cases_are_listed_and_show_their_rows(page):
    """Expressions 0 and 2 of a video get A alone, expression 1 of it too where most frames do."""
    pairs = page.find_elements(By.CSS_SELECTOR, "#bad .pairs li")
    assert pairs
    click(page, pairs[0].find_element(By.TAG_NAME, "button"))
    shown = [r for r in page.find_elements(By.CSS_SELECTOR, "tr.row") if r.is_displayed()]
    assert len(shown) == 2 and len({row.get_attribute("data-video") for row in shown}) == 1


# ---------------------------------------------------------------------- two runs on one page


@pytest.fixture(scope="module")
def compared(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("compare") / "page.html"
    assert compare([str(tiny.run), str(tiny.other), "--page", str(path)]) == 0
    return path


@browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_two_runs_stand_side_by_side(driver, compared, tiny, size):
    resize(driver, size)
    driver.get(compared.as_uri())
    a, b = Run.read(tiny.run).metrics, Run.read(tiny.other).metrics
    text = driver.find_element(By.ID, "headline").text
    assert f"J&F {100 * a.refined.summary.JF:.2f} {100 * b.refined.summary.JF:.2f}" in text
    assert "refine.window 6 1" in driver.find_element(By.ID, "settings").text
    Select(driver.find_element(By.ID, "show")).select_by_value("changed")
    rows = [r for r in driver.find_elements(By.CSS_SELECTOR, "tr.row") if r.is_displayed()]
    assert len(rows) == 6
    click(driver, rows[0].find_element(By.CSS_SELECTOR, "td button"))
    under = driver.find_element(By.CSS_SELECTOR, "tr.opened")
    WebDriverWait(driver, 10).until(lambda _: under.find_elements(By.CSS_SELECTOR, ".player"))
    assert len(under.find_elements(By.CSS_SELECTOR, ".player canvas")) == 2
    assert len(under.find_elements(By.CSS_SELECTOR, ".timeline")) == 2
    assert len(under.find_elements(By.CSS_SELECTOR, ".strip figure")) == 3
    assert driver.execute_script("return document.documentElement.scrollWidth") <= size[0]
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def test_the_page_lies_in_B_by_default(tiny, capsys):
    assert compare([str(tiny.run), str(tiny.other), "--page"]) == 0
    path = tiny.other / "report" / "compare.html"
    assert f"page: {path}" in capsys.readouterr().out
    assert "<h1>Two runs on tiny</h1>" in path.read_text()
    path.unlink()
