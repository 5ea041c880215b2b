"""The report in headless Chromium: it loads without errors, sorts, filters and opens strips.

Needs Debian's `chromium` and `chromium-driver` (or the same two programs elsewhere on PATH).
"""

import pytest
from chromium import DESKTOP, PHONE, click, resize
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from rvos.masks import read_json

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(tiny, make_page):
    return make_page(strips=10).write(tiny.run).as_uri()


@pytest.fixture
def page(driver, url):
    resize(driver, DESKTOP)
    driver.get(url)
    yield driver
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def visible_rows(page):
    return [row for row in page.find_elements(By.CSS_SELECTOR, "tr.row") if row.is_displayed()]


def column(page, key):
    return [row.get_attribute(f"data-{key}") for row in visible_rows(page)]


def images_loaded(page, box):
    """Natural widths of the images in `box` once all of them are decoded."""
    script = "return [...arguments[0].querySelectorAll('img')].map((i) => i.naturalWidth)"
    return WebDriverWait(page, 10).until(
        lambda _: (widths := page.execute_script(script, box)) and all(widths) and widths
    )


def test_it_loads_with_the_largest_changes_open(page):
    assert page.title == "rvos · tiny"
    assert len(visible_rows(page)) == 12
    opened = page.find_elements(By.CSS_SELECTOR, ".highlight[open]")
    assert opened
    for highlight in opened:
        assert len(images_loaded(page, highlight)) == 3
        assert highlight.find_elements(By.CSS_SELECTOR, ".timeline polyline.refined")


def test_kinds_of_expressions_have_tables(page, tiny):
    """The split has expressions without target: N-acc, T-acc, Final, and scores by kind."""
    metrics = read_json(tiny.run / "metrics.json")
    section = page.find_element(By.ID, "kinds")
    shown = section.text
    assert section.is_displayed() and "Is there a target?" in shown
    final = f"Final (all) {100 * metrics['coarse']['Final']['all']:.2f}"
    assert f"{final} {100 * metrics['Final']['all']:.2f}" in shown
    none = metrics["slices"]["no_target"]
    assert f"no target {none['num_expressions']} " in shown
    assert "protocol expressions" in page.find_element(By.CSS_SELECTOR, "header").text


def test_it_asks_for_nothing_but_itself(page, url):
    script = "return performance.getEntriesByType('resource').map((e) => e.name)"
    assert [name for name in page.execute_script(script) if not name.startswith("data:")] == []


@pytest.mark.parametrize("key", ["coarse", "refined", "difference", "frames"])
def test_it_sorts_by_number(page, key):
    button = page.find_element(By.CSS_SELECTOR, f"[data-sort={key}]")
    click(page, button)
    values = [float(x) for x in column(page, key)]
    assert values == sorted(values, reverse=True)
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    click(page, button)
    values = [float(x) for x in column(page, key)]
    assert values == sorted(values)


def test_it_sorts_by_text_and_keeps_opened_rows_under_theirs(page):
    row = visible_rows(page)[3]
    identity = row.get_attribute("data-video"), row.get_attribute("data-id")
    click(page, row)
    click(page, page.find_element(By.CSS_SELECTOR, "[data-sort=video]"))
    assert column(page, "video") == sorted(column(page, "video"))
    above = page.find_element(By.XPATH, "//tr[@class='opened']/preceding-sibling::tr[1]")
    assert (above.get_attribute("data-video"), above.get_attribute("data-id")) == identity


def test_it_filters(page):
    box = page.find_element(By.ID, "filter")
    box.send_keys("standing TWO")
    assert column(page, "expression") == ["the square standing still"]
    assert page.find_element(By.ID, "count").text == "1 of 12"
    box.clear()
    box.send_keys("no such words")
    assert visible_rows(page) == []
    box.clear()
    box.send_keys(" ")
    assert len(visible_rows(page)) == 12
    for choice in ("gain", "loss", "same", "pictured"):
        Select(page.find_element(By.ID, "show")).select_by_value(choice)
        if choice == "pictured":
            assert column(page, "pictured") == ["1"] * 10
        else:
            sign = {"gain": 1, "loss": -1, "same": 0}[choice]
            signs = {(float(x) > 0) - (float(x) < 0) for x in column(page, "difference")}
            assert signs <= {sign}


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_row_opens_its_strip_and_timeline_and_closes(page, size):
    resize(page, size)
    row = visible_rows(page)[0]
    button = row.find_element(By.CSS_SELECTOR, "td button")
    click(page, button)
    assert button.get_attribute("aria-expanded") == "true"
    under = page.find_element(By.CSS_SELECTOR, "tr.opened")
    assert under.is_displayed()
    assert len(images_loaded(page, under)) == 3
    assert under.find_element(By.CSS_SELECTOR, ".timeline").size["height"] > 80
    assert under.find_elements(By.CSS_SELECTOR, ".timeline .selected")
    assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]
    click(page, button)
    assert not under.is_displayed()


def test_a_row_without_pictures_opens_its_timeline(page):
    row = visible_rows(page)[-1]
    assert row.get_attribute("data-pictured") == "0"
    click(page, row)
    under = page.find_element(By.CSS_SELECTOR, "tr.opened")
    assert under.find_elements(By.CSS_SELECTOR, ".timeline")
    assert not under.find_elements(By.TAG_NAME, "img")


def test_a_point_of_the_scatter_opens_its_row(page):
    point = page.find_element(By.CSS_SELECTOR, ".scatter circle[data-reveal='1']")
    page.execute_script(
        "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", point
    )
    row = page.find_element(By.CSS_SELECTOR, "tr.row[data-row='1']")
    assert row.find_element(By.TAG_NAME, "button").get_attribute("aria-expanded") == "true"


def test_a_phone_needs_no_sideways_scrolling(page):
    resize(page, PHONE)
    assert page.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    assert page.execute_script(
        "const box = document.querySelector('#headline .scroll');"
        "return box.scrollWidth <= box.clientWidth"
    )
