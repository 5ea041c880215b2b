"""The page of one's own video: the player with all sentences, and files to download."""

import zipfile
from dataclasses import replace

import pytest
from chromium import DESKTOP, PHONE, click, resize
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from rvos.data.frames import FrameFolder
from rvos.masks import read_json
from rvos.report import prediction
from rvos.report.prediction import write_page

pytestmark = pytest.mark.browser


def written(tiny, folder, *kinds):
    inputs = tiny.videos[0]
    frames = FrameFolder(tiny.data / "tiny" / "JPEGImages" / "one")
    refined = read_json(tiny.run / "refined" / "one.json.gz")
    path = folder / "index.html"
    files = [f"{name}.jpg" for name in frames.names]
    write_page(
        path, inputs, refined, frames, files=files, fps=10, note="A note & more.", kinds=kinds
    )
    return path


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_sentences_stand_side_by_side_over_one_slider(driver, tiny, tmp_path, size):
    path = written(tiny, tmp_path, "png", "rle", "coco", "ytvis")
    resize(driver, size)
    driver.get(path.as_uri())
    WebDriverWait(driver, 10).until(lambda d: d.find_elements(By.CSS_SELECTOR, ".player canvas"))
    titles = [c.text for c in driver.find_elements(By.TAG_NAME, "figcaption")]
    assert titles == [e.text for e in tiny.videos[0].video.expressions] and len(titles) == 4
    player = driver.find_element(By.CSS_SELECTOR, ".player")
    where = player.find_element(By.TAG_NAME, "output")
    player.send_keys(Keys.ARROW_RIGHT)
    assert where.text.startswith("2 / 12")
    drawn = "return document.querySelector('canvas').toDataURL()"
    before = driver.execute_script(drawn)
    click(driver, player.find_element(By.NAME, "masklets"))
    assert driver.execute_script(drawn) != before
    assert "A note & more." in driver.find_element(By.CSS_SELECTOR, ".remark").text
    links = driver.find_elements(By.CSS_SELECTOR, "#downloads a")
    names = [link.get_attribute("href").rpartition("/")[2] for link in links]
    assert names == ["masks.zip", "masks_rle.json", "masks_coco.json", "masks_ytvis.json"]
    assert all((tmp_path / name).is_file() for name in names)
    with zipfile.ZipFile(tmp_path / "masks.zip") as archive:
        assert "one/0/00000.png" in archive.namelist()
    assert driver.execute_script("return document.documentElement.scrollWidth") <= size[0]
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def test_a_space_plays_it(driver, tiny, tmp_path):
    driver.get(written(tiny, tmp_path, "rle").as_uri())
    assert not (tmp_path / "masks.zip").exists()
    WebDriverWait(driver, 10).until(lambda d: d.find_elements(By.CSS_SELECTOR, ".player canvas"))
    player = driver.find_element(By.CSS_SELECTOR, ".player")
    where = player.find_element(By.TAG_NAME, "output")
    player.send_keys(" ")
    WebDriverWait(driver, 10).until(lambda _: not where.text.startswith("1 / 12"))


def test_masklets_may_be_those_of_an_expression(tiny, tmp_path, monkeypatch):
    """A key frame's masklet lies under its expression's id, and not under a noun."""
    inputs, made, clips = tiny.videos[0], prediction.make_clip, []
    track = inputs.masklets["square"][1]
    of_expressions = replace(
        inputs, masklets={"0": [track], "1": [], "2": [], "3": []}, by_expression=True
    )

    def make_clip(name, frames, tracks, *others, **settings):
        clips.append(tracks)
        return made(name, frames, tracks, *others, **settings)

    monkeypatch.setattr(prediction, "make_clip", make_clip)
    frames = FrameFolder(tiny.data / "tiny" / "JPEGImages" / "one")
    refined = inputs.coarse
    settings = {"files": frames.names, "fps": 10, "note": "", "kinds": []}
    write_page(tmp_path / "index.html", of_expressions, refined, frames, **settings)
    assert [clips[0][key]["masklets"] for key in ("0", "1")] == [[track], []]
