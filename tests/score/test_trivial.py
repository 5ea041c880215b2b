"""Trivial answers: their scores without drawing are those of the drawn masks."""

import numpy as np
import pytest
from made_data import square

from rvos.masks import encode
from rvos.refine import Candidates, Masklets
from rvos.score import j_and_f
from rvos.score.trivial import EMPTY, WHOLE, largest_masklet, trivial_answers


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (70, 40)])
@pytest.mark.parametrize("form", [lambda mask: mask, encode])
def test_scores_are_those_of_the_drawn_masks(shape, form):
    """Noise, one pixel in each corner, all but one pixel, everything, nothing."""
    rng = np.random.default_rng(0)
    truth = [rng.random(shape) < share for share in (0.1, 0.5, 0.9)]
    for corner in [(0, 0), (0, -1), (-1, 0), (-1, -1)]:
        one = np.zeros(shape, bool)
        one[corner] = True
        truth += [one, ~one]
    truth += [np.ones(shape, bool), np.zeros(shape, bool)]
    answers = trivial_answers([*map(form, truth), None])
    drawn = {EMPTY: np.zeros(shape, bool), WHOLE: np.ones(shape, bool)}
    for name, pixels in drawn.items():
        masks, J, F = answers[name]
        expected = j_and_f([*truth, None], [pixels] * len(masks))
        assert np.array_equal((J, F), expected)
        assert np.array_equal(j_and_f([*truth, None], masks), expected)


def test_a_truth_that_is_never_there():
    """Nothing is right, and the whole frame has no boundary either."""
    (_, *empty), (_, *whole) = trivial_answers([None, None]).values()
    assert np.array_equal(empty, np.ones((2, 2)))
    assert np.array_equal(whole, [[0, 0], [1, 1]])


def test_the_largest_masklet_has_most_pixels_in_all_frames():
    """200 pixels in two frames are more than 144 in one."""
    coarse = [square(1, 1), None]
    small, large = [square(5, 5, 12), None], [square(20, 5, 10), square(22, 5, 10)]
    assert largest_masklet(Candidates(coarse, Masklets([small, large]))).track == large
    assert largest_masklet(Candidates(coarse, Masklets([]))).track == [None, None]
