"""J and F of volumes, by hand."""

import numpy as np
import pytest
from made_data import square

from rvos.score import make_metrics, score_track
from rvos.score.volume import JF, j_and_f_of_volume

SEEN_ONCE = [None, None, square(10, 10), None, None]


def test_the_empty_answer_scores_nothing_where_anything_is_there():
    """The mean over frames gives it 4 of 5."""
    nothing = [None] * 5
    J, F = score_track(SEEN_ONCE, nothing)
    assert J.mean() == F.mean() == 0.8
    assert j_and_f_of_volume(SEEN_ONCE, nothing) == (0, 0)
    assert j_and_f_of_volume(nothing, nothing) == j_and_f_of_volume(SEEN_ONCE, SEEN_ONCE) == (1, 1)


def test_sums_over_frames():
    """A 10 x 10 square is hit in one frame and missed by 5 columns in the other.

    J = (100 + 50) / (100 + 150). Both frames have outlines of 40 pixels, and by symmetry precision
    and recall are equal, so that F is the mean over the frames here.
    """
    truth, prediction = [square(10, 10), square(10, 10)], [square(10, 10), square(15, 10)]
    J, F = j_and_f_of_volume(truth, prediction)
    assert J == 150 / 250
    per_frame = score_track(truth, prediction)[1]
    assert F == pytest.approx(per_frame.mean(), abs=1e-12)
    metrics = make_metrics("volumetric")  # score.extra=volumetric
    assert metrics.keys() == {*make_metrics("default"), "JF_volume"}
    metric = metrics["JF_volume"]
    assert metric(truth, prediction, np.ones(2), np.ones(2)) == JF(truth, prediction, J, F)
    assert JF(truth, prediction, J, F) == (J + F) / 2


def test_frames_with_more_outline_weigh_more():
    """A large square is hit and a small one missed: F is above one half, the mean of the frames."""
    truth, prediction = [square(5, 5, 30), square(5, 5, 4)], [square(5, 5, 30), None]
    J, F = j_and_f_of_volume(truth, prediction)
    num_large, num_small = 4 * 30, 4 * 4  # of the outlines
    recall = num_large / (num_large + num_small)
    assert J == 900 / 916 and F == pytest.approx(2 * recall / (1 + recall), abs=1e-12)
