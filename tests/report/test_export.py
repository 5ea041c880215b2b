"""Refined masks as files that other tools read: read back by these tools."""

import io
import json
import zipfile

import numpy as np
import pytest
from commands import command
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from rvos.data.split import own_split
from rvos.masks import TrackFiles, encode, read_json, write_json
from rvos.stages.run_folder import keep_split

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


def test_what_cannot_be_written_is_one_line(own_run, tmp_path, capsys):
    """A folder in place of the file, and a name that no file can have."""
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "folder", tmp_path / ("n" * 300 + ".json")):
        assert main([str(own_run), "--format", "rle", "--out", str(out)]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: {out}: ") and said.count("\n") == 1
    long = tmp_path / ("n" * 245 + ".json")
    assert main([str(own_run), "--format", "rle", "--out", str(long)]) == 0
