"""The page of a large run in Chromium: its size, how soon it opens, how fast a slider is followed.

    python benchmarks/page.py                 # 793 expressions of 80 frames
    python benchmarks/page.py --videos 20     # smaller

Makes videos with random objects of 120 x 160 pixels, refines and scores them with the grid of
conf/ablation/grid.yaml, writes the page, and opens it: the time until the explorer is shown, and
the median of 20 moves of each slider, until the next frame is drawn. Needs Chromium. Writes
results/page.json.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import describe, write

from rvos import CONFIG_DIR
from rvos.masks import encode, write_json

sys.path.insert(0, str(CONFIG_DIR.parent / "tests/support"))
from chromium import DESKTOP, open_chromium, resize  # noqa: E402

SIZE = (120, 160)
OBJECTS = 5


def tracks_of(rng, frames):
    """A box that wanders, gone for some frames."""
    size, place = rng.integers(12, 40, 2), rng.uniform(0, 100, 2)
    speed, track = rng.normal(0, 1.5, 2), []
    for t in range(frames):
        y, x = (place + t * speed) % (100, 140)
        pixels = np.zeros(SIZE, bool)
        pixels[int(y) : int(y) + size[0], int(x) : int(x) + size[1]] = True
        track.append(encode(pixels) if rng.random() < 0.95 else None)
    return track


def write_data(root, videos, expressions, frames):
    """Expressions name one object; their coarse masks jump to others, and miss parts of it."""
    rng = np.random.default_rng(0)
    meta, truth, nouns = {}, {}, {}
    names = [f"{t:05d}" for t in range(frames)]
    for number in range(videos):
        video = f"video{number:03d}"
        objects = [tracks_of(rng, frames) for _ in range(OBJECTS)]
        truth |= {f"{video}-{i}": track for i, track in enumerate(objects)}
        coarse, texts = {}, {}
        for key in range(len(range(number, expressions, videos))):
            own = int(rng.integers(OBJECTS))
            shown = np.repeat(rng.integers(0, OBJECTS, 16), -(-frames // 16))[:frames]
            shown[rng.random(frames) < 0.6] = own
            coarse[str(key)] = [objects[i][t] for t, i in enumerate(shown)]
            texts[str(key)] = {
                "exp": f"the box that is number {own}",
                "anno_id": [f"{video}-{own}"],
            }
        meta[video] = {"expressions": texts, "frames": names}
        for group, value in (("coarse", coarse), ("masklets", {"box": objects})):
            write_json(root / group / f"{video}.json.gz", value)
        nouns[video] = dict.fromkeys(texts, "box")
    write_json(root / "made" / "meta_expressions.json", {"videos": meta})
    write_json(root / "made" / "mask_dict.json", truth)
    write_json(root / "nouns.json", nouns)


def evaluate(root, run):
    command = [sys.executable, "eval.py", f"data.root={root}", "data.split=made", "name=page"]
    command += ["coarse=files", f"coarse.path={root / 'coarse'}", "masklets=files"]
    command += [f"masklets.path={root / 'masklets'}", f"masklets.nouns={root / 'nouns.json'}"]
    command += ["ablation=grid", f"output_dir={run}"]
    subprocess.run(command, cwd=CONFIG_DIR.parent, check=True, stdout=subprocess.DEVNULL)


MOVES = """
const done = arguments[2], times = [];
const control = document.querySelector(`#explorer [data-part=${arguments[0]}]`);
const drawn = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
(async () => {
  for (let i = 0; i < 20; i++) {
    const values = arguments[1];
    const start = performance.now();
    control.value = values[i % values.length];
    control.dispatchEvent(new Event("input", { bubbles: true }));
    await drawn();
    times.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  done(times);
})();
"""
RULE = """
const control = document.querySelector("#explorer [data-part=rule]");
control.value = arguments[0];
control.dispatchEvent(new Event("change"));
"""
OPENED = """
const done = arguments[0];
const look = () => document.querySelector("#explorer:not([hidden])")
  ? requestAnimationFrame(() => done(performance.now())) : setTimeout(look, 10);
look();
"""


def measure(page):
    with open_chromium() as driver:
        resize(driver, DESKTOP)
        driver.set_script_timeout(120)
        opened, moves = [], {}
        for _ in range(3):
            driver.get("about:blank")
            driver.get(page.as_uri())
            opened.append(driver.execute_async_script(OPENED) / 1000)
        driver.execute_async_script("setTimeout(arguments[0], 3000)")
        for name, values in (("window", [5, 20, 60, 1, 10, 30]), ("tau", [2, 7, 0, 5, 8])):
            moves[name] = driver.execute_async_script(MOVES, name, values)
        for rule in ("sliding_vote", "instance_vote"):
            driver.execute_script(RULE, rule)
            moves[f"window, {rule}"] = driver.execute_async_script(MOVES, "window", [5, 20, 60])
        problems = [entry["message"] for entry in driver.get_log("browser")]
    assert not problems, problems
    return opened, moves


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expressions", type=int, default=793)
    parser.add_argument("--videos", type=int, default=140)
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--keep", type=Path, help="a folder for data and run, kept and used again")
    given = parser.parse_args()
    root = (given.keep or Path(tempfile.mkdtemp())).resolve()
    try:
        started = time.monotonic()
        if not (root / "run" / "metrics.json").is_file():
            write_data(root, given.videos, given.expressions, given.frames)
            evaluate(root, root / "run")
        page = root / "run" / "report" / "index.html"
        explorer = sum(p.stat().st_size for p in (root / "run" / "explorer").iterdir())
        opened, moves = measure(page)
        result = {
            **describe(["numpy", "selenium"]),
            "expressions": given.expressions,
            "frames": given.frames,
            "videos": given.videos,
            "seconds_of_data_run_and_page": round(time.monotonic() - started),
            "page_megabytes": round(page.stat().st_size / 2**20, 1),
            "explorer_megabytes": round(explorer / 2**20, 1),
            "opens_in_seconds": round(statistics.median(opened), 2),
            "slider_milliseconds": {
                name: round(statistics.median(times)) for name, times in moves.items()
            },
        }
        write("page", result)
    finally:
        if not given.keep:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
