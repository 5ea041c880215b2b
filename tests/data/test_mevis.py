"""Readers: MeViS (plain and gzipped, indexed masks), Ref-YouTube-VOS and Ref-DAVIS17."""

import gzip
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from made_mevis import EXPRESSIONS, FRAMES, MASKS, SIZE, write_frame, write_split
from PIL import Image

from rvos import InputError
from rvos.data import mask_index
from rvos.data.formats import open_split, open_truth
from rvos.data.mevis import Annotations, read_split
from rvos.masks import decode


def test_frames_keep_their_order_and_ids_are_strings(tmp_path):
    split = read_split(write_split(tmp_path), "train")
    (video,) = split.videos
    assert video.frames == tuple(FRAMES) != tuple(sorted(FRAMES))
    assert [e.expression_id for e in video.expressions] == list(EXPRESSIONS)
    assert [e.annotation_ids for e in video.expressions] == [("0",), ("0", "1"), (), ("2",)]
    assert [e.object_ids for e in video.expressions] == [("0",), ("0", "1"), (), ("2",)]
    assert split.open_frames(video).size == SIZE


def test_an_expression_without_target_and_a_split_without_masks_are_kept(tmp_path):
    bare = {"0": {"exp": "the cat"}}
    split = read_split(write_split(tmp_path, "valid", masks=None, expressions=bare), "valid")
    assert split.videos[0].expressions[0].annotation_ids == ()
    with pytest.raises(InputError, match=r"mask_dict.json: no such file .*no ground truth"):
        Annotations(split)


@pytest.mark.parametrize("zipped", [False, True])
def test_the_index_gives_back_every_mask(tmp_path, zipped):
    folder = write_split(tmp_path) / "train"
    if zipped:
        for name in ("mask_dict.json", "meta_expressions.json"):
            (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
            (folder / name).unlink()
    truth = Annotations(read_split(tmp_path, "train"))
    assert list(truth) == list(MASKS) and "3" not in truth
    for annotation_id, track in MASKS.items():
        assert truth.track(annotation_id) == track
        assert [truth.mask(annotation_id, t) for t in range(7)] == track
    with pytest.raises(IndexError):
        truth.mask("0", 7)
    with pytest.raises(IndexError):
        truth.mask("0", -1)


def test_the_index_is_built_once_and_again_when_the_file_changes(tmp_path, monkeypatch):
    split = read_split(write_split(tmp_path), "train")
    Annotations(split)
    with monkeypatch.context() as patch:
        patch.setattr(mask_index, "_build", lambda *args: pytest.fail("built again"))
        assert Annotations(split).track("0") == MASKS["0"]
    (tmp_path / "train" / "mask_dict.json").write_text(json.dumps({"0": MASKS["1"]}))
    assert Annotations(split).track("0") == MASKS["1"]


def test_an_index_that_another_process_has_just_built_stays(tmp_path, monkeypatch):
    """Its reader may open the files later: they are never away, as they would be if replaced."""
    split, build = read_split(write_split(tmp_path), "train"), mask_index._build

    def build_second(*args):
        with monkeypatch.context() as patch:
            patch.setattr(mask_index, "_build", build)
            others.append(Annotations(split).index.folder.stat().st_ino)
        build(*args)

    others = []
    monkeypatch.setattr(mask_index, "_build", build_second)
    index = Annotations(split).index
    assert [index.folder.stat().st_ino] == others and index.track("0") == MASKS["0"]
    assert [path.name for path in index.folder.parent.iterdir()] == ["masks"]


def test_workers_get_the_index_by_its_path(tmp_path):
    truth = Annotations(read_split(write_split(tmp_path), "train"))
    truth.mask("0", 0)
    sent = pickle.dumps(truth.index)
    assert len(sent) < 1000
    assert pickle.loads(sent).track("1") == MASKS["1"]


def test_read_only_data_is_indexed_in_the_stores(tmp_path, monkeypatch):
    folder = write_split(tmp_path / "data") / "train"
    monkeypatch.setenv("RVOS_STORES", str(tmp_path / "stores"))
    writable = os.access
    monkeypatch.setattr(  # not by chmod: root can write anywhere
        os, "access", lambda path, mode: folder not in Path(path).parents and writable(path, mode)
    )
    assert Annotations(read_split(tmp_path / "data", "train")).track("0") == MASKS["0"]
    assert not list((folder / ".rvos_index").iterdir())
    assert list((tmp_path / "stores").rglob("counts.bin"))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1],
        [{"size": [48, 64], "counts": "zz!"}],
        [MASKS["0"][0], {"size": [1, 2]}],
        [MASKS["0"][0], {"size": [24, 128], "counts": MASKS["0"][1]["counts"]}],
    ],
)
def test_malformed_tracks_come_back_as_they_are(tmp_path, value):
    write_split(tmp_path, masks={"bad": value, "0": MASKS["0"]})
    truth = Annotations(read_split(tmp_path, "train"))
    assert truth.track("bad") == value
    assert truth.index.length("bad") is None
    assert truth.track("0") == MASKS["0"]


