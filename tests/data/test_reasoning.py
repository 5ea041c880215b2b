"""Ref-SAV, ReasonVOS and GroundMoRe in the layout of their releases (6 s)."""

import numpy as np
import pytest
from made_data import square, write_frames, write_png
from PIL import Image

from rvos.data.formats import find_truth, open_checked, open_split, open_truth
from rvos.data.verify import verify
from rvos.errors import InputError
from rvos.masks import canonical_track, decode, read_json, write_json

A, B = square(2, 2), square(20, 20)  # 10 x 10 pixels each


def checked(format, root, split):
    """{expression_id: (type, the tracks of its annotations)} of the one video, and its frames."""
    opened, truth = open_checked(format, root, split, with_truth=True, skip_bad=False)
    (video,) = opened.videos
    opened.open_frames(video)
    assert opened.size(video) == (40, 60)
    found = {
        e.expression_id: (e.type, [canonical_track(truth.track(a)) for a in e.annotation_ids])
        for e in video.expressions
    }
    return found, video.frames


def problems_of(format, root, split):
    (report,) = verify(
        root, format=format, release="any", splits=[split, "other"], decode=True, workers=1
    )
    return report.problems


# --------------------------------------------------------------------------------------- Ref-SAV


@pytest.fixture
def ref_sav(tmp_path):
    expressions = {
        "0": {"exp": "a long one", "obj_id": [1], "anno_id": [7], "type_id": 0},
        "1": {"exp": "both", "obj_id": [1, 2], "anno_id": [7, 8], "type_id": 1},
        "2": {"exp": "nothing", "obj_id": [], "anno_id": [], "type_id": 1},
    }
    entry = {"frames": ["00000", "00004"], "height": 40, "width": 60, "expressions": expressions}
    write_json(tmp_path / "meta_expressions_valid.json", {"videos": {"sav_000001": entry}})
    write_json(tmp_path / "mask_dict.json", {"7": [A, None], "8": [B, B]})
    write_frames(tmp_path / "videos" / "sav_000001", entry["frames"])
    return tmp_path


def test_ref_sav_is_read(ref_sav):
    found, frames = checked("ref_sav", ref_sav, "valid")
    assert found == {
        "0": ("long", [[A, None]]),
        "1": ("short", [[A, None], [B, B]]),
        "2": ("short", []),
    }
    assert frames == ("00000", "00004")
    assert not problems_of("ref_sav", ref_sav, "valid")


def test_ref_sav_has_two_types(ref_sav):
    path = ref_sav / "meta_expressions_valid.json"
    content = read_json(path)
    content["videos"]["sav_000001"]["expressions"]["1"]["type_id"] = 2
    write_json(path, content)
    with pytest.raises(InputError, match='expression 1: "type_id": expected 0 or 1, got 2'):
        open_split("ref_sav", ref_sav, "valid")
    with pytest.raises(InputError, match="meta_expressions_train.json: no such file"):
        open_split("ref_sav", ref_sav, "train")


# ------------------------------------------------------------------------------------- ReasonVOS


def reason_vos(root, expressions):
    """In the layout of VideoLISA: two objects, the second of which does not show at first."""
    entry = {"source": "vipseg", "frames": ["1", "2"], "expressions": expressions}
    write_json(root / "meta_expressions.json", {"videos": {"0_ab": entry}})
    for name, track in {"000000001": [A, A], "000000002": [None, B]}.items():
        for frame, mask in zip(entry["frames"], track, strict=True):
            write_png(root / "Annotations" / f"vipseg_0_ab_{name}" / f"{frame}.png", mask)
    write_frames(root / "JPEGImages" / "0_ab", entry["frames"])
    return root


def said(object_number, exp_id):
    return {"obj_id": object_number, "exp_id": exp_id, "exp_text": "which one?", "is_sent": True}


def test_reason_vos_of_video_lisa_is_read(tmp_path):
    root = reason_vos(tmp_path, [said("000000001", 0), said("000000002", 1)])
    assert checked("reason_vos", root, "valid") == (
        {"0": ("", [[A, A]]), "1": ("", [[None, B]])},
        ("1", "2"),
    )
    assert not problems_of("reason_vos", root, "valid")
    with pytest.raises(InputError, match="ReasonVOS has the split valid only"):
        open_split("reason_vos", root, "train")


def test_an_exp_id_of_several_objects_is_one_expression_for_each(tmp_path):
    root = reason_vos(tmp_path, [said("000000001", 0), said("000000002", 0)])
    found, _ = checked("reason_vos", root, "valid")
    assert found == {"000000001_0": ("", [[A, A]]), "000000002_0": ("", [[None, B]])}
    reason_vos(tmp_path / "again", [said("000000001", 0), said("000000001", 0)])
    with pytest.raises(InputError, match='"exp_id": twice for one object: 000000001_0'):
        open_split("reason_vos", tmp_path / "again", "valid")


