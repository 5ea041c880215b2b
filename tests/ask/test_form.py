"""The page on which a person answers: what is ticked is what `ask check` takes."""

import pytest
from chromium import open_chromium
from commands import command
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from rvos.masks import read_json, write_json

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def driver():
    with open_chromium() as driver:
        yield driver


def test_what_is_ticked_is_the_answers_file(made_data, run_eval, driver):
    """Six questions: masklets 0 and 1 for squares, none for circles."""
    assert run_eval(made_data.write())[0] == 0
    folder = made_data.root / "out" / "ask"
    assert command("ask")([str(made_data.root / "out"), "--width", "120"]) == 0

    def tick(video, expression, value):
        field = f'fieldset[data-video="{video}"][data-expression="{expression}"]'
        box = driver.find_element(By.CSS_SELECTOR, f'{field} input[value="{value}"]')
        driver.execute_script("arguments[0].click()", box)

    driver.get((folder / "index.html").as_uri())
    for video in ("long", "short"):
        tick(video, "0", "1")
        tick(video, "0", "absent")  # takes the 1 back
        tick(video, "1", "none")
        tick(video, "1", "0")  # takes "none" back
        tick(video, "1", "1")
    assert driver.find_element(By.ID, "count").text == "4 of 6 answered"

    def is_kept(driver):  # a busy Chromium writes it down a moment after the click
        driver.refresh()
        return driver.find_element(By.ID, "count").text == "4 of 6 answered"

    WebDriverWait(driver, 20).until(is_kept)
    for video in ("long", "short"):
        tick(video, "2", "none")
    answers = driver.execute_script("return answers()")
    write_json(folder / "answers.json", answers)
    assert answers["long"] == {
        "0": {"present": False, "masklets": []},
        "1": {"present": True, "masklets": [0, 1]},
        "2": {"present": True, "masklets": []},
    }
    assert command("ask")(["check", str(folder / "answers.json")]) == 0
    assert read_json(folder / "answers.json")["short"] == answers["long"]
    pictures = "return [...document.images].every(i => i.complete && i.naturalWidth == 120)"
    driver.execute_script("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    assert driver.execute_async_script(
        "const done = arguments[0]; Promise.all([...document.images].map(i => i.decode()))"
        f".then(() => done((() => {{ {pictures} }})()))"
    )
