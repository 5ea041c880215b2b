"""Jumps jumps, counted by hand."""

import pytest
from made_data import MadeData, square

from rvos.masks import read_json, union
from rvos.score.jumps import Jumps, jumps_of

A, B, FAR = square(2, 2), square(20, 20), square(45, 25)


@pytest.mark.parametrize(
    "track, expected",
    [
        ([A, A, A, A], Jumps(0, 3, 4)),
        ([A, B, B, A], Jumps(2, 3, 4)),
        ([A, None, B, B], Jumps(1, 2, 3)),  # over an empty frame too
        ([A, FAR, A, B], Jumps(1, 2, 4)),  # a mask on no object has no identity
        ([None] * 4, Jumps(0, 0, 0)),
        ([union([A, B])] * 4, Jumps(0, 0, 4)),  # IoU 0.5 with both is not above 0.5
    ],
)
def test_jumps_by_hand(track, expected):
    assert jumps_of(track, [[A] * 4, [B] * 4]) == expected


def test_an_object_that_is_not_there_is_no_identity():
    assert jumps_of([A, B, A], [[A, A, A], [B, None, B]]) == Jumps(0, 1, 3)
    assert jumps_of([A, A], []) == Jumps(0, 0, 2)


def test_the_vote_repairs_jumps(tmp_path, run_eval):
    """The made coarse masks of the long video jump to the other square in frames 3 and 4 of 7 and
    come back: 2 jumps in 6 pairs; the vote over the whole video has none. The other video has one
    frame; expressions about both squares or none do not count."""
    data = MadeData(tmp_path)
    assert run_eval([*data.write(), "refine.window=7", "refine.tau=0.5"])[0] == 0
    metrics = read_json(tmp_path / "out" / "metrics.json")
    assert metrics["coarse"]["identity"] == {
        "jumps_per_100_pairs": pytest.approx(100 * 2 / 6),
        "jumps": 2,
        "pairs": 6,
        "non_empty_frames": 8,
    }
    refined = metrics["identity"]
    assert (refined["jumps"], refined["pairs"], refined["non_empty_frames"]) == (0, 6, 8)
