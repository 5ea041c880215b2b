"""`python -m rvos score`: masks in every form against a truth, by hand and beside `j_and_f`."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from made_data import DAVIS
from PIL import Image

from rvos.app.score import main
from rvos.errors import InputError
from rvos.masks import encode, write_json
from rvos.score import j_and_f
from rvos.score.measures import decay, recall

SIZE, FRAMES = (30, 40), ("00000", "00005", "00010", "00015", "00020")
PALETTE = [(37 * i) % 256 for i in range(768)]  # of 256 colours, so that no number is cut


def pictures(seed: int, numbers=(1, 2), frames=FRAMES, size=SIZE) -> np.ndarray:
    """(T, H, W) uint8: a moving box per object, the first frame with all of them."""
    rng = np.random.default_rng(seed)
    result = np.zeros((len(frames), *size), np.uint8)
    for t in range(len(frames)):
        for k in numbers:
            y, x = rng.integers(0, 15), 12 * (k - 1) + rng.integers(0, 5)
            result[t, y : y + 9, x : x + 8] = k
    return result


def write_tree(folder: Path, videos: dict, frames=FRAMES) -> Path:
    """`<video>/<frame>.png` as palette images."""
    for video, numbers in videos.items():
        (folder / video).mkdir(parents=True)
        for frame, picture in zip(frames, numbers, strict=True):
            image = Image.fromarray(picture, "P")
            image.putpalette(PALETTE)
            image.save(folder / video / f"{frame}.png")
    return folder


def result_of(*arguments) -> dict:
    """What the command writes with --json; it prints a table beside."""
    *words, folder = arguments
    path = folder / "scores.json"
    assert main([*map(str, words), "--json", str(path), "--resamples", "200"]) == 0
    return json.loads(path.read_text())


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    """DAVIS counts neither the first nor the last frame, and only the last one, 10, is wrong."""
    frames = [str(t) for t in range(11)]
    truth = pictures(1, frames=frames)
    masks = truth.copy()
    masks[10] = 0
    for name, numbers in (("truth", truth), ("masks", masks)):
        write_tree(tmp_path / name, {"a": numbers}, frames)
    for name in (".#3.png", "._3.png"):  # an editor's lock, a Mac's
        (tmp_path / "truth" / "a" / name).symlink_to("nowhere")
    places = "--truth", tmp_path / "truth", "--masks", tmp_path / "masks", "--dataset", "davis17"
    assert result_of(*places, tmp_path)["J&F"] == 1
    (tmp_path / "truth" / "a" / "10.png").rename(tmp_path / "truth" / "a" / "10.webp")
    with pytest.raises(InputError, match="1 frames without truth: 10"):
        main([*map(str, places)])


def test_a_picture_of_the_truth_that_is_no_png_is_named(two, tmp_path, caplog):
    """A hole in time is not silent."""
    _, _, truth, masks = two
    (truth / "a" / "00010.png").rename(truth / "a" / "00010.webp")
    result_of("--truth", truth, "--masks", masks, "--extra", "ignore", tmp_path)
    assert "files that are no .png, left out (1)" in caplog.text and "00010.webp" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_names_of_videos_are_lines(two, tmp_path, encoding):
    truth, masks, *trees = two
    for tree in trees:
        (tree / "b").rename(tree / "my dog\u2028b")
    listed = tmp_path / "videos.txt"
    listed.write_bytes("my dog\u2028b\r\n\n".encode(encoding))
    places = "--truth", trees[0], "--masks", trees[1], "--extra", "ignore"
    result = result_of(*places, "--videos", listed, tmp_path)
    J = j_and_f(*((numbers["b"] == 1).astype(np.uint8) for numbers in (truth, masks)))[0].mean()
    assert {row["video"] for row in result["per_name"]} == {"my dog\u2028b"}
    assert result["per_name"][0]["J"] == pytest.approx(J)


@pytest.mark.parametrize("protocol", ["semi-supervised", "unsupervised"])
def test_objects_that_are_in_no_frame_count_as_in_davis_and_are_named(tmp_path, protocol, caplog):
    """Of the object 3 alone, DAVIS' script counts 1 to 3; empty masks would get 2 / 3."""
    truth = write_tree(tmp_path / "truth", {"a": pictures(1, numbers=(3,))})
    empty = write_tree(tmp_path / "empty", {"a": np.zeros_like(pictures(1))})
    words = ["--truth", str(truth), "--masks", str(empty), "--protocol", protocol]
    assert result_of(*words, tmp_path)["J"] == pytest.approx(2 / 3)
    assert f"{truth / 'a'}: of the objects 1 to 3, 1, 2 are in no frame" in caplog.text
    assert result_of(*words[:-1], "objects", tmp_path)["J"] == 0


