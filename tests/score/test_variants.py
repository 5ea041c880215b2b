"""What published scripts do otherwise, by hand; benchmarks/protocols.py runs the scripts beside."""

import json

import numpy as np
import pytest

from rvos.app.score import main
from rvos.data.split import Expression, Video
from rvos.errors import InputError
from rvos.masks import encode, write_json
from rvos.score.protocols import PROTOCOLS, Answer, Protocol, make_protocol, means_of

SIZE = (20, 20)


def box(top, left, height, width):
    pixels = np.zeros(SIZE, np.uint8)
    pixels[top : top + height, left : left + width] = 1
    return encode(pixels)


class RevosTruth:
    """Two targets of 4 x 4 pixels that share a column, and 10000 pixels of all objects."""

    tracks_of = {"a": [box(0, 0, 4, 4)], "b": [box(0, 3, 4, 4)]}

    def foreground(self, video):
        return [10000]

    def tracks(self, video, ids):
        return {id_: self.tracks_of[id_] for id_ in ids}


def revos_unit(name, missing=""):
    """The unit of an expression about both; the answer has 2 pixels in both targets, 3 in none."""
    expression = Expression("v", "0", "x", ("a", "b"), type="referring")
    video = Video("v", ("0",), (expression,))
    masks = [box(0, 0, 4, 7)], [None if missing else box(2, 3, 5, 1)]
    protocol = make_protocol(name)
    of_video = protocol.read(RevosTruth(), video)
    return protocol.units(video, {"0": Answer(expression, masks, missing)}, of_video)[""]


@pytest.mark.parametrize(
    "name, J, R",
    [
        ("revos", 2 / 31, 1 - 3 / 10000),
        # 1 - 2 is 255 in bytes: 3 + 2 * 255 wrong pixels; 2 / 31 is 6.4516 percent
        ("revos:strict", 0.0645, 0.9487),
        ("revos:videoseg-o3", 0.0645, 0.9487),
        # pixels of 255: 3 * 255, and 255 * 255 is 1 in bytes
        ("revos:virst", 0.0645, 0.9233),
    ],
)
def test_revos_where_targets_overlap(name, J, R):
    (unit,) = revos_unit(name)
    assert unit.means["J"] == pytest.approx(J, abs=1e-12)
    assert unit.means["R"] == pytest.approx(R, abs=1e-9)


def test_a_missing_answer_to_revos():
    """Corrected it is empty, with R = 1; VISA's script counts 0 everywhere, another drops it."""
    (empty,), (zero,) = revos_unit("revos", "name"), revos_unit("revos:strict", "name")
    assert empty.means == {"J": 0, "F": 0, "R": pytest.approx(1)}
    assert zero.means == {"J": 0, "F": 0, "R": 0}
    assert revos_unit("revos:videoseg-o3", "video") == []


@pytest.fixture
def missing(tmp_path):
    """Truth of two videos; the second frame of each is empty. One answer there, and it is right."""
    track = [box(2, 2, 6, 6), None]
    truth = {video: {"0": track, "1": track} for video in ("71fb69bbcd", "b")}
    write_json(tmp_path / "truth.json", truth)
    write_json(tmp_path / "masks.json", {"b": {"0": track}})
    return ["--truth", str(tmp_path / "truth.json"), "--masks", str(tmp_path / "masks.json")]


def scores(words, tmp_path):
    path = tmp_path / "scores.json"
    assert main([*words, "--resamples", "20", "--json", str(path)]) == 0
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "protocol, J, names",
    [
        ("expressions", (1 + 3 * 0.5) / 4, 4),  # an empty answer is right where nothing is
        ("expressions:strict", (1 + 0 + 0) / 3, 3),  # the other answer of video b is left out
        ("expressions:lmms-eval", 1, 1),
        ("long_rvos:strict", 1 / 3, 3),
        ("long_rvos:videoseg-o3", 1, 1),
    ],
)
def test_what_is_missing(missing, tmp_path, protocol, J, names):
    found = scores([*missing, "--missing", "protocol", "--protocol", protocol], tmp_path)
    assert (found["J"], found["F"], found["names"]) == (pytest.approx(J), pytest.approx(J), names)
    assert ("tIoU" in found) == (protocol == "long_rvos:strict")