def test_reason_vos_of_video_seg_o3_is_read(tmp_path):
    expressions = {
        "0": {"exp": "which?", "obj_id": [1], "anno_id": 4},
        "1": {"exp": "what?", "obj_id": [2], "anno_id": 5},
    }
    entry = {"source": "mose", "vid_id": 0, "frames": ["1", "2"], "expressions": expressions}
    write_json(tmp_path / "meta_expressions_format.json", {"videos": {"v": entry}})
    write_json(tmp_path / "mask_dict.json", {"4": [A, A], "5": [None, B]})
    write_frames(tmp_path / "JPEGImages" / "v", entry["frames"])
    found, _ = checked("reason_vos", tmp_path, "valid")
    assert found == {"0": ("", [[A, A]]), "1": ("", [[None, B]])}


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"obj_id": "../x", "exp_id": 0, "exp_text": "x"}, "part of the name of a folder"),
        ({"obj_id": "1", "exp_text": "x"}, "expected a list of {obj_id, exp_id, exp_text}"),
        ({"obj_id": "1", "exp_id": 0}, 'expected a text "exp"'),
    ],
)
def test_malformed_expressions_of_reason_vos_are_named(tmp_path, wrong, told):
    root = reason_vos(tmp_path, [wrong])
    with pytest.raises(InputError, match=f"video 0_ab.*{told}"):
        open_split("reason_vos", root, "valid")


# ------------------------------------------------------------------------------------ GroundMoRe

VIDEO = "abc_0059_0102"  # three seconds of a film, from 0:59 on


def question(first, last, **more):
    of = {"question": "who runs?", "answer": "the man", "obj_id": "2", "q_type": "Causal"}
    return {**of, "action_start": first, "action_end": last, **more}


@pytest.fixture
def groundmore(tmp_path):
    """18 images; object 1 at A in all, object 2 at B in those from 3 on. No picture of image 7."""
    questions = {
        "1": question("1:00", "1:01"),  # frames 6 to 11
        "2": question("0:00:59", "00:01:02", obj_id=1, q_type="Descriptive"),  # all
    }
    write_json(tmp_path / "test_v2.json", {"videos": {VIDEO: {"questions": questions}}})
    folder = tmp_path / "annotations" / VIDEO
    write_frames(folder / "images", [f"frame_{t:06d}" for t in range(18)])
    (folder / "masks").mkdir()
    for t in set(range(18)) - {7}:
        numbers = decode(A) + np.uint8(2) * decode(B) * np.uint8(t > 2)
        name = f"frame_{t:06d}" if t % 2 else f"{t:07d}"
        Image.fromarray(numbers).save(folder / "masks" / f"{name}.png")
    return tmp_path


def test_groundmore_is_read(groundmore):
    """The truth of an expression is empty outside of the action, and without a picture."""
    found, frames = checked("groundmore", groundmore, "test")
    assert frames == tuple(f"frame_{t:06d}" for t in range(18))
    action = [B if t in (6, 8, 9, 10, 11) else None for t in range(18)]
    whole = [None if t == 7 else A for t in range(18)]
    assert found == {"1": ("Causal", [action]), "2": ("Descriptive", [whole])}
    assert not problems_of("groundmore", groundmore, "test")


def test_groundmore_under_the_names_of_its_own_script(groundmore):
    (groundmore / "test_v2.json").rename(groundmore / "groundmore_test.json")
    (groundmore / "annotations").rename(groundmore / "groundmore_videos")
    split = open_split("groundmore", groundmore, "test")
    (video,) = split.videos
    track = open_truth("groundmore", split).track(video.expressions[0].annotation_ids[0])
    assert sum(mask is not None for mask in track) == 5


@pytest.mark.parametrize(
    "wrong, told",
    [
        (question("soon", "1:00"), '"action_start": expected a time such as 1:20'),
        (question("1:00", "1:01", obj_id="0"), '"obj_id": expected the number of an object'),
        (question("1:00", "1:01", q_type=None), '"q_type": expected a text'),
    ],
)
def test_malformed_questions_are_named(groundmore, wrong, told):
    write_json(groundmore / "test_v2.json", {"videos": {VIDEO: {"questions": {"1": wrong}}}})
    with pytest.raises(InputError, match=f"video {VIDEO}, expression 1: {told}"):
        open_split("groundmore", groundmore, "test")


