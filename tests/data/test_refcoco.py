"""RefCOCO in both layouts: sentences, masks by hand, hostile pickles, what is wrong with a file."""

import json
import pickle

import numpy as np
import pytest
from commands import command
from made_refcoco import (
    FIRST,
    SECOND,
    SIZE,
    converted,
    instances,
    masks,
    rectangle,
    refs,
    write_pictures,
    write_refcoco,
)

from rvos import InputError
from rvos.data.formats import is_there, open_checked, open_split, open_truth
from rvos.data.verify import COUNTS, verify
from rvos.masks import MaskError, decode, encode, from_coco

main = command("data")


@pytest.mark.parametrize("layout, ids", [("converted", "1234"), ("original", "1237")])
def test_sentences_objects_and_masks(tmp_path, layout, ids):
    root = write_refcoco(tmp_path, layout)
    split, truth = open_checked("refcoco", root, "train", with_truth=True, skip_bad=False)
    assert [video.name for video in split.videos] == [FIRST, SECOND]
    assert [video.frames for video in split.videos] == [(FIRST,), (SECOND,)]
    said = [
        (e.expression_id, e.text, e.annotation_ids) for v in split.videos for e in v.expressions
    ]
    texts = ["left man", "man  in Red", "the rest", "the crowd"]
    objects = [("11",), ("11",), ("12",), ("13",)]
    assert said == list(zip(ids, texts, objects, strict=True))
    assert list(truth) == ["11", "12", "13"]
    for object_id, mask in masks().items():
        (found,) = truth.track(str(object_id))
        assert np.array_equal(decode(found), mask)
    frames = split.open_frames(split.videos[1])
    assert frames.size == SIZE and next(iter(frames))[0, 0, 1] > 150


def test_both_layouts_say_the_same(tmp_path):
    splits = [
        open_split("refcoco", write_refcoco(tmp_path / layout, layout), "train")
        for layout in ("converted", "original")
    ]
    assert splits[0].masks == splits[1].masks
    assert splits[0].meta_sha256 != splits[1].meta_sha256
    prints = {open_truth("refcoco", split).fingerprint() for split in splits}
    assert len(prints) == 1


def test_the_splits_of_one_file_of_refs_are_told_apart(tmp_path):
    root = write_refcoco(tmp_path, "original")
    mine = refs()
    mine[2]["split"] = "testA"
    (root / "refs(unc).p").write_bytes(pickle.dumps(mine))
    train, test = (open_split("refcoco", root, name) for name in ("train", "testA"))
    assert [video.name for video in train.videos] == [FIRST]
    assert [video.name for video in test.videos] == [SECOND]
    assert train.meta_sha256 != test.meta_sha256
    with pytest.raises(InputError, match=r"refs\(unc\).p: expected the split val; it has testA, t"):
        open_split("refcoco", root, "val")
    (root / "instances.json").unlink()  # all of COCO, which says nothing of splits
    assert [is_there("refcoco", root, name) for name in ("train", "testA", "val")] == [1, 1, 0]


def test_the_split_is_that_of_papers_and_meta_chooses_another(tmp_path):
    root = write_refcoco(tmp_path, "original", "refcocog")
    (root / "refs(google).p").write_bytes(pickle.dumps(refs()[:1]))
    assert len(open_split("refcoco", root, "train").videos) == 2
    assert len(open_split("refcoco", root, "train", meta="refs(google).p").videos) == 1
    (root / "refs(unc).p").unlink()
    with pytest.raises(InputError, match=r"refs\(unc\).p or refs\(umd\).p with instances.json"):
        open_split("refcoco", root, "train")


@pytest.mark.parametrize("meta", [None, "mine.json"])
def test_a_root_that_is_not_there_is_named(tmp_path, meta):
    """Not its pictures, nor the file of data.meta, which are not there either."""
    root = tmp_path / "nowhere"
    with pytest.raises(InputError, match=f"^{root}: no such folder; .*data.root"):
        open_split("refcoco", root, "train", meta=meta)


def test_pictures_may_lie_where_refer_expects_them(tmp_path):
    root = write_refcoco(tmp_path)
    for picture in (tmp_path / "train2014").iterdir():
        picture.unlink()
    (tmp_path / "train2014").rmdir()
    with pytest.raises(InputError, match="train2014: no such folder; expected COCO's train2014"):
        open_split("refcoco", root, "train")
    write_pictures(tmp_path / "images" / "mscoco" / "images" / "train2014")
    assert open_checked("refcoco", root, "train", with_truth=True, skip_bad=False)


