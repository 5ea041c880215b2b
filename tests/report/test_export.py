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

from rvos.masks import TrackFiles, read_json

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
    assert categories["two", "2"]["name"] == "both <squares>"
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
