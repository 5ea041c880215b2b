"""Several coarse sources made one: values by hand."""

import numpy as np
import pytest
from made_data import MadeData, square

from rvos import InputError
from rvos.coarse import Several
from rvos.coarse.several import agreement, majority_of, video_iou
from rvos.masks import decode, read_json, write_json

A, B, C = square(2, 2), square(20, 20), square(40, 5)  # 10 x 10 pixels each, apart
HALF = square(7, 2)  # shares 50 pixels with A: 50 / 150


def test_the_iou_of_videos_sums_over_frames():
    """Frame 1: 100 / 100; frame 2: 0 / 200; the sums are 100 and 300."""
    assert video_iou([A, A], [A, B]) == pytest.approx(100 / 300)
    assert video_iou([None, None], [None, None]) == 1
    assert video_iou([A], [None]) == 0 and video_iou([A], [HALF]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "tracks, expected",
    [
        ([[A], [B], [A]], [A]),
        ([[B], [A], [HALF]], [A]),  # means 0, 1/6, 1/6: the earlier of the two
        ([[A], [B], [C]], [A]),  # nobody agrees: the first
        ([[B], [None], [None]], [None]),  # two say that there is nothing
        ([[C]], [C]),
        ([[B], [A]], [B]),  # two alone are equally like each other
    ],
)
def test_agreement(tracks, expected):
    assert agreement(tracks) == expected


@pytest.mark.parametrize(
    "masks, expected",
    [
        ([A, HALF, None], 50),  # of three: pixels of both
        ([A, HALF], 50),  # of two: more than half is both
        ([A, None], 0),
        ([A, B, C], 0),
        ([A, A, C], 100),
        ([A], 100),
        ([None, None, A], 0),
    ],
)
def test_majority(masks, expected):
    (found,) = majority_of([[mask] for mask in masks])
    assert (0 if found is None else int(decode(found).sum())) == expected
    assert found is None or (decode(found).astype(bool) <= decode(A).astype(bool)).all()


def run(run_eval, data, fusion, *sources):
    arguments = [a for a in data.write() if not a.startswith("coarse")]
    listed = ",".join(f"'{source}'" for source in sources)
    arguments += ["coarse=several", f"coarse.sources=[{listed}]", f"coarse.fusion={fusion}"]
    return run_eval([*arguments, "refine=none"])


def test_a_run_on_files_and_on_another_run(tmp_path, run_eval):
    """Two files that agree win over a run that says nothing; `first` takes what comes first."""
    data = MadeData(tmp_path)
    assert run_eval([*data.write(), "refine=none", f"output_dir={tmp_path / 'before'}"])[0] == 0
    empty = {v: {k: [None] * len(t) for k, t in e.items()} for v, e in data.coarse.items()}
    write_json(tmp_path / "empty.json", empty)
    sources = [tmp_path / "empty.json", tmp_path / "before", tmp_path / "coarse.json"]
    assert run(run_eval, data, "agreement", *sources)[0] == 0
    expected = read_json(tmp_path / "before" / "metrics.json")
    found = read_json(tmp_path / "out" / "metrics.json")
    assert found["J&F"] == expected["J&F"] > 0
    refined = read_json(tmp_path / "out" / "refined" / "long.json.gz")
    assert np.array_equal([m is None for m in refined["0"]], [False] * 7)


@pytest.mark.parametrize("fusion", ["agreement", "majority"])
def test_what_a_source_lacks_is_named(tmp_path, run_eval, fusion):
    data = MadeData(tmp_path)
    write_json(tmp_path / "other.json", {"long": {"0": [None] * 7}, "short": data.coarse["short"]})
    status, told = run(run_eval, data, fusion, tmp_path / "coarse.json", tmp_path / "other.json")
    assert status == 1 and "other.json: video long, expression 1: not there" in told


def test_first_takes_what_others_lack(tmp_path, run_eval):
    data = MadeData(tmp_path)
    write_json(tmp_path / "other.json", {"long": {"0": [None] * 7}})
    assert run(run_eval, data, "first", tmp_path / "other.json", tmp_path / "coarse.json")[0] == 0
    refined = read_json(tmp_path / "out" / "refined" / "long.json.gz")
    assert refined["0"] == [None] * 7 and refined["1"][0] is not None


def test_wrong_settings_are_named():
    with pytest.raises(InputError, match=r"(?s)  sources: expected a list.*  fusion: "):
        Several(sources=[], fusion="mean")
    with pytest.raises(InputError, match="coarse.sources: .*nowhere: no such file"):
        Several(sources=["nowhere"], fusion="first").check(None)