# ---------------------------------------------------------------------------------------- pickles


def test_a_sentence_that_is_no_utf8_is_a_problem(tmp_path):
    """As Python 2 writes it: a byte string, opcode U and one byte of length."""
    root = write_refcoco(tmp_path, "original")
    path = root / "refs(unc).p"
    path.write_bytes(path.read_bytes().replace(b"X\x08\0\0\0left man", b"U\x08caf\xe9 man"))
    with pytest.raises(InputError, match="expression 1: .* cannot be written as UTF-8"):
        open_split("refcoco", root, "train")


class Touch:
    """Unpickled by anything less careful, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_read_without_running_anything(tmp_path, protocol):
    root = write_refcoco(tmp_path, "original")
    trap = [*refs(), {"split": "train", "sentences": Touch(tmp_path / "ran")}]
    data = pickle.dumps(trap, protocol=protocol)
    (root / "refs(unc).p").write_bytes(data)
    with pytest.raises(
        InputError, match=r"refs\(unc\).p: .* it asks for .*open; only lists, dicts"
    ):
        open_split("refcoco", root, "train")
    assert not (tmp_path / "ran").exists()
    pickle.loads(data)[-1]["sentences"].close()
    assert (tmp_path / "ran").exists()  # the trap works


@pytest.mark.parametrize("value", [{"a", "b"}, np.float64(1), Exception("x"), 1 + 2j])
def test_a_pickle_of_anything_made_by_a_call_is_refused(tmp_path, value):
    root = write_refcoco(tmp_path, "original")
    (root / "refs(unc).p").write_bytes(pickle.dumps([{"split": value}], protocol=2))
    with pytest.raises(InputError, match="it asks for"):
        open_split("refcoco", root, "train")


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x80\x02]", b"]q\x00a.", b"cos\nsystem\n.", b"\x82\x01."]
)
def test_a_damaged_pickle_is_named(tmp_path, data):
    root = write_refcoco(tmp_path, "original")
    (root / "refs(unc).p").write_bytes(data)
    with pytest.raises(InputError, match=r"refs\(unc\).p: cannot be read as a file of refs"):
        open_split("refcoco", root, "train")


@pytest.mark.parametrize("content", [{}, [3], "refs"])
def test_a_pickle_of_something_else_is_named(tmp_path, content):
    root = write_refcoco(tmp_path, "original")
    (root / "refs(unc).p").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="expected a list of refs"):
        open_split("refcoco", root, "train")


# ------------------------------------------------------------------------------- what may be wrong

WRONG = {
    "height": (lambda c: c["images"][0].update(height="40"), '"height": expected a whole number'),
    "name": (lambda c: c["images"][0].update(file_name="a.png"), '"file_name": expected the name'),
    "path": (lambda c: c["images"][0].update(file_name="../a.jpg"), "expected a name that can be"),
    "caption": (lambda c: c["images"][0].update(caption=None), 'expected a text "exp"'),
    "id": (lambda c: c["images"][0].update(id=[1]), "expected one annotation, got 0"),
    "twice": (lambda c: c["images"].append(c["images"][0]), "the id occurs twice"),
    "none": (lambda c: c["annotations"].pop(0), "expected one annotation, got 0"),
    "two": (lambda c: c["annotations"].append(c["annotations"][0]), "one annotation, got 2"),
    "object": (lambda c: c["annotations"][0].update(original_id="x"), '"original_id": expected'),
    "masks": (
        lambda c: c["annotations"][1].update(segmentation=[rectangle(0, 0, 5, 5)]),
        "annotation 11 differs from its other entries",
    ),
    "polygon": (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]]), "polygons"),
    "runs": (
        lambda c: c["annotations"][3]["segmentation"].update(counts=[80, 80]),
        "run lengths that add up to 40 x 60",
    ),
}


@pytest.mark.parametrize("change, told", WRONG.values(), ids=WRONG)
def test_a_sentence_that_is_wrong_is_named_and_can_be_left_out(tmp_path, change, told):
    root = write_refcoco(tmp_path)
    content = json.loads(json.dumps(converted()))
    change(content)
    (root / "instances_refcoco_train.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=told):
        open_split("refcoco", root, "train")
    left, truth = open_checked("refcoco", root, "train", with_truth=True, skip_bad=True)
    assert 1 <= sum(len(video.expressions) for video in left.videos) <= 4
    assert truth is not None


def test_a_ref_about_an_object_of_another_picture_is_named(tmp_path):
    root = write_refcoco(tmp_path, "original")
    content = instances()
    content["annotations"][2]["image_id"] = 1
    (root / "instances.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"video {SECOND}, expression 7: expected one annotat"):
        open_split("refcoco", root, "train")


@pytest.mark.parametrize("text", ["{", "[]", '{"images": [3], "annotations": []}'])
def test_a_file_of_another_form_is_named(tmp_path, text):
    root = write_refcoco(tmp_path)
    (root / "instances_refcoco_train.json").write_text(text)
    with pytest.raises(InputError, match="instances_refcoco_train.json: (not valid JSON|expected)"):
        open_split("refcoco", root, "train")


def test_a_picture_of_another_size_than_its_mask_is_a_problem(tmp_path):
    root = write_refcoco(tmp_path)
    content = converted()
    content["images"][3].update(height=60, width=40)
    content["annotations"][3]["segmentation"] = [rectangle(1, 1, 3, 3)]
    (root / "instances_refcoco_train.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="expected a mask of 40 x 60 pixels .* got 60 x 40"):
        open_checked("refcoco", root, "train", with_truth=True, skip_bad=False)


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        "RLE",
        [3],
        [[0, 0, 5, "5", 0, 5]],
        [[0, 0, 1e9, 0, 5, 5]],  # C code would draw that far
        [[0, 0, float("nan"), 0, 5, 5]],
        {"counts": [2400]},
        {"size": [40, 60], "counts": [-80, 2480]},
        {"size": [40, 60], "counts": [True, 2399]},
        {"size": [60, 40], "counts": [2400]},
        {"size": 40, "counts": [2400]},
    ],
)
def test_a_segmentation_that_is_none_is_refused(segmentation):
    with pytest.raises(MaskError):
        from_coco(segmentation, SIZE)


def test_every_form_of_a_segmentation_gives_the_same_mask():
    """5 x 3 pixels at column 2, row 1: 40-pixel columns, of which rows 1 to 3 are filled."""
    mask = np.zeros(SIZE, bool)
    mask[1:4, 2:7] = True
    counts = [81, 3, *[37, 3] * 4, 2400 - 81 - 15 - 4 * 37]
    forms = [[rectangle(2, 1, 7, 4)], {"size": list(SIZE), "counts": counts}, encode(mask)]
    assert [from_coco(form, SIZE) for form in forms] == [encode(mask)] * 3


@pytest.mark.parametrize(
    "segmentation", [[[1, 1, 9, 9]], [], {"size": list(SIZE), "counts": [2400]}]
)
def test_a_segmentation_without_pixels_is_refused(segmentation):
    with pytest.raises(MaskError, match="expected a mask with pixels"):
        from_coco(segmentation, SIZE)


# ----------------------------------------------------------------------------------------- verify


@pytest.mark.parametrize("layout", ["converted", "original"])
def test_verify_counts_and_compares(tmp_path, layout, monkeypatch, capsys):
    root = write_refcoco(tmp_path, layout)
    (report,) = verify(
        root,
        format="refcoco",
        release="refcoco_unc",
        splits=["train", "val", "testA"],
        decode=True,
        workers=1,
    )
    counts = tuple(report.counts[name] for name in ("videos", "expressions", "annotations"))
    assert counts == (2, 4, 3) and not report.problems
    assert report.differences == (
        "expected 16994 videos in refcoco_unc, found 2",
        "expected 42404 annotations in refcoco_unc, found 3",
    )
    monkeypatch.setitem(COUNTS["refcoco_unc"], "train", {"videos": 2, "annotations": 3})
    assert main(["verify", "data=refcoco", f"data.root={root}"]) == 0
    (tmp_path / "train2014" / f"{SECOND}.jpg").write_bytes(b"")
    assert main(["verify", "data=refcoco", f"data.root={root}"]) == 1
    assert f"train: video {SECOND}: frame {SECOND}: " in capsys.readouterr().out


def test_the_published_counts_add_up():
    """50,000 objects in 19,994 pictures: what pyReferDemo.ipynb of lichengunc/refer prints."""
    totals = {
        name: [
            sum(split[key] for split in COUNTS[name].values()) for key in ("videos", "annotations")
        ]
        for name in ("refcoco_unc", "refcoco_google")
    }
    assert totals["refcoco_unc"] == [19_994, 50_000]
    assert totals["refcoco_google"][1] == 50_000