def test_brackets_in_a_name_are_no_markup(two, tmp_path, capsys):
    for tree in two[2:]:
        (tree / "a").rename(tree / "[b]a")
    result_of("--truth", two[2], "--masks", two[3], tmp_path)
    assert "[b]a" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["caf\udce9/1", "a/caf\udce9"])
def test_a_name_that_no_table_can_hold_is_said_before_the_scores(tmp_path, place):
    (tmp_path / place).mkdir(parents=True)
    Image.new("L", (4, 4), 1).save(tmp_path / place / "0.png")
    with pytest.raises(InputError, match=r"'caf\\udce9': it cannot be written as UTF-8; rename it"):
        main(["--truth", str(tmp_path), "--masks", str(tmp_path)])


@pytest.mark.parametrize("first", [0, 255, None])
@pytest.mark.parametrize("protocol", ["semi-supervised", "unsupervised"])
def test_a_video_whose_first_frame_shows_nothing_is_not_left_out(two, tmp_path, protocol, first):
    """DAVIS counts the objects of that frame; without one the mean would be of other videos."""
    *_, truth, masks = two
    (truth / "b" / "00000.png").unlink()
    if first is None:
        (truth / "b" / "00000.png").symlink_to("nowhere")
    else:
        Image.new("L", SIZE[::-1], first).save(truth / "b" / "00000.png")
    with pytest.raises(InputError, match="video b: the first frame shows no object"):
        main(["--truth", str(truth), "--masks", str(masks), "--protocol", protocol])


@pytest.fixture
def two(tmp_path):
    """Truth and prediction of two videos."""
    truth = {"a": pictures(1), "b": pictures(2)}
    masks = {"a": pictures(3), "b": pictures(4)}
    trees = write_tree(tmp_path / "truth", truth), write_tree(tmp_path / "masks", masks)
    return truth, masks, *trees


