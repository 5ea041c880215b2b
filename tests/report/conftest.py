"""A small data set with its coarse masks and masklets, and finished runs of eval.py on it."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fork_server import forked_python
from PIL import Image

from rvos import CONFIG_DIR, preset
from rvos.data.mevis import Annotations, read_split
from rvos.masks import encode, write_json
from rvos.report import Page
from rvos.score import Inputs
from rvos.settings import build
from rvos.stages.store import given_files, given_nouns

ROOT = CONFIG_DIR.parent
NUM_FRAMES = 12
SIZE = (48, 80)


def square(x, y, side=12):
    """A square with its corner at (x, y) as an RLE."""
    pixels = np.zeros(SIZE, bool)
    pixels[y : y + side, x : x + side] = True
    return encode(pixels)


def write_data(root: Path) -> None:
    """Videos `one`, `two`, `three`: object A moves right, B stands still. Only `one` has images.

    Expression 0 names A, 1 names B, 2 both, 3 nothing. Coarse masks are a little off; for
    expression 0 they jump to B in frames 4 and 5, for 1 in most frames. Masklets are the objects
    and a distractor.
    """
    videos, truths, coarse, masklets, nouns = {}, {}, {}, {}, {}
    frames = [f"{t:05d}" for t in range(NUM_FRAMES)]
    for v, name in enumerate(("one", "two", "three")):
        a = [square(2 + 4 * t, 4 + v) for t in range(NUM_FRAMES)]
        b = [square(50, 30)] * NUM_FRAMES
        c = [square(4, 30)] * (NUM_FRAMES - 2) + [None, None]
        truths[f"{name}-a"], truths[f"{name}-b"] = a, b
        near_a = [square(3 + 4 * t, 5 + v) for t in range(NUM_FRAMES)]
        near_b = [square(51, 31)] * NUM_FRAMES
        coarse[name] = {
            "0": [near_b[t] if t in (4, 5) else near_a[t] for t in range(NUM_FRAMES)],
            "1": [near_b[t] if t < 3 + v else near_a[t] for t in range(NUM_FRAMES)],
            "2": near_a,
            "3": [None] * NUM_FRAMES,
        }
        masklets[name] = {"square": [c, b, a], "thing": []}
        nouns[name] = {"0": "square", "1": "square", "2": "square", "3": "thing"}
        texts = [
            "the square that moves right",
            "the square standing still",
            "both <squares>",
            "nothing & no one",
        ]
        ids = [[f"{name}-a"], [f"{name}-b"], [f"{name}-a", f"{name}-b"], []]
        expressions = {
            str(i): {"exp": text, "anno_id": anno_id}
            for i, (text, anno_id) in enumerate(zip(texts, ids, strict=True))
        }
        videos[name] = {"expressions": expressions, "frames": frames}
    write_json(root / "tiny" / "meta_expressions.json", {"videos": videos})
    write_json(root / "tiny" / "mask_dict.json", truths)
    write_json(root / "coarse.json", coarse)
    write_json(root / "masklets.json", masklets)
    write_json(root / "nouns.json", nouns)
    images = root / "tiny" / "JPEGImages" / "one"
    images.mkdir(parents=True)
    for t, frame in enumerate(frames):
        pixels = np.full((*SIZE, 3), (30, 20 * t % 255, 120), np.uint8)
        Image.fromarray(pixels).save(images / f"{frame}.jpg")


def evaluate(data: Path, folder: Path, *overrides: str) -> Path:
    command = [
        forked_python(),
        "eval.py",
        f"data.root={data}",
        "data.split=tiny",
        "data.name=tiny",
        "coarse=files",
        f"coarse.path={data / 'coarse.json'}",
        "masklets=files",
        f"masklets.path={data / 'masklets.json'}",
        f"masklets.nouns={data / 'nouns.json'}",
        "score.workers=1",
        f"output_dir={folder}",
        *overrides,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Data, split, checked inputs, and two runs: windows of 6 frames with a grid, and of 1 frame.

    `page` is the first run's page as eval.py wrote it.
    """
    data = tmp_path_factory.mktemp("tiny")
    write_data(data)
    split = read_split(data, "tiny")
    inputs = Inputs(
        split,
        Annotations(split),
        given_files("coarse.path", str(data / "coarse.json")),
        given_files("masklets.path", str(data / "masklets.json")),
        given_nouns("masklets.nouns", str(data / "nouns.json")),
    )
    grid = ("ablation=grid", "ablation.windows=[1,6]", "ablation.taus=[0.5,0.8]")
    run = evaluate(data, data / "run", "refine.window=6", "refine.tau=0.5", *grid)
    return SimpleNamespace(
        data=data,
        split=split,
        videos=[inputs.read_video(video) for video in split.videos],
        run=run,
        page=(run / "report" / "index.html").read_bytes(),
        other=evaluate(data, data / "other", "refine.window=1", "refine.tau=0.5"),
    )


@pytest.fixture(scope="session")
def run_tiny(tiny):
    """Calls with a folder and overrides make one more run on the data of `tiny`."""
    return lambda folder, *overrides: evaluate(tiny.data, folder, *overrides)


@pytest.fixture(scope="session")
def make_page():
    """Calls with settings give the page of conf/report/html.yaml with these instead."""

    def make(**changes) -> Page:
        settings = preset("report", "html") | changes
        return build(settings, "report")

    return make


@pytest.fixture(scope="session")
def driver():
    """Headless Chromium."""
    from chromium import open_chromium

    with open_chromium() as driver:
        yield driver
