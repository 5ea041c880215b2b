"""Absent labels are not empty ones: such a split is not scored, but can be submitted."""

import re
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from rvos.masks import read_json, write_json

FRAMES = ["00000", "00005", "00010"]
SIZE = (40, 60)


def write(root, format, *, labelled, annotated):
    """One video with one expression; returns eval.py's arguments for it.

    `annotated`: the number of frames with an annotation (the only object is number 1).
    """
    split = root / "valid"
    entry = {"exp": "a bar"} | ({"obj_id": "1", "anno_id": [0]} if labelled else {})
    meta = {"videos": {"v": {"expressions": {"0": entry}, "frames": FRAMES}}}
    mask = np.zeros(SIZE, np.uint8)
    mask[5:20, 10:30] = 1
    rle = {"size": list(SIZE), "counts": coco.encode(np.asfortranarray(mask))["counts"].decode()}
    split.mkdir()
    if format == "mevis":
        write_json(split / "meta_expressions.json", meta)
        if annotated:
            write_json(split / "mask_dict.json", {"0": [rle] * 3})
    else:
        write_json(root / "meta_expressions" / "valid" / "meta_expressions.json", meta)
        for name in FRAMES[:annotated]:
            (split / "Annotations" / "v").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(split / "Annotations" / "v" / f"{name}.png")
    write_json(root / "coarse.json", {"v": {"0": [rle, None, None]}})
    data = {"mevis": "mevis", "ref_davis": "ref_davis"}.get(format, "ref_youtube_vos")
    return [
        f"data={data}",
        f"data.root={root}",
        "data.split=valid",
        "coarse=files",
        f"coarse.path={root / 'coarse.json'}",
        "refine=none",
        "score.protocol=expressions",
        "report=none",
        "score.workers=1",
        f"output_dir={root / 'out'}",
    ]


CASES = {
    "as Ref-YouTube-VOS valid was published": ("ytvos", False, 1, "1 of 1 expressions have no obj"),
    "without annotations": ("ytvos", False, 0, "Annotations: no such folder"),
    "labels but not of every frame": ("ytvos", True, 2, "1 of 3 listed frames .*v/00010.png"),
    "Ref-DAVIS of another release": ("ref_davis", False, 3, "have no obj_id"),
    "MeViS with a mask_dict of another split": ("mevis", False, 3, "have no anno_id"),
    "MeViS valid": ("mevis", False, 0, "mask_dict.json: no such file"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_split_without_labels_is_refused_but_can_be_submitted(tmp_path, run_eval, case):
    format, labelled, annotated, told = CASES[case]
    arguments = write(tmp_path, format, labelled=labelled, annotated=annotated)
    status, told_user = run_eval(arguments)
    assert (
        status == 1
        and "submission=true" in told_user
        and not (tmp_path / "out" / "metrics.json").exists()
    )
    assert re.search(told, told_user), told_user
    assert run_eval([*arguments, "submission=true"])[0] == 0
    with zipfile.ZipFile(tmp_path / "out" / "submission.zip") as archive:
        top = "" if format == "mevis" else "Annotations/"
        assert sorted(archive.namelist()) == [f"{top}v/0/{name}.png" for name in FRAMES]
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize("format", ["ytvos", "ref_davis", "mevis"])
def test_a_split_with_all_labels_is_scored(tmp_path, run_eval, format):
    assert run_eval(write(tmp_path, format, labelled=True, annotated=3))[0] == 0
    scores = read_json(tmp_path / "out" / "metrics.json")  # the first frame right, the others empty
    assert [scores[key] for key in ("J", "F")] == pytest.approx([1 / 3, 1 / 3])