def test_videos_of_groundmore_need_images_and_a_time(groundmore):
    videos = {name: {"questions": {"1": question("1:00", "1:01")}} for name in ("gone", "late")}
    write_json(groundmore / "test_v2.json", {"videos": videos})
    write_frames(groundmore / "annotations" / "late" / "images", ["frame_000000"])
    with pytest.raises(InputError) as told:
        open_split("groundmore", groundmore, "test")
    assert "gone/images: expected the video's images, *.jpg" in str(told.value)
    assert "expression 1: expected a video named ..._0120_0130" in str(told.value)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (38, "object 2 is in no frame; the labels there are 0, 38, and no expression is about 38"),
        (None, "object 2 is in no frame; the labels there are none"),
    ],
)
def test_an_object_that_no_picture_shows_is_named(groundmore, labels, told):
    """Other numbers, and pictures under other names: images count from 0."""
    masks = groundmore / "annotations" / VIDEO / "masks"
    for path in masks.iterdir():
        Image.new("L", (60, 40), labels or 2).save(path)
        path.rename(masks / f"{path.stem[-4:]}.png") if labels is None else None
    Image.new("L", (60, 40)).save(masks / "frame_000000.png") if labels else None
    split = open_split("groundmore", groundmore, "test")
    with pytest.raises(InputError, match=told):
        open_truth("groundmore", split).track(f"{VIDEO}/2@6..11")
    assert any(told in problem for problem in problems_of("groundmore", groundmore, "test"))


def test_images_of_groundmore_are_in_the_order_of_their_numbers(groundmore, caplog):
    """The mask of the t-th image is found by t; what is left out is named, but hidden files."""
    images = groundmore / "annotations" / VIDEO / "images"
    for t in range(18):
        (images / f"frame_{t:06d}.jpg").rename(images / f"{t}.jpg")
    (images / "._3.jpg").write_bytes(b"of a Mac")
    (images / "17.jpg").rename(images / "17.webp")
    (video,) = open_split("groundmore", groundmore, "test").videos
    assert video.frames == tuple(map(str, range(17)))
    assert "files that are no .jpg, left out (1)" in caplog.text and "17.webp" in caplog.text


def test_masks_of_an_object_under_names_of_no_frame_are_named(tmp_path):
    root = reason_vos(tmp_path, [said("000000001", 0), said("000000002", 1)])
    folder = root / "Annotations" / "vipseg_0_ab_000000001"
    for frame in "12":
        (folder / f"{frame}.png").rename(folder / f"0000{frame}.png")
    told = "no file is called like a frame, such as 1.png: 00001.png"
    with pytest.raises(InputError, match=told):
        checked("reason_vos", root, "valid")
    (problem,) = problems_of("reason_vos", root, "valid")
    assert "expression 0" in problem and told in problem
    opened = open_split("reason_vos", root, "valid")
    video = opened.videos[0]
    (opened.frame_folder(video.name) / "00001.jpg").write_bytes(b"")  # a frame that is not listed
    ids = video.expressions[0].annotation_ids
    assert not any(open_truth("reason_vos", opened).track(ids[0]))


@pytest.mark.parametrize("format", ["groundmore", "reason_vos"])
@pytest.mark.parametrize("suffix", [".webp", ".PNG"])
def test_masks_in_other_pictures_are_no_hole_in_the_truth(groundmore, format, suffix):
    """Without a .png an object does not show; other files, as of a Mac or Windows, do no harm."""
    if format == "groundmore":
        path, split = groundmore / "annotations" / VIDEO / "masks" / "frame_000009.png", "test"
    else:
        reason_vos(groundmore, [said("000000001", 0)])
        path = groundmore / "Annotations" / "vipseg_0_ab_000000001" / "2.png"
        split = "valid"
    for name in ("._x.png", "Thumbs.db"):
        path.with_name(name).write_bytes(b"")
    path.with_name(f"copy_of_{path.stem}.png").write_bytes(path.read_bytes())
    assert not problems_of(format, groundmore, split)
    path.rename(path.with_suffix(suffix))
    told = f"masks that are no .png (1):\n  {path.stem}{suffix}"
    opened = open_split(format, groundmore, split)
    annotation = opened.videos[0].expressions[0].annotation_ids[0]
    with pytest.raises(InputError) as raised:
        open_truth(format, opened).track(annotation)
    assert told in str(raised.value)
    assert any(told in problem for problem in problems_of(format, groundmore, split))


def test_a_picture_of_another_size_is_named(groundmore):
    path = groundmore / "annotations" / VIDEO / "masks" / "frame_000009.png"
    Image.new("L", (8, 8)).save(path)
    assert any(
        "frame_000009.png: expected 40 x 60" in p
        for p in problems_of("groundmore", groundmore, "test")
    )


def test_masks_that_lack_are_no_truth(tmp_path):
    """Found without error, as for splits that are published without."""
    root = reason_vos(tmp_path, [said("1", 0)])
    (root / "Annotations").rename(root / "elsewhere")
    assert find_truth("reason_vos", open_split("reason_vos", root, "valid")) is None