def test_mask_dict_that_is_no_json_object_is_one_error(tmp_path):
    write_split(tmp_path)
    (tmp_path / "train" / "mask_dict.json").write_text('{"0": [')
    with pytest.raises(InputError, match="mask_dict.json: not valid JSON"):
        Annotations(read_split(tmp_path, "train"))
    assert not list((tmp_path / "train" / ".rvos_index").iterdir())  # nothing half-made stays


# ------------------------------------------------------------------------------ palette datasets


def write_palette(root, split="train"):
    """One video of 3 frames: object 1 is a bar at column t, object 2 shows in frame 1 alone."""
    names = ["00000", "00005", "00010"]
    for t, name in enumerate(names):
        write_frame(root / split / "JPEGImages" / "v" / f"{name}.jpg", t)
        numbers = np.zeros(SIZE, np.uint8)
        numbers[5:20, t] = 1
        if t == 1:
            numbers[30:40, 30:50] = 2
        image = Image.fromarray(numbers, mode="P")
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        path = root / split / "Annotations" / "v" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    expressions = {
        "0": {"exp": "a bar", "obj_id": "1"},
        "1": {"exp": "a block", "obj_id": "2"},
        "2": {"exp": "the bar moving", "obj_id": 1},
    }
    meta = root / "meta_expressions" / split / "meta_expressions.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"videos": {"v": {"expressions": expressions, "frames": names}}}))
    return root


@pytest.mark.parametrize("name", ["ref_youtube_vos", "ref_davis"])
def test_palette_numbers_are_the_objects(tmp_path, name):
    split = open_split(name, write_palette(tmp_path), "train")
    truth = open_truth(name, split)
    expressions = split.videos[0].expressions
    assert [e.object_ids for e in expressions] == [("1",), ("2",), ("1",)]
    assert [e.annotation_ids for e in expressions] == [("v/1",), ("v/2",), ("v/1",)]
    bar, block = truth.track("v/1"), truth.track("v/2")
    assert [np.flatnonzero(decode(mask).any(0)).tolist() for mask in bar] == [[0], [1], [2]]
    assert [mask is None for mask in block] == [True, False, True]
    assert decode(block[1]).sum() == 10 * 20
    assert "v/3" not in truth


def test_an_unknown_format_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="data.format: expected one of .*ref_davis"):
        open_split("coco", tmp_path, "train")


@pytest.mark.parametrize("key", ["anno_id", "obj_id"])
@pytest.mark.parametrize("value", [None, 2.0, True, "", {"a": 1}, [0, None], [[0]]])
def test_ids_of_a_wrong_kind_are_named(tmp_path, key, value):
    wrong = {**EXPRESSIONS, "1": {**EXPRESSIONS["1"], key: value}}
    write_split(tmp_path, expressions=wrong)
    with pytest.raises(InputError, match=rf'video cat, expression 1: "{key}": expected an id'):
        read_split(tmp_path, "train")
    left_out = []
    split = read_split(tmp_path, "train", left_out)
    assert [e.expression_id for e in split.videos[0].expressions] == ["0", "2", "x"]
    assert len(left_out) == 1


@pytest.mark.parametrize("number", ["one", "0", 255])  # 0 is the background, 255 does not count
def test_an_object_without_a_number_is_named(tmp_path, number):
    meta = {"v": {"frames": ["0"], "expressions": {"0": {"exp": "a cat", "obj_id": number}}}}
    path = tmp_path / "meta_expressions/valid/meta_expressions.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"videos": meta}))
    (tmp_path / "valid").mkdir()
    with pytest.raises(InputError, match=f"expected the number of an object, .*got '{number}'"):
        open_split("ref_davis", tmp_path, "valid")
