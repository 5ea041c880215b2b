"""J and F against values of the official scorer."""

import json

import pytest

from rvos.masks import canonical_track
from rvos.score import score_track


def test_pairs(golden_file):
    for i, pair in enumerate(json.loads(golden_file.read_text())["pairs"]):
        truth, prediction = canonical_track([pair["gt"]]), canonical_track([pair["pred"]])
        J, F = score_track(truth, prediction)
        expected = (pair["J"], pair["F"])
        assert (J[0], F[0]) == pytest.approx(expected, abs=1e-9), f"pair {i}, {pair['kind']}"


def test_videos(golden_file):
    for i, video in enumerate(json.loads(golden_file.read_text())["videos"]):
        J, F = score_track(canonical_track(video["gt"]), canonical_track(video["pred"]))
        assert J == pytest.approx(video["J_frames"], abs=1e-9), f"video {i}"
        assert F == pytest.approx(video["F_frames"], abs=1e-9), f"video {i}"
        assert (J.mean(), F.mean()) == pytest.approx((video["J"], video["F"]), abs=1e-9)
