"""Masks of runs as files of others: read back by their tools and, with equal RLE, by rvos.

Takes about 15 s, most of it for two runs of eval.py.
"""

import io
import json
import os
import re
import zipfile

import numpy as np
import pytest
from commands import command
from made_data import square
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from rvos.data.split import Expression, Split, Video, own_split
from rvos.errors import InputError
from rvos.masks import TrackFiles, canonical_track, encode, read_json, write_json
from rvos.score.sources import open_masks
from rvos.stages.run_folder import keep_split, kept_videos, used_split

main = command("export")


@pytest.fixture
def export(tiny, tmp_path, capsys):
    def make(kind):
        path = tmp_path / kind
        assert main([str(tiny.run), "--format", kind, "--out", str(path)]) == 0
        assert str(path) in capsys.readouterr().out
        return path

    return make


@pytest.fixture
def refined(tiny):
    return {v: read_json(tiny.run / "refined" / f"{v}.json.gz") for v in ("one", "two", "three")}


def pixels_of(mask):
    return np.zeros((48, 80), np.uint8) if mask is None else coco_mask.decode(mask)


def test_pngs_have_the_pixels_of_the_masks(export, refined):
    with zipfile.ZipFile(export("png")) as archive:
        assert len(archive.namelist()) == 3 * 4 * 12
        for t in (0, 5, 11):
            with Image.open(io.BytesIO(archive.read(f"one/1/{t:05d}.png"))) as image:
                assert image.mode == "L"
                assert np.array_equal(np.asarray(image), 255 * pixels_of(refined["one"]["1"][t]))
            with Image.open(io.BytesIO(archive.read(f"one/3/{t:05d}.png"))) as image:
                assert not np.asarray(image).any()


def test_rle_is_what_coarse_path_reads(export, refined):
    path = export("rle")
    path = path.rename(path.with_suffix(".json"))
    assert TrackFiles(path).read("two") == refined["two"]


def test_coco_reads_its_own(export, refined):
    found = COCO(str(export("coco")))
    assert len(found.getImgIds()) == 3 * 12
    categories = {(c["video"], c["expression_id"]): c for c in found.loadCats(found.getCatIds())}
    assert categories["two", "2"]["name"] == "both <squares> (two 2)"  # others say it too
    seen = 0
    for annotation in found.loadAnns(found.getAnnIds()):
        image = found.loadImgs(annotation["image_id"])[0]
        category = found.loadCats(annotation["category_id"])[0]
        assert image["video"] == category["video"]
        t = int(image["file_name"].removesuffix(".jpg").rpartition("/")[2])
        expected = pixels_of(refined[image["video"]][category["expression_id"]][t])
        assert np.array_equal(found.annToMask(annotation), expected)
        ys, xs = np.nonzero(expected)
        box = [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]
        assert annotation["bbox"] == box and annotation["area"] == expected.sum()
        seen += 1
    masks = (m for video in refined.values() for track in video.values() for m in track)
    assert seen == sum(mask is not None for mask in masks) > 0


def test_youtube_vis_has_a_segmentation_per_frame(export, refined):
    content = json.loads(export("ytvis").read_text())
    names = {v["id"]: v["file_names"][0].split("/")[0] for v in content["videos"]}
    assert [v["length"] for v in content["videos"]] == [12, 12, 12]
    categories = {c["id"]: c for c in content["categories"]}
    assert len(content["annotations"]) == len(categories) == 12
    for annotation in content["annotations"]:
        key = categories[annotation["category_id"]]["expression_id"]
        assert annotation["segmentations"] == refined[names[annotation["video_id"]]][key]
        areas = [
            None if m is None else int(pixels_of(m).sum()) for m in annotation["segmentations"]
        ]
        assert annotation["areas"] == areas


def test_a_folder_without_a_run_is_named(tmp_path, capsys):
    assert main([str(tmp_path), "--format", "rle"]) == 1
    assert f"{tmp_path}: expected the folder of a run" in capsys.readouterr().err


