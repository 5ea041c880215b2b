"""Ref-YouTube-VOS as its archives unpack: `valid` lists the videos of `test` too.

The two forms of its ground truth: the one that was made public in March 2026, with a folder of
black and white masks per expression, and palette pictures as those of `train`.
"""

import logging
import shutil
import zipfile

import numpy as np
import pytest
from made_data import square
from PIL import Image

from rvos.app.data import main as data
from rvos.data.formats import open_split, open_truth
from rvos.masks import decode, read_json, write_json
from rvos.report import submission

FRAMES = ["00000", "00005", "00010"]
SIZE = (40, 60)
A, B = square(2, 2), square(20, 20)  # 10 x 10 pixels each
VALID, TEST = ["0062f687f1", "00f88c4f0a"], ["01475d1fe7", "01c783268c", "023d96a8a1"]
ANSWERS = {"0": [A, A, None], "1": [B, B, B]}  # of each video
TRUTH = {"0": [A, A, A], "1": [B, B, None]}


def write_image(path, pixels, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def root(tmp_path):
    """The published files: the images of the videos of `test` are gone."""
    expressions = {"0": {"exp": "the left one"}, "1": {"exp": "the right one"}}
    entry = {"expressions": expressions, "frames": FRAMES}
    metas = {"valid": VALID + TEST, "test": TEST}
    for name, videos in metas.items():
        path = tmp_path / "meta_expressions" / name / "meta_expressions.json"
        write_json(path, {"videos": dict.fromkeys(videos, entry)})
    for video in VALID:
        for frame in FRAMES:
            path = tmp_path / "valid" / "JPEGImages" / video / f"{frame}.jpg"
            write_image(path, np.zeros((*SIZE, 3), np.uint8), "RGB")
    write_json(tmp_path / "answers.json", dict.fromkeys(VALID, ANSWERS))
    return tmp_path


def pixels_of(mask, value=255):
    return np.zeros(SIZE, np.uint8) if mask is None else decode(mask).astype(np.uint8) * value


def as_made_public(root):
    """Masks by expression, and a file of expressions with `obj_id` beside them."""
    meta = read_json(root / "meta_expressions" / "valid" / "meta_expressions.json")
    videos = {name: meta["videos"][name] for name in VALID}
    write_json(root / "valid" / "meta_expressions.json", {"videos": videos})
    labelled = {
        key: value | {"obj_id": str(int(key) + 1)}
        for key, value in videos[VALID[0]]["expressions"].items()
    }
    videos = {name: entry | {"expressions": labelled} for name, entry in videos.items()}
    write_json(root / "valid" / "meta_expressions_challenge.json", {"videos": videos})
    for video in VALID:
        for key, track in TRUTH.items():
            for frame, mask in zip(FRAMES, track, strict=True):
                path = root / "valid" / "Annotations" / video / key / f"{frame}.png"
                write_image(path, pixels_of(mask))


def as_made_public_alone(root):
    """The same without the files of the competition."""
    as_made_public(root)
    shutil.rmtree(root / "meta_expressions")


def as_palette(root):
    """As `train`: the pictures hold object numbers, the file of expressions `obj_id`."""
    path = root / "meta_expressions" / "valid" / "meta_expressions.json"
    meta = read_json(path)
    for entry in meta["videos"].values():
        for key, expression in entry["expressions"].items():
            expression["obj_id"] = str(int(key) + 1)
    write_json(path, meta)
    for video in VALID:
        for frame, a, b in zip(FRAMES, *TRUTH.values(), strict=True):
            picture = Image.fromarray(pixels_of(a, 1) + pixels_of(b, 2))
            picture.putpalette([0, 0, 0, 236, 95, 103, 249, 145, 87])  # mode P
            path = root / "valid" / "Annotations" / video / f"{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)


def arguments(root, *more):
    fixed = ["data=ref_youtube_vos", f"data.root={root}", "coarse=files", "refine=none"]
    fixed += [f"coarse.path={root / 'answers.json'}", f"output_dir={root / 'out'}", "report=none"]
    return [*fixed, "score.workers=1", *more]


def test_what_test_lists_is_left_out_and_said(root, caplog):
    caplog.set_level(logging.INFO)
    split = open_split("ref_youtube_vos", root, "valid")
    assert [video.name for video in split.videos] == VALID
    assert "3 videos are left out, which another split lists" in caplog.text
    whole = open_split("ref_youtube_vos", root, "valid", meta="meta_expressions.json")
    assert whole.videos == split.videos


def test_without_the_list_of_test_nothing_is_left_out_but_said(root, caplog):
    (root / "meta_expressions" / "test" / "meta_expressions.json").unlink()
    assert len(open_split("ref_youtube_vos", root, "valid").videos) == 5
    assert not caplog.text
    path = root / "meta_expressions" / "valid" / "meta_expressions.json"
    entry = read_json(path)["videos"][VALID[0]]
    write_json(path, {"videos": {f"v{i}": entry for i in range(507)}})
    open_split("ref_youtube_vos", root, "valid")
    assert "put" in caplog.text and "meta_expressions/test/meta_expressions.json" in caplog.text


@pytest.mark.parametrize("publish", [as_made_public, as_made_public_alone, as_palette])
def test_the_truth_is_scored(root, run_eval, publish):
    """J of expression 0: 1, 1, 0; of 1: 1, 1, 0 (the truth is empty in the last frame)."""
    publish(root)
    status, told = run_eval(arguments(root))
    assert status == 0, told
    metrics = read_json(root / "out" / "metrics.json")
    assert metrics["num_expressions"] == 4
    assert [metrics[key] for key in ("J", "F")] == pytest.approx([2 / 3, 2 / 3])
    split = open_split("ref_youtube_vos", root, "valid")
    truth = open_truth("ref_youtube_vos", split)
    assert len(list(truth)) == 4
    (first, second) = split.videos[0].expressions
    assert (first.labelled, second.labelled) == (True, True)
    assert truth.track(first.annotation_ids[0]) == [A, A, A]


@pytest.mark.parametrize("publish", [None, as_made_public, as_palette])
def test_verify_and_submission_work_on_it(root, run_eval, capfd, publish):
    if publish is not None:
        publish(root)
    assert data(["verify", "data=ref_youtube_vos", f"data.root={root}", "splits=[valid]"]) == 0
    told = " ".join(capfd.readouterr().out.split())
    assert "valid: 3 videos are left out, which another split lists" in told
    place = ["--root", str(root), "--split", "valid", "--format", "ref_youtube_vos"]
    answers, packed = str(root / "answers.json"), str(root / "out.zip")
    assert submission.main(["pack", answers, packed, *place]) == 0
    assert "12 images of 4 expressions in 2 videos" in capfd.readouterr().out
    with zipfile.ZipFile(packed) as archive:
        assert f"Annotations/{VALID[0]}/0/00005.png" in archive.namelist()
    status, told = run_eval(arguments(root, "submission=true"))
    assert status == 0, told
    with zipfile.ZipFile(root / "out" / "submission.zip") as archive:
        assert len(archive.namelist()) == 12


def official_zip(folder, path, *, top="Annotations"):
    """As `zip -r` or MUTR's script pack the folder in which the masks were saved."""
    for video in VALID:
        for key, track in ANSWERS.items():
            for frame, mask in zip(FRAMES, track, strict=True):
                write_image(
                    folder / video / key / f"{frame}.png", pixels_of(mask).astype(np.float32)
                )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, "/".join(filter(None, (top, str(file.relative_to(folder))))))
    return path


def test_the_official_zip_is_accepted(root):
    split = open_split("ref_youtube_vos", root, "valid")
    path = official_zip(root / "results" / "valid", root / "official.zip")
    assert submission.check(path, split) == 12


@pytest.mark.parametrize(
    "top, told",
    [("", "zip -r submission.zip Annotations"), ("eval/Annotations", "cd eval && zip -r")],
)
def test_a_zip_from_another_folder_is_named(root, top, told):
    split = open_split("ref_youtube_vos", root, "valid")
    path = official_zip(root / "results" / "valid", root / "official.zip", top=top)
    with pytest.raises(ValueError, match=told):
        submission.check(path, split)
