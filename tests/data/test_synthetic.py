"""The generator: MeViS files that say the truth, same seed same files, no way around the text."""

import filecmp
import json
from collections import Counter

import numpy as np
import pytest
from commands import command
from PIL import Image

from demo.text_blind import predictions
from rvos import InputError
from rvos.data import sprites
from rvos.data.mevis import Annotations, read_split
from rvos.data.split import merge_tracks
from rvos.data.synthetic import ALONE, MOTIONS, PAIRS, synthesize
from rvos.masks import area, bounding_box, decode
from rvos.score import score_track

main = command("data")

RECIPE = {
    "num_frames": 20,
    "size": (96, 160),
    "num_objects": (3, 5),
    "object_size": (0.2, 0.34),
    "camera_shake": 1.0,
    "pillars": 0.3,
    "no_target": 0.0,
    "jpeg_quality": 90,
    "seed": 7,
    "hidden_truth": ["valid"],
    "workers": 2,
}


def write(out, **changes):
    synthesize(out, **{**RECIPE, "num_videos": {"train": 0, "valid_u": 12, "valid": 2}, **changes})
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture(scope="module")
def split(made):
    return read_split(made, "valid_u")


@pytest.fixture(scope="module")
def truth(split):
    return Annotations(split)


@pytest.fixture(scope="module")
def objects(made):
    return json.loads((made / "valid_u" / "objects.json").read_text())


def test_it_is_a_mevis_dataset(made, split, truth):
    assert len(split.videos) == 12 and not (made / "train").exists()
    for video in split.videos:
        assert len(video.frames) == 20
        for frame in video.frames:
            with Image.open(split.frame_path(video.name, frame)) as image:
                assert image.size == (160, 96) and image.format == "JPEG"
        for expression in video.expressions:
            for i in expression.annotation_ids:
                assert len(truth.track(i)) == 20 and truth.index.size(i) == (96, 160)
    valid = read_split(made, "valid")
    assert all(not e.annotation_ids for v in valid.videos for e in v.expressions)
    assert not (made / "valid" / "mask_dict.json").exists()


def test_masks_of_one_video_do_not_overlap(split, truth):
    """They are what is seen: an object behind another has no mask there."""
    for video in split.videos:
        ids = {i for e in video.expressions for i in e.annotation_ids}
        for t in range(20):
            masks = [decode(mask) for i in ids if (mask := truth.mask(i, t)) is not None]
            assert np.sum(masks, axis=0).max() <= 1


def test_expressions_are_true_of_their_objects_and_of_no_others(split, objects):
    """Read from the words alone: noun, colour, motion."""
    phrases = {phrase: name for name, both in MOTIONS.items() for phrase in both}
    for video in split.videos:
        for expression in video.expressions:
            words = expression.text.removeprefix("the ")
            color = next((c for c in sprites.COLORS if words.startswith(c)), None)
            noun, _, motion = words.removeprefix(f"{color} ").partition(" ")
            expected = {
                i
                for i, thing in objects[video.name].items()
                if thing["category"] == noun.removesuffix("s")
                and color in (None, thing["color"])
                and (not motion or phrases[motion] == thing["motion"])
            }
            assert set(expression.annotation_ids) == expected != set()
            assert noun.endswith("s") == (len(expected) > 1)


def test_nouns_are_the_categories(made, split, objects):
    nouns = json.loads((made / "valid_u" / "nouns.json").read_text())
    for video in split.videos:
        for e in video.expressions:
            found = {objects[video.name][i]["category"] for i in e.annotation_ids}
            assert found == {nouns[video.name][e.expression_id]}


def test_some_objects_differ_by_their_motion_alone(objects):
    """In most videos two objects share category and colour, and then never the motion."""
    alike = 0
    for things in objects.values():
        looks = [(thing["category"], thing["color"]) for thing in things.values()]
        full = [(*look, t["motion"]) for look, t in zip(looks, things.values(), strict=True)]
        assert len(set(full)) == len(full)
        alike += len(set(looks)) < len(looks)
    assert alike >= len(objects) / 2


def centres(track):
    """{frame: (x, y)} of the boxes, pixels, where the object is."""
    boxes = {t: bounding_box(mask) for t, mask in enumerate(track)}
    return {t: np.array([b[0] + b[2], b[1] + b[3]]) / 2 for t, b in boxes.items() if b}


def test_objects_move_as_they_are_called(tmp_path):
    """Without shake, other objects and pillars, so that masks are whole: first to last centre."""
    write(tmp_path, num_videos={"valid_u": 60}, num_objects=(1, 1), camera_shake=0, pillars=0)
    split = read_split(tmp_path, "valid_u")
    truth = Annotations(split)
    seen = set()
    things = json.loads((tmp_path / "valid_u" / "objects.json").read_text())
    for video in things.values():
        ((annotation_id, thing),) = video.items()
        at = centres(truth.track(annotation_id))
        dx, dy = at[19] - at[0]
        motion = thing["motion"]
        seen.add(motion)
        if motion in ("left", "right"):
            assert dx * (1 if motion == "right" else -1) > 30 and abs(dy) < 5
        elif motion in ("up", "down"):
            assert dy * (1 if motion == "down" else -1) > 15 and abs(dx) < 5
        elif motion == "still":
            assert all(np.abs(p - at[0]).max() <= 1 for p in at.values())
        elif motion == "leave":
            assert len(at) < 20 and {0, 19} <= at.keys() and np.abs(at[19] - at[0]).max() < 8
        elif motion == "turn":
            assert np.abs(at[19] - at[0]).max() < 5 and abs(at[9][0] - at[0][0]) > 30
    assert seen == set(ALONE)


