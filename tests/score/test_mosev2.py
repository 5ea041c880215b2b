"""MOSEv2's measures on drawn videos, by hand (3 s).

The boundary of a rectangle of h x w pixels has 2 (h + w) pixels. Frames of 240 x 320 pixels have a
diagonal of 400: DAVIS' distance is 3.2 pixels, rounded up 4.
"""

import json

import numpy as np
import pytest
from PIL import Image

from rvos.app.score import main
from rvos.data.split import Expression
from rvos.score.protocols import Answer, make_protocol

SMALL = (40, 50, 20, 20)  # top, left, height, width: 400 pixels, a distance of 2
ONE = 1 / 401  # J of 400 pixels and of none


def box(top, left, height, width):
    mask = np.zeros((240, 320), np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def measured(truth, prediction, name="mosev2:strict", of_video=None):
    """{"J", "F", ...} of one object."""
    answer = Answer(Expression("v", "1", "", ()), (truth, prediction))
    found = make_protocol(name).measured(answer, of_video)
    return {"J": found.J, "F": found.F, **found.more}


def frame(truth, prediction, name="mosev2:strict"):
    """The measures of the second of three frames; the others do not count."""
    return measured([truth, truth, truth], [None, prediction, None], name)


@pytest.mark.parametrize("name", ["mosev2", "mosev2:strict"])
def test_small_objects_have_less_tolerance(name):
    """Three to the right: 340 pixels of 460 are common. Of the 80 boundary pixels, two sides of 20
    match, and of the upright ones the two pixels next to each: 44. Within 4 pixels all match."""
    found = frame(box(*SMALL), box(40, 53, 20, 20), name)
    assert found["J"] == pytest.approx([341 / 461])
    assert found["F"] == pytest.approx([44 / 80])
    assert found["F_davis"] == 1.0
    assert frame(box(*SMALL), box(40, 52, 20, 20), name)["F"] == [1.0]


def test_of_large_objects_a_mirrored_video_has_another_f():
    """The prediction is three pixels wider, at the right: all of its 486 boundary pixels match, and
    of the true 480 all but 114 of the right side. Mirrored, all true ones match, and all of the
    prediction but its outer side of 121: the disk reaches 3 pixels to one side and 2 to the other.
    With a distance that is rounded, both are 1."""
    truth, wider = box(60, 100, 120, 120), box(60, 100, 120, 123)
    recall, precision = 366 / 480, 365 / 486
    found = frame(truth, wider)
    assert found["F"] == pytest.approx([2 * recall / (1 + recall)])
    assert found["F_davis"] == pytest.approx(found["F"][0])  # has the same disk
    mirrored = frame(truth[:, ::-1], wider[:, ::-1])
    assert mirrored["F"] == pytest.approx([2 * precision / (1 + precision)])
    for pair in ((truth, wider), (truth[:, ::-1], wider[:, ::-1])):
        assert frame(*pair, "mosev2")["F"] == [1.0]


def test_nothing_and_something():
    nothing = np.zeros((240, 320), np.uint8)
    for truth, prediction, J, F in (
        (nothing, nothing, 1, 1),
        (nothing, box(*SMALL), ONE, 0),
        (box(*SMALL), nothing, ONE, 0),
        (None, box(*SMALL), ONE, 0),
        (None, None, 1, 1),
    ):
        found = frame(truth, prediction)
        assert (found["J"][0], found["F"][0]) == pytest.approx((J, F))


# The truth shows the object in the frames of 1, and the answer differs from it in those of x. The
# first and the last frame do not count.
WRONG = ONE / 2  # J&F of a frame that is answered wrongly
VIDEOS = {
    "never": ("1111111111", "--x-------", None, None),
    "disappears": ("1111100000", "------x--x", (3 + WRONG) / 4, None),
    "returns": ("1110001111", "---x---x--", (2 + WRONG) / 3, (2 + WRONG) / 3),
    "twice": (
        *("1101001111", "x----x--xx"),
        ((1 + (1 + WRONG) / 2) / 2),
        (1 + (2 + WRONG) / 3) / 2,
    ),
    "comes late": ("0001111000", "-x-------x", 1.0, 1.0),
    "is never there": ("0000000000", "-x--------", None, None),
    "only at the ends": ("1000000001", "----------", None, None),
}


def drawn(name):
    """(truth, answer, J&F) of a video: the mean over its inner frames."""
    shown, wrong, *_ = VIDEOS[name]
    nothing = np.zeros((240, 320), np.uint8)
    truth = [box(*SMALL) if s == "1" else nothing for s in shown]
    answer = [
        (nothing if s == "1" else box(*SMALL)) if w == "x" else mask
        for s, w, mask in zip(shown, wrong, truth, strict=True)
    ]
    inner = [WRONG if w == "x" else 1.0 for w in wrong[1:-1]]
    return truth, answer, sum(inner) / len(inner)


@pytest.mark.parametrize("name", VIDEOS)
def test_disappearances_and_returns_by_hand(name):
    truth, answer, JF = drawn(name)
    found = measured(truth, answer)
    assert (found["J"].mean() + found["F"].mean()) / 2 == pytest.approx(JF)
    first = measured(truth, answer, ["mosev2:strict", "expressions"], [None, None])
    assert first.keys() == found.keys()
    assert all(np.array_equal(first[key], found[key]) for key in found)
    for key, value in zip(("J&F_d", "J&F_r"), VIDEOS[name][2:], strict=True):
        assert found.get(key) == (None if value is None else pytest.approx(value))


def write(folder, tracks):
    """Pictures of object numbers from {video: [tracks of objects 1, 2, ...]}."""
    for video, objects in tracks.items():
        (folder / video).mkdir(parents=True)
        for t in range(len(objects[0])):
            numbers = sum((k + 1) * track[t] for k, track in enumerate(objects))
            Image.fromarray(numbers.astype(np.uint8)).save(folder / video / f"{t:05d}.png")


def test_the_command_scores_trees_of_pictures(tmp_path, capsys):
    """A video without masks counts as 0, and neither disappears nor returns."""
    other = [box(150, 200, 20, 20)] * 10  # object 2: always there, always found
    tracks = {name: drawn(name) for name in ("returns", "twice", "never")}
    write(tmp_path / "truth", {name: [t[0], other] for name, t in tracks.items()})
    del tracks["never"]
    write(tmp_path / "masks", {name: [t[1], other] for name, t in tracks.items()})
    arguments = ["--truth", str(tmp_path / "truth"), "--masks", str(tmp_path / "masks")]
    arguments += ["--dataset", "mosev2", "--missing", "protocol", "--resamples", "50"]
    arguments += ["--csv", str(tmp_path / "scores.csv")]
    assert main([*arguments, "--json", str(tmp_path / "scores.json")]) == 0
    assert "mosev2:strict" in capsys.readouterr().out
    found = json.loads((tmp_path / "scores.json").read_text())
    JF = {name: track[2] for name, track in tracks.items()}
    assert found["J&F"] == pytest.approx((JF["returns"] + JF["twice"] + 2) / 6)
    assert found["F_davis"] == pytest.approx(found["F"])
    for key, i in (("J&F_d", 2), ("J&F_r", 3)):
        expected = (VIDEOS["returns"][i] + VIDEOS["twice"][i]) / 2
        assert found[key] == pytest.approx(expected)
    header, *rows = (tmp_path / "scores.csv").read_text().splitlines()
    assert {"J&F_d", "J&F_r", "F_davis"} <= set(header.split(",")) and len(rows) == 6