def test_palette_trees_as_davis_scores_them(two, tmp_path, capsys):
    """The inner frames of each object; the mean over four objects, statistics as published."""
    truth, masks, truth_path, masks_path = two
    truth["a"][2][0, 0] = 2  # nothing but what the file says counts
    write_tree(tmp_path / "changed", {"a": truth["a"]})
    (tmp_path / "changed/a").rename(truth_path / "c")
    words = ["--truth", truth_path, "--masks", masks_path, "--dataset", "davis17"]
    (tmp_path / "videos.txt").write_text("a\nb\n")
    words += ["--videos", tmp_path / "videos.txt", "--csv", tmp_path / "scores.csv"]
    found = result_of(*words, tmp_path)
    assert found["protocol"] == "semi-supervised" and found["names"] == 4 and found["videos"] == 2
    expected = []
    for video in "ab":
        for k in (1, 2):
            J, F = j_and_f(pictures(ord(video) - 96)[1:-1] == k, masks[video][1:-1] == k)
            expected.append((video, str(k), J.mean(), F.mean(), recall(J), decay(F)))
    keys = ("video", "name", "J", "F", "J_recall", "F_decay")
    assert [tuple(row[key] for key in keys) for row in found["per_name"]] == expected
    assert found["J"] == np.mean([row[2] for row in expected])
    assert found["F_decay"] == np.mean([row[5] for row in expected])
    assert found["interval"]["J"][0] <= found["J"] <= found["interval"]["J"][1]
    with open(tmp_path / "scores.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["J&F"]) for row in rows] == [row["J&F"] for row in found["per_name"]]
    printed = capsys.readouterr().out
    assert f"{100 * found['J&F']:.2f}" in printed and "semi-supervised" in printed


def test_every_form_gives_the_same_scores(two, tmp_path):
    """Trees of a folder per object, RLE in one file and in one per video, Sa2VA's results."""
    truth, masks, truth_path, masks_path = two
    tracks = {
        side: {
            video: {str(k): [encode(p == k) for p in numbers] for k in (1, 2)}
            for video, numbers in of_side.items()
        }
        for side, of_side in (("truth", truth), ("masks", masks))
    }
    write_json(tmp_path / "truth.json", tracks["truth"])
    write_json(tmp_path / "masks.json.gz", tracks["masks"])
    wrapped = {
        video: {name: {"prediction_masks": track} for name, track in of_video.items()}
        for video, of_video in tracks["masks"].items()
    }
    write_json(tmp_path / "sa2va.json", wrapped)
    for video, of_video in tracks["masks"].items():
        write_json(tmp_path / "folder" / f"{video}.json", of_video)
        for name in of_video:
            (tmp_path / "by_object" / video / name).mkdir(parents=True)
            for frame, picture in zip(FRAMES, masks[video], strict=True):
                white = Image.fromarray(255 * (picture == int(name)).astype(np.uint8))
                white.save(tmp_path / "by_object" / video / name / f"{frame}.png")
    expected = result_of("--truth", truth_path, "--masks", masks_path, tmp_path)
    assert len(expected["per_name"]) == 4 and 0 < expected["J&F"] < 1
    for of_truth, of_masks in (
        (truth_path, "masks.json.gz"),
        (truth_path, "by_object"),
        ("truth.json", "masks.json.gz"),
        ("truth.json", "sa2va.json"),
        ("truth.json", "folder"),
        ("by_object", "by_object"),
    ):
        paths = tmp_path / of_truth, tmp_path / of_masks
        found = result_of("--truth", paths[0], "--masks", paths[1], tmp_path)
        if of_truth == "by_object":
            assert found["J&F"] == 1 and found["names"] == 4
        else:
            assert found["per_name"] == expected["per_name"]
    with pytest.raises(InputError, match="says the names of its frames"):
        main(["--truth", str(tmp_path / "truth.json"), "--masks", str(tmp_path / "by_object")])


def test_a_split_of_mevis(tmp_path):
    """The bundled masks: what eval.py gives for the coarse masks (expected.json)."""
    coarse = DAVIS / "coarse.json.gz"
    words = ["--truth", DAVIS, "--masks", coarse, "--compare", coarse]
    found = result_of(*words, tmp_path)
    expected = json.loads((DAVIS / "expected.json").read_text())["baseline"]
    assert {key: found[key] for key in ("J", "F", "J&F")} == pytest.approx(
        {key: expected[key] for key in ("J", "F", "J&F")}, abs=1e-12
    )
    assert found["names"] == 70 and found["videos"] == 15
    assert found["compare"]["difference"]["J&F"] == {"mean": 0, "interval": [0, 0]}


def test_unsupervised_matches_and_leaves_out_void(tmp_path):
    """Objects under other numbers score as under their own; a third one costs nothing."""
    truth = pictures(5)
    truth[:, 25:, :] = 255
    masks = np.choose(pictures(5), [0, 3, 1]).astype(np.uint8)
    masks[:, 26:, 3:9] = 1  # where nothing counts
    masks[3:, 0:2, 30:] = 2
    paths = write_tree(tmp_path / "t", {"a": truth}), write_tree(tmp_path / "m", {"a": masks})
    words = ["--truth", paths[0], "--masks", paths[1], "--dataset", "davis17"]
    found = result_of(*words, "--protocol", "unsupervised", tmp_path)
    assert found["J"] == found["F"] == 1 and found["names"] == 2
    assert found["per_name"][0]["frames"] == 5
    write_json(tmp_path / "m.json", {"a": {"1": [None] * 5}})
    words[3] = tmp_path / "m.json"
    with pytest.raises(InputError, match="protocol unsupervised: expected masks <video>/<frame>"):
        main([*map(str, words), "--protocol", "unsupervised"])


def test_objects_count_after_the_frame_that_first_shows_them(tmp_path):
    """Object 2 shows in frames 2 to 4: frames 3 and 4 count, which are missed; 1 is hit."""
    truth, masks = pictures(6), pictures(6)
    truth[:2][truth[:2] == 2] = 0
    masks[masks == 2] = 0
    paths = write_tree(tmp_path / "t", {"a": truth}), write_tree(tmp_path / "m", {"a": masks})
    found = result_of("--truth", paths[0], "--masks", paths[1], "--dataset", "mose", tmp_path)
    rows = {row["name"]: row for row in found["per_name"]}
    assert (rows["1"]["frames"], rows["1"]["J&F"]) == (4, 1)
    assert (rows["2"]["frames"], rows["2"]["J&F"]) == (2, 0)


def test_two_sets_of_masks_are_paired(two, tmp_path, capsys):
    truth, masks, truth_path, masks_path = two
    words = ["--truth", truth_path, "--masks", masks_path, "--compare", truth_path]
    found = result_of(*words, tmp_path)
    difference = found["compare"]["difference"]["J&F"]
    assert found["compare"]["J&F"] == 1
    assert difference["mean"] == pytest.approx(1 - found["J&F"], abs=1e-15)
    means = [np.mean([r["J&F"] for r in found["per_name"] if r["video"] == v]) for v in "ab"]
    assert difference["interval"] == pytest.approx(sorted(1 - m for m in means), abs=1e-12)
    assert "B - A" in capsys.readouterr().out


def test_one_video_gives_no_interval(tmp_path, capsys):
    """Whatever is resampled of one video is that video: no interval could exclude anything."""
    track = [encode(np.ones(SIZE, np.uint8))] * 2
    write_json(tmp_path / "truth.json", {"a": {"0": track}})
    write_json(tmp_path / "empty.json", {"a": {"0": [None, None]}})
    truth, empty = (str(tmp_path / f"{name}.json") for name in ("truth", "empty"))
    assert main(["--truth", truth, "--masks", empty, "--compare", truth]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│ J ")]
    assert rows and "+100.00" in rows[0] and ".." not in rows[0] and "*" not in rows[0]


def test_sets_of_other_names_are_not_paired(tmp_path):
    """The script leaves out what is missing, so that the two means go over other names."""
    track = [encode(np.ones(SIZE, np.uint8))] * 2
    write_json(tmp_path / "whole.json", {"a": {"0": track, "1": track}})
    write_json(tmp_path / "part.json", {"a": {"0": track}})
    whole, part = (str(tmp_path / f"{name}.json") for name in ("whole", "part"))
    words = ["--truth", whole, "--masks", whole, "--compare", part]
    words += ["--missing", "protocol", "--protocol", "expressions:strict"]
    with pytest.raises(InputError, match=r"other names; .*\n  video a: 1: only in .*whole.json"):
        main(words)


def test_a_frame_that_does_not_count_need_not_be_there(tmp_path):
    """MOSEv2 counts the middle one of three frames, where the answer is right."""
    for folder, frames in (("truth", "01"), ("masks", "012")):
        place = tmp_path / folder / "a" / "1"
        place.mkdir(parents=True)
        for frame in frames:
            Image.fromarray(np.uint8(255 * (pictures(3)[0] == 1))).save(place / f"{frame}.png")
    second = tmp_path / "truth" / "a" / "2"
    second.mkdir()
    for frame in "012":
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(second / f"{frame}.png")
    words = ["--truth", tmp_path / "truth", "--masks", tmp_path / "masks", "--missing", "empty"]
    found = result_of(*words, "--protocol", "mosev2", tmp_path)
    assert found["J"] == 1 and found["trivial"]["empty"]["J"] < 1


def test_trivial_answers_under_the_same_protocol(tmp_path, capsys):
    """Object 1 shows in the inner frames 1 and 2 of 1, 2, 3: an empty answer has 1 of 3."""
    truth = pictures(7, numbers=(1,))
    truth[3] = 0
    path = write_tree(tmp_path / "truth", {"a": truth})
    words = ["--truth", path, "--masks", path, "--dataset", "davis17"]
    found = result_of(*words, tmp_path)
    shares = [(frame == 1).mean() for frame in truth[1:4]]
    assert found["trivial"]["empty"]["J"] == found["trivial"]["empty"]["F"] == 1 / 3
    whole = found["trivial"]["whole frame"]
    assert whole["J"] == pytest.approx(np.mean(shares), abs=1e-15)
    assert whole["F"] == 1 / 3  # neither has a boundary in frame 3
    assert found["J&F"] == 1 and "Beside trivial answers" in capsys.readouterr().out
    found = result_of(*words, "--protocol", "unsupervised", tmp_path)
    assert found["trivial"]["empty"]["J"] == 1 / 5
    assert "trivial" not in result_of(*words, "--no-trivial", tmp_path)


def test_an_empty_volume_scores_nothing(tmp_path, capsys):
    """The object shows in frames 0 and 1 of 5: of the frames between first and last in one.

    Frame 0 does not count, so the answer, which shows it in frame 1 alone, is right as a whole.
    """
    truth = pictures(7, numbers=(1,))
    truth[2:] = 0
    masks = truth.copy()
    masks[0] = 0
    trees = [write_tree(tmp_path / name, {"a": x}) for name, x in (("t", truth), ("m", masks))]
    words = ["--truth", trees[0], "--masks", trees[1], "--dataset", "davis17", "--volumetric"]
    found = result_of(*words, tmp_path)
    assert found["JF_volume"] == found["per_name"][0]["JF_volume"] == 1
    empty = found["trivial"]["empty"]
    assert (empty["J&F"], empty["JF_volume"]) == (2 / 3, 0)
    assert "arXiv 2610.02946 could not be read" in capsys.readouterr().out
    with pytest.raises(InputError, match="--volumetric: protocol unsupervised matches objects"):
        result_of(*words, "--protocol", "unsupervised", tmp_path)


def test_everything_that_does_not_fit_is_listed_at_once(tmp_path, capsys):
    """Missing and extra videos, frames and objects, sizes, broken pictures."""
    videos = {name: pictures(i) for i, name in enumerate("abcdef")}
    truth = write_tree(tmp_path / "truth", videos)
    masks = write_tree(tmp_path / "masks", {name: videos[name] for name in "abd"})
    (masks / "a/00005.png").unlink()
    Image.fromarray(videos["a"][0]).save(masks / "a/00007.png")
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save(masks / "b/00005.png")
    write_tree(masks, {"c": pictures(2, size=(40, 30)), "z": videos["a"]})
    (masks / "d/00010.png").write_bytes((masks / "d/00010.png").read_bytes()[:80])
    write_tree(masks, {"e": videos["e"]})
    Image.new("RGB", SIZE[::-1]).save(masks / "e/00000.png")
    words = ["--truth", str(truth), "--masks", str(masks)]
    with pytest.raises(InputError) as caught:
        main(words)
    lines = str(caught.value)
    for expected in (
        "video z: masks, but no truth",
        "video a: 1 frames without truth: 00007",
        "video a: 1: prediction, frame 1: the frame's file is missing",
        "video b: not in the truth: 7; the truth has 1, 2",
        "frame 0: truth 30 x 40, prediction 40 x 30",
        "masks/d/00010.png: cannot be read as an image",
        "masks/e/00000.png: expected a palette or grey picture of numbers, got mode RGB",
        "video f: no masks",
    ):
        assert expected in lines
    assert not capsys.readouterr().out
    for name in "cdez":
        for path in (masks / name).iterdir():
            path.unlink()
        (masks / name).rmdir()
    found = result_of(*words, "--missing", "empty", "--extra", "ignore", tmp_path)
    rows = {(row["video"], row["name"]): row for row in found["per_name"]}
    assert len(rows) == 12 and rows["f", "1"]["J&F"] == 0
    assert rows["a", "1"]["J"] == rows["b", "2"]["J"] == 4 / 5


def test_black_and_white_pictures_have_no_object_numbers(tmp_path):
    """White is 255, the number of void pixels."""
    path = write_tree(tmp_path / "truth", {"a": 255 * pictures(1, numbers=(1,))})
    words = ["--truth", str(path), "--masks", str(path)]
    with pytest.raises(InputError, match="not in the truth: 255; the truth has nothing; 255 is no"):
        main(words)
    with pytest.raises(InputError, match="nothing to score.*255 is void"):
        main([*words, "--extra", "ignore"])
    numbers = write_tree(tmp_path / "numbers", {"a": pictures(1)})
    with pytest.raises(InputError, match="video a: not in the truth: 255; the truth has 1, 2; 255"):
        main(["--truth", str(numbers), "--masks", str(path)])


def test_a_folder_of_other_files(two, tmp_path):
    _, _, truth, masks = two
    for path in masks.glob("*/*.png"):
        path.rename(path.with_suffix(".jpg"))
    with pytest.raises(InputError, match="masks: expected masks in PNG or JSON files, found neith"):
        main(["--truth", str(truth), "--masks", str(masks)])


@pytest.mark.parametrize(
    "words, message",
    [
        (["--rows", "-1"], "--rows: expected 0 or more"),
        (["--workers", "0"], "--workers: expected 1 or more"),
        (["--masks", "nothing"], "nothing: no such file or folder"),
        (["--truth", "nothing"], "nothing: no such file or folder"),
        (["--confidence", "2", "--masks", "nothing"], "confidence"),  # before any file is read
        (["--videos", "/dev/null"], "--videos /dev/null: expected a name of a video per line"),
    ],
)
def test_wrong_arguments(two, words, message):
    _, _, truth, masks = two
    with pytest.raises(InputError, match=message):
        main(["--truth", str(truth), "--masks", str(masks), *words])