def test_one_script_ignores_a_video(missing, tmp_path):
    """It is wrong there and right in the other video."""
    track = [box(2, 2, 6, 6), None]
    answers = {"71fb69bbcd": {"0": [None, track[0]]}, "b": {"0": track}}
    write_json(tmp_path / "masks.json", answers)
    words = [*missing, "--missing", "protocol", "--protocol"]
    assert scores([*words, "long_rvos:videoseg-o3"], tmp_path)["J"] == 1
    assert scores([*words, "expressions:lmms-eval"], tmp_path)["J"] == 0.5


def test_all_protocols_of_a_truth(missing, tmp_path, capsys):
    found = scores([*missing, "--missing", "protocol", "--all-protocols"], tmp_path)
    rows = found["protocols"]
    assert list(rows)[:3] == ["expressions", "expressions:strict", "expressions:lmms-eval"]
    assert "objects" in rows and not {"davis17", "revos", "semi-supervised"} & rows.keys()
    assert rows["expressions"]["J&F"] == found["J&F"] == 0.625
    dropped = rows["expressions:lmms-eval"]
    assert dropped["difference"] == 0.375 and dropped["beside"] == "expressions"
    assert [(c["video"], c["name"], c["before"], c["after"]) for c in dropped["changes"]] == [
        ("71fb69bbcd", "0", 0.5, None),
        ("71fb69bbcd", "1", 0.5, None),
        ("b", "1", 0.5, None),
    ]
    printed = capsys.readouterr().out
    assert "left out" in printed and "+37.500" in printed
    strict = ["--protocol", "expressions:strict"]
    found = scores([*missing, *strict, "--missing", "protocol", "--all-protocols"], tmp_path)
    rows = found["protocols"]
    first = rows["expressions:strict"]  # the first is compared with none, the others with it
    assert (first["beside"], first["difference"], first["changes"]) == ("", 0, [])
    assert rows["expressions"]["beside"] == "expressions:strict"


def test_missing_masks_stop_the_command_unless_it_is_told(missing, tmp_path):
    with pytest.raises(InputError, match="video b: 1: no masks"):
        main([*missing, "--all-protocols"])
    found = scores([*missing, "--missing", "empty", "--protocol", "expressions:strict"], tmp_path)
    assert found["names"] == 4 and found["J"] == pytest.approx(0.625)


class Late(Protocol):
    """The last frame of names 0 alone, half of J, another F: what a protocol may change."""

    name = "late"

    def frames(self, answer, of_video):
        return [-1] if answer.name == "0" else slice(0)

    def frame(self, truth, prediction):
        J, F = super().frame(truth, prediction)
        return J / 2, F

    def more(self, answer, J, F, of_video):
        return {"count": float(len(J)), "F": 0.25}


def test_a_protocol_of_ones_own_in_the_command(missing, tmp_path):
    name = f"{__name__}.Late"
    found = scores([*missing, "--missing", "empty", "--protocol", name], tmp_path)
    assert (found["J"], found["F"], found["count"], found["names"]) == (0.5, 0.25, 1, 2)


def test_means_go_over_units_that_have_the_measure():
    units = [("a", {"J": 0.0, "x": 1.0}), ("a", {"J": 1.0}), ("b", {"J": 1.0})]
    assert means_of(units) == {"J": 0.75, "x": 1.0}


def test_each_variant_belongs_to_a_protocol_and_says_its_quirk():
    for name, protocol in PROTOCOLS.items():
        assert bool(protocol.quirk) == (":" in name), name
        assert name.partition(":")[0] in PROTOCOLS
