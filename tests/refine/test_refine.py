"""The paper's rule on drawn examples whose outcome follows from the text of the paper."""

import numpy as np
import pytest

from rvos import InputError
from rvos.masks import encode, overlap_fractions, union
from rvos.refine import Candidates, KeepCoarse, Masklets, Vote, make_rule


def bar(first: int, length: int):
    """A row of `length` pixels in a frame of 1 x 60, from column `first`."""
    pixels = np.zeros((1, 60))
    pixels[0, first : first + length] = 1
    return encode(pixels)


def candidates(memberships, num_instances):
    """Coarse masks that cover exactly the instances listed per frame; 10 pixels each, apart."""
    instances = [bar(15 * i, 10) for i in range(num_instances)]
    coarse = [union(instances[i] for i in members) for members in memberships]
    return Candidates(coarse, Masklets([[v] * len(memberships) for v in instances]))


def test_paper_figure_2():
    """Frames 1, 2, 4, 5 choose {2}, frame 3 chooses {1, 2}: the window becomes instance 2."""
    memberships = [{2}, {2}, {1, 2}, {2}, {2}]
    c = candidates(memberships, 3)
    refined = Vote(window=5, tau=0.8)(c)
    assert refined.combinations == ((2,), (2,), (1, 2), (2,), (2,))
    (window,) = refined.windows
    assert (window.start, window.stop, window.selected) == (0, 5, (2,))
    assert refined.track == c.masklets.tracks[2] and refined.frames_kept_coarse == 0


@pytest.mark.parametrize("tenths", range(1, 10))
def test_threshold_is_strict(tenths):
    """8 of 10 pixels inside is f = 0.8: not above 0.8. The next pixel is."""
    for inside, expected in ((tenths, ()), (tenths + 1, (0,))):
        c = Candidates([bar(0, inside)], Masklets([[bar(0, 10)]]))
        assert Vote(window=1, tau=tenths / 10)(c).combinations == (expected,)


def test_fraction_is_of_the_masklet_not_of_the_coarse_mask():
    assert overlap_fractions([bar(0, 4)], bar(0, 40)).tolist() == [1.0]
    assert overlap_fractions([bar(0, 40)], bar(0, 4)).tolist() == [0.1]


def test_ties_go_to_the_combination_that_occurs_first():
    for memberships, expected in (([{1}, {0}, {0}, {1}], (1,)), ([{0}, {1}, {1}, {0}], (0,))):
        assert Vote(window=4, tau=0.5)(candidates(memberships, 2)).windows[0].selected == expected


def test_the_empty_set_counts():
    """Two frames without any instance outvote one with: the window keeps its coarse masks."""
    c = candidates([set(), {0}, set()], 1)
    refined = Vote(window=3, tau=0.5)(c)
    assert refined.windows[0].kept_coarse and refined.track == c.coarse
    assert refined.frames_kept_coarse == 3


def test_combinations_vote_not_instances():
    """Instance 0 is in 3 of 5 combinations, but {1} is the most frequent combination."""
    c = candidates([{0, 1}, {0, 2}, {1}, {0}, {1}], 3)
    assert Vote(window=5, tau=0.5)(c).windows[0].selected == (1,)


def test_the_last_window_may_be_short():
    c = candidates([{0}] * 5 + [{1}] * 2, 2)
    refined = Vote(window=5, tau=0.5)(c)
    assert [(w.start, w.stop, w.selected) for w in refined.windows] == [(0, 5, (0,)), (5, 7, (1,))]
    assert len(refined.track) == 7 and refined.track[5:] == c.masklets.tracks[1][5:]


def test_selected_masklets_replace_every_frame_even_where_they_are_absent():
    coarse = [bar(0, 10)] * 3
    refined = Vote(window=3, tau=0.5)(Candidates(coarse, Masklets([[bar(0, 10), bar(1, 9), None]])))
    assert refined.combinations == ((0,), (0,), ())
    assert refined.track == [bar(0, 10), bar(1, 9), None]


def test_union_of_all_selected():
    c = candidates([{0, 2}] * 2, 3)
    assert Vote(window=2, tau=0.9)(c).track == [union([bar(0, 10), bar(30, 10)])] * 2


def test_none_in_place_of_the_masklets_is_told():
    with pytest.raises(InputError, match="masklets: expected a list with one track per masklet"):
        Masklets(None)


def test_no_masklets_and_no_coarse_mask():
    nothing = Candidates([None, bar(0, 3)], Masklets([]))
    assert Vote(window=15, tau=0.8)(nothing).track == [None, bar(0, 3)]
    absent = Candidates([None, None], Masklets([[bar(0, 10), None]]))
    assert Vote(window=15, tau=0.0)(absent).windows[0].kept_coarse


def test_none_keeps_the_coarse_masks():
    c = candidates([{0}, {1}], 2)
    refined = KeepCoarse()(c)
    assert refined.track == c.coarse and refined.frames_kept_coarse == 2


@pytest.mark.parametrize("tau", [-0.1, 1, 1.5, float("nan"), float("inf"), None, "0.5"])
def test_bad_tau(tau):
    with pytest.raises(InputError, match="^tau: expected a number >= 0 and < 1, got"):
        Vote(window=15, tau=tau)
    with pytest.raises(InputError, match="^refine.tau: expected a number >= 0 and < 1, got"):
        make_rule("vote", tau=tau)


@pytest.mark.parametrize("window", [0, -1, 1.5, None, True, "15"])
def test_bad_window(window):
    with pytest.raises(InputError, match="^window: expected a whole number >= 1, got"):
        Vote(window=window, tau=0.8)
    with pytest.raises(InputError, match="^refine.window: expected a whole number >= 1, got"):
        make_rule("vote", window=window)


def test_make_rule():
    assert make_rule("vote", window=15, tau=0.8) == Vote(window=15, tau=0.8)
    assert make_rule("none", window=None, tau=None) == KeepCoarse()
    with pytest.raises(InputError, match="vote"):
        make_rule("votes", window=15, tau=0.8)