@pytest.fixture
def own_run(tmp_path):
    """The folder of a run over every second of five PNGs, which are gone; mask t has t + 1 rows."""
    folder, run = tmp_path / "frames", tmp_path / "run"
    folder.mkdir()
    for t in range(5):
        Image.new("RGB", (12, 8)).save(folder / f"img_{t}.png")
        (folder / f"img_{t}.json").write_text("{}")  # as programs for labels write them
    split = own_split(folder, ["the cat", "the dog", "the cat"], every=2)
    keep_split(run, split)
    masks = []
    for t in range(3):
        pixels = np.zeros((8, 12), np.uint8)
        pixels[: t + 1] = 1
        masks.append(encode(pixels))
    write_json(run / "refined" / "frames.json.gz", {"0": masks, "1": [None] * 3, "2": masks})
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    return run


def test_the_frames_are_those_that_the_run_used(own_run, tmp_path):
    """Their names and files are there without the video, and categories have unique names."""
    assert main([str(own_run), "--format", "coco", "--out", str(tmp_path / "coco.json")]) == 0
    found = COCO(str(tmp_path / "coco.json"))
    files = [image["file_name"] for image in found.loadImgs(found.getImgIds())]
    assert files == ["frames/img_0.png", "frames/img_2.png", "frames/img_4.png"]
    areas = {}
    for annotation in found.loadAnns(found.getAnnIds(catIds=[1])):
        areas[found.loadImgs(annotation["image_id"])[0]["file_name"]] = annotation["area"]
    assert list(areas.values()) == [12, 24, 36]
    names = [category["name"] for category in found.loadCats(found.getCatIds())]
    assert names == ["the cat (frames 0)", "the dog", "the cat (frames 2)"]
    assert main([str(own_run), "--format", "png", "--out", str(tmp_path / "m.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        assert [n for n in archive.namelist() if n.startswith("frames/0/")] == [
            f"frames/0/img_{t}.png" for t in (0, 2, 4)
        ]


def test_frames_of_a_dataset_have_the_names_that_are_there(tmp_path):
    """PNGs, a JPEG beside its mask, and a frame that is not there."""
    folder, run = tmp_path / "JPEGImages" / "v", tmp_path / "run"
    folder.mkdir(parents=True)
    for name in ("0.png", "1.jpg", "1.png"):
        Image.new("RGB", (60, 40)).save(folder / name)
    texts = {"0": "the cat", "1": " the  cat\u2028", "2": "the cat (v 0)", "3": ""}
    said = tuple(Expression("v", key, text, (), ()) for key, text in texts.items())
    keep_split(run, Split(tmp_path, "s", (Video("v", ("0", "1", "2"), said),), ""))
    write_json(run / "refined" / "v.json.gz", {key: [square(1, 1), None, None] for key in texts})
    for kind in ("coco", "ytvis"):
        assert main([str(run), "--format", kind, "--out", str(tmp_path / kind)]) == 0
    images = COCO(str(tmp_path / "coco")).imgs.values()
    (video,) = json.loads((tmp_path / "ytvis").read_text())["videos"]
    files = ["v/0.png", "v/1.jpg", "v/2.jpg"]
    assert [image["file_name"] for image in images] == video["file_names"] == files
    categories = json.loads((tmp_path / "coco").read_text())["categories"]
    names = ["the cat (v 0)", "the cat (v 1)", "the cat (v 0)'", "(v 3)"]
    assert [category["name"] for category in categories] == names
    with pytest.raises(
        InputError, match=r"config\.yaml: not as rvos writes it: KeyError\('format'\)"
    ):
        used_split(run, {"data": {"root": str(tmp_path), "split": "s"}})


def test_a_folder_of_many_videos_is_listed_once(tmp_path, monkeypatch):
    """Whose entries tell by themselves that a folder is no frame."""
    (tmp_path / "all" / "1.png").mkdir(parents=True)
    (tmp_path / "all" / "0.png").write_bytes(b"")
    videos = tuple(Video(name, ("0", "1"), ()) for name in "abc")
    split = Split(tmp_path, "s", videos, "", frames_at="all")
    listed, scandir = [], os.scandir
    monkeypatch.setattr("os.scandir", lambda path: listed.append(path) or scandir(path))
    assert [split.files(video) for video in videos] == [["0.png", "1.jpg"]] * 3
    assert listed == [tmp_path / "all"]
    (tmp_path / "all" / "1.jpeg").write_bytes(b"")
    os.utime(tmp_path / "all", ns=(1, 1))
    assert split.files(videos[0]) == ["0.png", "1.jpeg"]


def test_names_of_ones_own_may_be_long_and_have_backslashes(tmp_path):
    folder, run = tmp_path / ("x" * 245), tmp_path / "run"
    folder.mkdir()
    Image.new("RGB", (12, 8)).save(folder / r"a\b 1.png")
    keep_split(run, own_split(folder, ["the cat"]))
    [kept] = kept_videos(run)
    assert (kept.video.name, kept.video.frames) == (folder.name, (r"a\b 1",))
    assert kept.files == (r"a\b 1.png",) and kept.video.expressions[0].text == "the cat"


@pytest.mark.parametrize("name", ["..", "a/../../b", "/etc/x", ""])
def test_names_that_leave_the_run_are_refused(tmp_path, name):
    one = {"frames": ["0"], "files": ["0.png"], "size": None, "expressions": {"0": "the cat"}}
    write_json(tmp_path / "split.json", {name: one})
    with pytest.raises(InputError, match="not the videos of a run"):
        kept_videos(tmp_path)


def test_a_video_without_masks_has_the_size_of_its_frames_or_is_left_out(own_run, capsys, caplog):
    write_json(own_run / "refined" / "frames.json.gz", dict.fromkeys("012", [None] * 3))
    assert main([str(own_run), "--format", "ytvis"]) == 0
    content = read_json(own_run / "masks_ytvis.json")
    assert [(v["height"], v["width"]) for v in content["videos"]] == [(8, 12)]
    kept = read_json(own_run / "split.json")
    kept["frames"]["size"] = None
    kept["other"] = kept["frames"] | {"size": [4, 4]}
    write_json(own_run / "split.json", kept)
    write_json(own_run / "refined" / "other.json.gz", dict.fromkeys("012", [None] * 3))
    assert main([str(own_run), "--format", "ytvis"]) == 0
    assert len(read_json(own_run / "masks_ytvis.json")["videos"]) == 1
    assert "unknown size" in caplog.text and "frames" in caplog.text
    # the run has kept the truth of it, or its coarse masks
    inputs = {"tracks": {"a": [None] * 3, "b": [None, {"size": [6, 9], "counts": "6"}, None]}}
    write_json(own_run / "inputs" / "frames.json.gz", inputs)
    caplog.clear()
    assert main([str(own_run), "--format", "ytvis"]) == 0
    content = read_json(own_run / "masks_ytvis.json")
    assert [(v["height"], v["width"]) for v in content["videos"]] == [(6, 9), (4, 4)]
    assert not caplog.text


def test_what_cannot_be_written_is_one_line(own_run, tmp_path, capsys):
    """A folder in place of the file, and a name that no file can have."""
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "folder", tmp_path / ("n" * 300 + ".json")):
        assert main([str(own_run), "--format", "rle", "--out", str(out)]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: {out}: ") and said.count("\n") == 1
    long = tmp_path / ("n" * 245 + ".json")
    assert main([str(own_run), "--format", "rle", "--out", str(long)]) == 0


# ------------------------------------------------------------------------------- round trips

SIZES = {"a park/two dogs": (8, 12), "odd ö": (5, 7)}
FRAMES = {"a park/two dogs": ("img 2", "img 10", "b"), "odd ö": ("00000",)}
TEXTS = {
    "a park/two dogs": {"0": "the dog", "x y": "both dogs", "2": "the dog", "3": "nothing"},
    "odd ö": {"0": "the dog", "1": "the dog (odd ö 0)"},
}


def rows(size, *numbers):
    pixels = np.zeros(size, bool)
    pixels[list(numbers)] = True
    return encode(pixels)


@pytest.fixture
def odd_run(tmp_path):
    """A run with two equal sentences, several targets, names with spaces and empty masks."""
    run = tmp_path / "run"
    dogs, odd = SIZES
    a, b = SIZES.values()
    refined = {
        dogs: {
            "0": [rows(a, 0), rows(a, 1), None],
            "x y": [rows(a, 0, 5), rows(a, 1, 4), rows(a, 3)],
            "2": [None, None, rows(a, *range(8))],  # a mask that fills the frame
            "3": [None] * 3,
        },
        odd: {"0": [rows(b, 0, 2, 4)], "1": [None]},
    }
    masklets = {
        dogs: {
            "dog": [refined[dogs]["0"], [None] * 3, [rows(a, 5), None, None]],
            "cat": [],
            "unasked": [[None] * 3],
        },
        odd: {"dog": [[rows(b, 3)]]},
    }
    for video, tracks in refined.items():
        write_json(run / "refined" / f"{video}.json.gz", tracks)
        values = dict(zip(tracks, (0.9, 0.25, 0.5, 0.1), strict=False))
        decisions = {
            key: {
                "noun": "cat" if TEXTS[video][key] == "nothing" else "dog",
                "presence": {"value": value, "present": True},
            }
            for key, value in values.items()
        }
        write_json(run / "decisions" / f"{video}.json", decisions)
    split = {
        video: {
            "frames": frames,
            "files": [f"{frame}.jpg" for frame in frames],
            "size": SIZES[video],
            "expressions": TEXTS[video],
        }
        for video, frames in FRAMES.items()
    }
    write_json(run / "split.json", split)
    write_json(tmp_path / "masklets.json", masklets)
    write_json(run / "masklets.json", {"path": "../masklets.json", "by_expression": False})
    del masklets[dogs]["unasked"]
    return run, refined, masklets


def unpacked(path):
    """Where a file of masks is read: an archive's folder, or the file as JSON."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(path.with_suffix(".folder"))
        return path.with_suffix(".folder")
    return path.rename(path.with_suffix(".json"))


@pytest.mark.parametrize("kind", ["png", "annotations", "rle", "sa2va", "coco", "ytvis"])
def test_what_is_written_is_read_with_equal_rle(odd_run, tmp_path, kind):
    run, refined, _ = odd_run
    assert main([str(run), "--format", kind, "--out", str(tmp_path / kind)]) == 0
    files = TrackFiles(unpacked(tmp_path / kind))
    assert set(files.videos()) == set(refined)
    for video, tracks in refined.items():
        found = files.read(video, FRAMES[video])
        assert {key: canonical_track(track) for key, track in found.items()} == tracks


@pytest.mark.parametrize("kind", ["rle", "coco", "ytvis"])
def test_masklets_keep_their_instances_and_nouns_without_one(odd_run, tmp_path, kind):
    run, _, masklets = odd_run
    out = tmp_path / "out.json"
    assert main([str(run), "--masklets", "--format", kind, "--out", str(out)]) == 0
    files = TrackFiles(out, instances=True)
    assert {video: files.read(video, FRAMES[video]) for video in masklets} == masklets


def test_pillow_sees_the_masks_in_a_zip_for_the_server_of_ref_youtube_vos(odd_run, tmp_path):
    run, refined, _ = odd_run
    assert main([str(run), "--format", "annotations", "--out", str(tmp_path / "m.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        assert len(archive.namelist()) == 4 * 3 + 2 * 1
        for video, tracks in refined.items():
            for key, track in tracks.items():
                for frame, mask in zip(FRAMES[video], track, strict=True):
                    name = f"Annotations/{video}/{key}/{frame}.png"
                    expected = np.zeros(SIZES[video]) if mask is None else coco_mask.decode(mask)
                    with Image.open(io.BytesIO(archive.read(name))) as image:
                        assert np.array_equal(np.asarray(image), 255 * expected)


def test_every_frame_of_sa2va_decodes(odd_run):
    """The family's scorers decode every mask, and take the size from the first."""
    run, refined, _ = odd_run
    assert main([str(run), "--format", "sa2va"]) == 0
    content = json.loads((run / "results.json").read_text())
    assert content.keys() == refined.keys()
    for video, results in content.items():
        for key, result in results.items():
            assert result["exp"] == TEXTS[video][key] and result["exp_id"] == key
            assert result["frames"] == list(FRAMES[video]) and result["video_id"] == video
            for mask, expected in zip(result["prediction_masks"], refined[video][key], strict=True):
                area = 0 if expected is None else coco_mask.area(expected)
                assert mask["size"] == list(SIZES[video]) and coco_mask.decode(mask).sum() == area


def test_coco_has_track_ids_and_categories_of_different_names(odd_run, tmp_path):
    run, refined, _ = odd_run
    assert main([str(run), "--format", "coco", "--out", str(tmp_path / "coco.json")]) == 0
    found = COCO(str(tmp_path / "coco.json"))
    names = [category["name"] for category in found.loadCats(found.getCatIds())]
    assert len(set(names)) == 6 and names[1] == "both dogs"
    assert names[0] == "the dog (a park/two dogs 0)" and names[2] == "the dog (a park/two dogs 2)"
    tracks = {track["id"]: track for track in found.dataset["tracks"]}
    assert len(tracks) == 6  # also of what is never seen
    shown = set()
    for annotation in found.loadAnns(found.getAnnIds()):
        track, image = tracks[annotation["track_id"]], found.imgs[annotation["image_id"]]
        assert track["category_id"] == annotation["category_id"]
        assert track["video_id"] == annotation["video_id"] == image["video_id"]
        category = found.cats[track["category_id"]]
        video, key = category["video"], category["expression_id"]
        mask = refined[video][key][image["frame_index"]]
        assert np.array_equal(found.annToMask(annotation), coco_mask.decode(mask))
        assert image["file_name"] == f"{video}/{FRAMES[video][image['frame_index']]}.jpg"
        assert annotation["score"] == {"0": 0.9, "x y": 0.25, "2": 0.5}[key]
        shown.add((video, key))
    dogs, odd = SIZES
    assert shown == {(dogs, "0"), (dogs, "x y"), (dogs, "2"), (odd, "0")}


def test_masklets_of_a_noun_share_its_category(odd_run, tmp_path):
    run, _, masklets = odd_run
    assert main([str(run), "--masklets", "--format", "ytvis"]) == 0
    content = json.loads((run / "masklets_ytvis.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["dog", "cat"]
    assert [video["neg_category_ids"] for video in content["videos"]] == [[2], []]
    segmentations = {1: [], 2: []}
    for annotation in content["annotations"]:
        assert annotation["category_id"] == 1 and annotation["track_id"] == annotation["id"]
        segmentations[annotation["video_id"]].append(annotation["segmentations"])
    assert list(segmentations.values()) == [tracks["dog"] for tracks in masklets.values()]


def test_expressions_frames_and_confidence_are_chosen(odd_run, tmp_path):
    run, refined, masklets = odd_run
    (dogs, odd), out = SIZES, tmp_path / "out.json"

    def written(*options, kind="rle"):
        assert main([str(run), "--format", kind, "--out", str(out), *options]) == 0
        return read_json(out)

    assert written("--expressions", f"{dogs}/0", "x y") == {
        dogs: {key: refined[dogs][key] for key in ("0", "x y")}
    }
    assert written("--min-confidence", "0.5") == {
        dogs: {key: refined[dogs][key] for key in ("0", "2")},
        odd: {"0": refined[odd]["0"]},
    }
    assert written("--frames", "1:") == {
        dogs: {key: track[1:] for key, track in refined[dogs].items()}
    }
    assert written("--masklets", "--expressions", "3", "--frames", ":2") == {dogs: {"cat": []}}
    written("--frames", "1:2", "--expressions", "x y", kind="ytvis")
    found = TrackFiles(out).read(dogs, FRAMES[dogs])
    assert found == {"x y": ["missing", refined[dogs]["x y"][1], "missing"]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--expressions", "0", "nobody"], "--expressions: not in"),
        (["--frames", "4"], "--frames: expected START:STOP"),
        (["--frames", "9:"], "without a frame of --frames"),
        (["--min-confidence", "0.95"], "no expression has --min-confidence"),
        (["--masklets", "--format", "png"], "--masklets: expected --format rle, coco, ytvis"),
    ],
)
def test_a_choice_of_nothing_is_one_message(odd_run, capsys, options, said):
    assert main([str(odd_run[0]), "--format", "rle", *options]) == 1
    assert said in capsys.readouterr().err


def test_masklets_of_a_run_that_is_not_finished(odd_run, capsys):
    (odd_run[0] / "decisions" / "odd ö.json").unlink()
    assert main([str(odd_run[0]), "--format", "rle", "--masklets"]) == 1
    assert "odd ö.json: " in (said := capsys.readouterr().err) and "is not finished" in said


def test_a_run_without_confidence_or_masklets_says_so(own_run, capsys):
    assert main([str(own_run), "--format", "rle", "--min-confidence", "0.5"]) == 1
    assert "presence=coarse_score" in capsys.readouterr().err
    assert main([str(own_run), "--format", "rle", "--masklets"]) == 1
    assert "read no masklets" in capsys.readouterr().err


def test_runs_and_the_scorer_read_what_is_exported(tiny, run_tiny, refined, tmp_path):
    """Masks as COCO and masklets as YouTube-VIS give the same refined masks and scores again."""
    masks, masklets = tmp_path / "masks.json", tmp_path / "masklets.json"
    assert main([str(tiny.run), "--format", "coco", "--out", str(masks)]) == 0
    assert main([str(tiny.run), "--masklets", "--format", "ytvis", "--out", str(masklets)]) == 0
    vote = ("refine.window=6", "refine.tau=0.5")
    for run in (
        run_tiny(tmp_path / "kept", f"coarse.path={masks}", "refine=none"),
        run_tiny(tmp_path / "voted", f"masklets.path={masklets}", *vote),
    ):
        again = {video: read_json(run / "refined" / f"{video}.json.gz") for video in refined}
        assert again == refined
    scores = []
    for path in (masks, tiny.run / "refined"):
        truth = ["--truth", str(tiny.data / "tiny"), "--masks", str(path)]
        assert command("score")([*truth, "--json", str(tmp_path / "scores.json")]) == 0
        scores.append(read_json(tmp_path / "scores.json")["per_name"])
    assert scores[0] == scores[1]


def test_the_status_of_a_run_of_predict(own_run, capsys):
    """It scores nothing: its refined masks say what is done."""
    (own_run / "config.yaml").write_text("config: {task: predict}\n")
    assert command("status")([str(own_run)]) == 0
    said = capsys.readouterr().out
    assert "1 of 1 videos" in said and re.search(r"missing\W+0", said)


def test_davis_has_a_picture_of_numbers_per_annotator(odd_run, tmp_path, capsys):
    """Two objects of four annotators: object 0 is row 0 plus the annotator's, 1 rows 1 to 4."""
    run, video, size = odd_run[0], "odd ö", SIZES["odd ö"]
    split = read_json(run / "split.json")
    keys = [str(i) for i in range(8)]
    split = {video: split[video] | {"expressions": dict.fromkeys(keys, "a dog")}}
    write_json(run / "split.json", split)
    refined = {key: [rows(size, 0, int(key))] for key in keys[:4]}
    refined |= {key: [rows(size, 1, 2, 3, 4)] for key in keys[4:]}
    write_json(run / "refined" / f"{video}.json.gz", refined)
    assert main([str(run), "--format", "davis", "--out", str(tmp_path / "davis")]) == 0
    folder = unpacked(tmp_path / "davis")
    for annotator in range(4):
        path = folder / f"anno_{annotator}"
        with Image.open(path / video / "00000.png") as image:
            assert image.mode == "P"
            expected = [1, 2, 2, 2, 2]
            expected[annotator] = 1  # the lower object covers the other
            assert np.asarray(image)[:, 0].tolist() == expected
        of_video = open_masks(path).read(video, ["00000"])
        assert of_video.names == ["1", "2"]
    assert main([str(run), "--format", "davis", "--expressions", "0", "1"]) == 1
    assert "expected the expression ids 4 x object + annotator" in capsys.readouterr().err


def test_the_scorer_takes_frames_by_name_and_videos_with_spaces(odd_run, tmp_path):
    """Beside themselves as pictures, masks have J = F = 1; the truth is a file of YouTube-VIS."""
    run, refined, _ = odd_run
    for kind in ("ytvis", "png"):
        assert main([str(run), "--format", kind, "--out", str(tmp_path / kind)]) == 0
    paths = [
        "--truth",
        str(unpacked(tmp_path / "ytvis")),
        "--masks",
        str(unpacked(tmp_path / "png")),
    ]
    chosen, scores = tmp_path / "videos.txt", tmp_path / "scores.json"
    chosen.write_text("\n".join(SIZES))
    assert command("score")([*paths, "--videos", str(chosen), "--json", str(scores)]) == 0
    numbers = read_json(scores)
    assert numbers["names"] == 6 and numbers["J"] == numbers["F"] == 1
