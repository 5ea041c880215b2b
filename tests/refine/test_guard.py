"""The guard `agree` by hand: masks are one row of pixels written as text, "#" is foreground."""

import numpy as np
import pytest

from rvos import SettingsError
from rvos.masks import encode
from rvos.refine import (
    Candidates,
    ConditionalFusion,
    InstanceVote,
    Masklets,
    PixelMajority,
    Refinement,
    SlidingVote,
    Vote,
    WeightedVote,
    WholeVideo,
    Window,
    make_rule,
)
from rvos.refine.guard import guarded

A = "####...."


def guard_kept(window):
    """Whether the guard kept the coarse masks although C_sel is not empty."""
    return window.kept_coarse and bool(window.selected)


def mask(row):
    pixels = np.array([[pixel == "#" for pixel in row]])
    return encode(pixels) if pixels.any() else None


def track(*rows):
    return [mask(row) for row in rows]


def candidates(coarse, *instances):
    return Candidates(track(*coarse), Masklets([track(*rows) for rows in instances]))


# IoU with A: 2/4, 4/4, 4/6; f: 1/2, 1, 1
THREE = ["##......", "####....", "######.."]


@pytest.mark.parametrize("rule", [Vote, InstanceVote, WeightedVote])
def test_the_median_decides_and_equal_is_enough(rule):
    given = candidates(THREE, [A] * 3)
    voted, kept = (rule(3, 0.3, agree=agree)(given) for agree in (2 / 3, 0.67))
    assert voted.track == track(A, A, A)
    assert voted.windows == (Window(0, 3, (0,), kept_coarse=False, agreement=2 / 3),)
    assert kept.track == given.coarse
    assert kept.windows == (Window(0, 3, (0,), kept_coarse=True, agreement=2 / 3),)
    assert (guard_kept(kept.windows[0]), kept.frames_kept_coarse) == (True, 3)
    assert not guard_kept(voted.windows[0])


def test_of_two_frames_the_median_is_their_mean():
    given = candidates(THREE[:2], [A] * 2)  # 1/2 and 1
    assert Vote(2, 0.3, agree=0.75)(given).track == track(A, A)
    assert Vote(2, 0.3, agree=0.76)(given).track == given.coarse


def test_frames_where_both_are_empty_do_not_count_and_where_one_is_count_zero():
    both = candidates(["####....", "........", "........"], [A, "........", "........"])
    assert Vote(3, 0.3, agree=1.0)(both).windows[0].selected == ()  # the empty set is frequent
    kept = InstanceVote(1, 0.3, agree=1.0)(both)  # windows of one frame: IoU 1, then C_sel is empty
    assert [w.agreement for w in kept.windows] == [1.0, None, None]
    assert kept.track == track(A, "", "")
    seen = candidates(["####....", "####....", "........"], [A, A, A])  # IoU 1, 1, 0
    assert Vote(3, 0.3, agree=1.0)(seen).windows[0].agreement == 1.0
    gone = candidates(["####....", "####....", "........", "........"], [A] * 4)  # 1, 1, 0, 0
    rule = Vote(4, 0.3, agree=0.5)
    assert rule(gone).windows[0].agreement == 0.5  # {0} and the empty set twice: the first wins
    assert rule(gone).track == track(A, A, A, A)


def test_where_no_frame_is_left_the_coarse_masks_stay():
    given = candidates(["........"], ["........"])
    shown = Refinement([None], ((0,),), (Window(0, 1, (0,), kept_coarse=False),))
    assert guarded(given, shown, 0.0).windows == (Window(0, 1, (0,), kept_coarse=True),)


def test_each_window_decides_for_itself():
    given = candidates(["####....", "####....", "##......", "##......"], [A] * 4)
    refined = Vote(2, 0.3, agree=0.6)(given)
    assert refined.track == track(A, A, "##......", "##......")
    assert [guard_kept(w) for w in refined.windows] == [False, True]


def test_without_agree_and_with_an_empty_selection_nothing_is_asked():
    given = candidates(THREE, [A] * 3)
    assert Vote(3, 0.3)(given).windows == (Window(0, 3, (0,), kept_coarse=False),)
    far = candidates(["....####"] * 2, [A] * 2)
    kept = Vote(2, 0.3, agree=0.9)(far).windows[0]
    assert (kept.kept_coarse, guard_kept(kept), kept.agreement) == (True, False, None)


def test_whole_video_is_one_window():
    given = candidates(["####....", "####....", "##......", "##......"], [A] * 4)  # 1, 1, .5, .5
    assert WholeVideo(tau=0.3, agree=0.75)(given).track == track(A, A, A, A)
    assert WholeVideo(tau=0.3, agree=0.76)(given).track == given.coarse


def test_sliding_vote_asks_the_window_around_a_frame():
    """IoU with A: 1, 1, 1/2, 1/2, 1/2; W = 3, so the medians are 1, 1, 1/2, 1/2, 1/2."""
    given = candidates(["####....", "####....", "##......", "##......", "##......"], [A] * 5)
    refined = SlidingVote(3, 0.3, agree=0.6)(given)
    assert refined.track == track(A, A, "##......", "##......", "##......")
    assert refined.windows == (
        Window(0, 2, (0,), kept_coarse=False, agreement=1.0),
        Window(2, 5, (0,), kept_coarse=True, agreement=0.5),
    )


def test_pixel_majority_compares_the_pixels_that_it_shows():
    """tau 0.6: frame 0 has no C_t of its own, so that majority there needs u and A: "##......".

    C_sel of the window is {0} (frames 1, 2): IoU of shown and coarse is 2/2, 4/4, 4/4, while the
    vote itself would have 2/4 in frame 0.
    """
    given = candidates(["##......", "####....", "####...."], [A] * 3)
    rule = PixelMajority(1, 0.6, agree=1.0)
    assert rule(given).windows[1].agreement == 1.0
    whole = PixelMajority(3, 0.6, agree=1.0)(given)
    assert (whole.windows[0].agreement, whole.track) == (1.0, given.coarse)
    one = candidates(["###.....", "####....", "#####..."], [A] * 3)  # f 3/4, 1, 1: shown is A
    assert PixelMajority(3, 0.6, agree=1.0)(one).windows[0].agreement == 0.8  # of 3/4, 1, 4/5


def test_conditional_fusion_compares_the_union_where_it_shows_it():
    """v has 2 of 8 pixels, its box 2/8 of u's: the union, which is u, agrees with u wholly."""
    given = candidates(["########"] * 2, ["##......"] * 2)
    fused = ConditionalFusion(2, 0.5, box_ratio=0.5, agree=1.0)(given)
    assert (fused.track, fused.windows[0].agreement) == (given.coarse, 1.0)
    alone = ConditionalFusion(2, 0.5, box_ratio=0.2, agree=0.5)(given)
    assert (alone.windows[0].agreement, guard_kept(alone.windows[0])) == (0.25, True)


def test_the_key_stands_for_every_rule_and_is_checked():
    assert make_rule("vote", agree=0.5) == Vote(15, 0.8, agree=0.5)
    assert make_rule("sliding_vote", agree=0.5).agree == 0.5
    make_rule("none", agree=0.5)  # has no windows that the guard could keep
    for wrong in (-0.1, 1.1, "much", float("nan")):
        with pytest.raises(SettingsError, match="agree: expected a number"):
            make_rule("vote", agree=wrong)
