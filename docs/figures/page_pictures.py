"""The pictures of README: the explorer or the player of a run's page, as Chromium shows it.

    python docs/figures/page_pictures.py explorer RUN docs/page_explorer.png
    python docs/figures/page_pictures.py player RUN docs/page_player.jpg

1100 pixels wide. The explorer needs a run with a grid (ablation=grid). The player shows the
expression that the refinement helps most, at the frame of the clearest repair.
"""

import argparse
import base64
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "tests/support")]

from chromium import open_chromium, resize  # noqa: E402
from repair_picture import moment  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from rvos.masks import write_bytes  # noqa: E402
from rvos.report.run import Run  # noqa: E402

WIDTH = 1100
MARGIN = 12
BOX = """
const box = arguments[0].getBoundingClientRect();
return [box.left + scrollX, box.top + scrollY, box.width, box.height];
"""


def picture(driver, node, path):
    x, y, width, height = driver.execute_script(BOX, node)
    clip = {"x": max(0, x - MARGIN), "y": y - MARGIN, "scale": 1}
    clip |= {"width": width + 2 * MARGIN, "height": height + 2 * MARGIN}
    kind = "png" if path.suffix == ".png" else "jpeg"
    shot = {"format": kind, "quality": 88, "captureBeyondViewport": True, "clip": clip}
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", shot)
    write_bytes(path, base64.b64decode(taken["data"]))
    print(path)


def explorer(driver, run):
    cells = "#explorer .heat td button"
    script = f"return [...document.querySelectorAll('{cells}')].map((c) => c.textContent)"
    WebDriverWait(driver, 60).until(
        lambda d: (found := d.execute_script(script)) and "…" not in found
    )
    return driver.find_element(By.ID, "explorer")


def player(driver, run):
    video, key, t = moment(Run.read(run))
    row = driver.find_element(By.CSS_SELECTOR, f"tr.row[data-video='{video}'][data-id='{key}']")
    driver.execute_script("arguments[0].click()", row)
    under = row.find_element(By.XPATH, "following-sibling::tr[1]")
    WebDriverWait(driver, 60).until(lambda _: under.find_elements(By.CSS_SELECTOR, ".player"))
    found = under.find_element(By.CSS_SELECTOR, ".player")
    driver.execute_script("arguments[0].seek(arguments[1])", found, t)
    driver.execute_async_script("setTimeout(arguments[0], 1000)")
    return under.find_element(By.CSS_SELECTOR, ".detail")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["explorer", "player"])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with open_chromium() as driver:
        resize(driver, (WIDTH, 900))
        driver.get((given.run / "report" / "index.html").resolve().as_uri())
        driver.execute_script("document.documentElement.style.overflow = 'hidden'")  # no scrollbar
        show = {"explorer": explorer, "player": player}[given.what]
        picture(driver, show(driver, given.run), given.out)


if __name__ == "__main__":
    main()