def test_pairs_move_one_after_the_other_or_behind_it(tmp_path):
    """As above, of two objects of one look; frames where one covers the other are left out."""
    write(tmp_path, num_videos={"valid_u": 60}, num_objects=(2, 2), camera_shake=0, pillars=0)
    split = read_split(tmp_path, "valid_u")
    truth = Annotations(split)
    seen = Counter()
    things = json.loads((tmp_path / "valid_u" / "objects.json").read_text())
    for video in things.values():
        tracks = {thing["motion"]: truth.track(i) for i, thing in video.items()}
        pair = next((p for p in PAIRS if set(p) == set(tracks)), None)
        if pair is None:
            continue
        assert len({(thing["category"], thing["color"]) for thing in video.values()}) == 1
        one, other = (centres(tracks[motion]) for motion in pair)
        sizes = [np.array([area(mask) for mask in track]) for track in tracks.values()]
        if any((size[[0, 9, 19]] < 0.9 * size.max()).any() for size in sizes):
            continue
        seen[pair] += 1
        if pair == ("first", "last"):
            assert np.abs(one[9] - one[0]).max() > 15 and np.abs(other[9] - other[0]).max() < 3
            assert np.abs(one[19] - one[9]).max() < 3 and np.abs(other[19] - other[9]).max() > 15
        else:
            way = one[19][0] - one[0][0]
            assert abs(way) > 30 and abs(other[19][0] - other[0][0] - way) < 5
            assert all(np.sign(way) * (one[t][0] - other[t][0]) > 5 for t in (0, 9, 19))
    assert all(seen[pair] >= 3 for pair in PAIRS), seen


def test_colours_can_be_seen(made, split, truth, objects):
    """The mean colour inside an object's mask is nearest to the colour that it is called."""
    names = list(sprites.COLORS)
    reference = np.array([sprites.COLORS[name] for name in names], float)
    right = total = 0
    for video in split.videos:
        with Image.open(split.frame_path(video.name, video.frames[0])) as image:
            pixels = np.asarray(image.convert("RGB"), float)
        for i, thing in objects[video.name].items():
            mask = truth.mask(i, 0)
            if area(mask) > 50:
                mean = pixels[decode(mask) > 0].mean(0)
                direction = reference @ mean / np.linalg.norm(reference, axis=1)
                right += names[int(direction.argmax())] == thing["color"]
                total += 1
    assert total > 30 and right > 0.95 * total


def test_the_same_seed_gives_the_same_files_whatever_the_workers(made, tmp_path):
    again = write(tmp_path / "again", workers=1)
    files = sorted(str(p.relative_to(again)) for p in again.rglob("*.*") if p.is_file())
    assert len(files) == 14 * 20 + 4 + 2
    assert filecmp.cmpfiles(made, again, files, shallow=False) == (files, [], [])
    other = write(tmp_path / "other", seed=8, num_videos={"valid_u": 1})
    meta = "valid_u/meta_expressions.json"
    assert (other / meta).read_bytes() != (made / meta).read_bytes()


def test_no_target_expressions_on_request(tmp_path):
    write(tmp_path, no_target=0.3, num_videos={"train": 25}, num_frames=2, size=(32, 32))
    split = read_split(tmp_path, "train")
    expressions = [e for v in split.videos for e in v.expressions]
    share = np.mean([not e.annotation_ids for e in expressions])
    assert 0.25 < share < 0.35
    for video in split.videos:
        true = {e.text for e in video.expressions if e.annotation_ids}
        assert not true & {e.text for e in video.expressions if not e.annotation_ids}


@pytest.mark.slow
def test_baselines_that_ignore_the_text_stay_under_40(tmp_path):
    write(tmp_path, num_videos={"valid_u": 20}, num_frames=15, size=(128, 192))
    split = read_split(tmp_path, "valid_u")
    truth = Annotations(split)
    for baseline in ("largest", "fastest"):
        guesses = predictions(split, truth, baseline)
        scores = [
            np.mean(
                score_track(
                    merge_tracks([truth.track(i) for i in e.annotation_ids], 15),
                    guesses[video.name][e.expression_id],
                )
            )
            for video in split.videos
            for e in video.expressions
        ]
        assert 0.05 < np.mean(scores) < 0.40


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_frames", 0, "^num_frames: expected a whole number >= 1, got 0"),
        ("size", (8, 8), "^size: expected a list of 2, each a whole number >= 32"),
        (
            "num_objects",
            (4, 2),
            "^num_objects: expected least and most, each a whole number >= 1 and <= 8",
        ),
        ("no_target", 1.0, "^no_target: expected a number >= 0 and < 1"),
        (
            "num_videos",
            {"test": 1},
            "^num_videos: expected whole numbers >= 0 for the splits",
        ),
    ],
)
def test_values_out_of_range_are_named(tmp_path, key, value, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path, **{key: value})


def test_the_command_writes_and_refuses_to_overwrite(tmp_path, capsys):
    arguments = [
        "synthesize",
        f"out={tmp_path}/d",
        "num_videos={train: 1, valid_u: 0, valid: 0}",
        "num_frames=2",
        "size=[32,48]",
        "workers=1",
    ]
    assert main(arguments) == 0
    assert len(read_split(tmp_path / "d", "train").videos) == 1
    assert main(arguments) == 1
    assert "has the splits ['train'] already" in capsys.readouterr().err
