"""The refinement rules beside the paper's vote, on masks small enough to work out by hand.

Masks are one row of pixels written as text: "#" is foreground. Every instance below has four
pixels, so a coarse mask that covers k of them has f = k / 4.
"""

from pathlib import Path

import numpy as np
import pytest

from rvos import CONFIG_DIR, InputError, SettingsError, preset
from rvos.masks import encode
from rvos.refine import (
    Candidates,
    ConditionalFusion,
    InstanceVote,
    Masklets,
    PixelMajority,
    SlidingVote,
    Vote,
    WeightedVote,
    WholeVideo,
    make_rule,
)
from rvos.score import score_track

CHOICES = sorted(path.stem for path in (CONFIG_DIR / "refine").glob("*.yaml"))
CHOICES.remove("given")  # has no masks without its file: tests/refine/test_given.py


def mask(row):
    pixels = np.array([[pixel == "#" for pixel in row]])
    return encode(pixels) if pixels.any() else None


def track(*rows):
    return [mask(row) for row in rows]


def candidates(coarse, *instances):
    return Candidates(track(*coarse), Masklets([track(*rows) for rows in instances]))


def test_instance_vote_selects_a_set_that_no_frame_had():
    """Instances A, B, C; C_t = {A, B}, {B, C}, {A, C}: each is in 2 of 3 frames.

    The paper's vote meets three different sets once each and takes the first.
    """
    a, b, c = "####........", "....####....", "........####"
    given = candidates(["########....", "....########", "####....####"], [a] * 3, [b] * 3, [c] * 3)
    refined = InstanceVote(window=3, tau=0.5)(given)
    assert [w.selected for w in refined.windows] == [(0, 1, 2)]
    assert refined.track == track(*["############"] * 3)
    assert [w.selected for w in Vote(window=3, tau=0.5)(given).windows] == [(0, 1)]


def test_instance_vote_needs_more_than_half():
    """A is in C_t in 1 of 2 frames: not more than half, so the window keeps its coarse masks."""
    given = candidates(["####", "...."], ["####", "####"])
    refined = InstanceVote(window=2, tau=0.5)(given)
    assert refined.windows[0].kept_coarse and refined.track == given.coarse


def test_weighted_vote_prefers_one_clear_frame_to_two_doubtful_ones():
    """f of A: 1/4, 1/4, 1 with tau = 0.5: C_t = {}, {}, {A}.

    Weights: 1 - 1/4 = 3/4 twice makes 1.5 for the empty set, 1 for {A}: coarse is kept. With f of
    A 2/4, 2/4, 1 (not above tau) the empty set gets 1/2 + 1/2 = 1, a tie with {A}, and the empty
    set came first. With a second clear frame {A} wins 2 to 1.
    """
    rule = WeightedVote(window=4, tau=0.5)
    a = ["####"] * 4
    assert rule(candidates(["#...", "#...", "####"], a[:3])).windows[0].selected == ()
    assert rule(candidates(["##..", "##..", "####"], a[:3])).windows[0].selected == ()
    two_each = candidates(["##..", "##..", "####", "####"], a)
    assert rule(two_each).windows[0].selected == (0,)
    assert Vote(window=4, tau=0.5)(two_each).windows[0].selected == ()  # 2 to 2, the first wins


def test_weighted_vote_without_instances_keeps_coarse():
    given = candidates(["####", "...."])
    assert WeightedVote(window=15, tau=0.8)(given).track == given.coarse


def test_whole_video_is_one_window():
    """C_t = {A}, {}, {A}, {A}: windows of two would keep nothing coarse but differ in spans."""
    given = candidates(["####", "....", "####", "####"], ["####"] * 4)
    refined = WholeVideo(tau=0.8)(given)
    assert [(w.start, w.stop, w.selected) for w in refined.windows] == [(0, 4, (0,))]
    assert refined.track == track(*["####"] * 4)


def test_sliding_vote_centres_the_window_on_each_frame():
    """C_t = A B B A A with window 3: frames see AB|ABB|BBA|BAA|AA.

    Frame 0 is a tie that A, the first, wins. Frames 1 and 2 follow B, frames 3 and 4 A.
    """
    a, b = "####....", "....####"
    given = candidates([a, b, b, a, a], [a] * 5, [b] * 5)
    refined = SlidingVote(window=3, tau=0.5)(given)
    spans = [(w.start, w.stop, w.selected) for w in refined.windows]
    assert spans == [(0, 1, (0,)), (1, 3, (1,)), (3, 5, (0,))]
    assert refined.track == track(a, b, b, a, a)


def test_sliding_vote_with_an_even_window_looks_further_ahead():
    """Window 2 is frames t, t + 1: A B B gives ties for A at frame 0, then B, B."""
    a, b = "####....", "....####"
    given = candidates([a, b, b], [a] * 3, [b] * 3)
    assert SlidingVote(window=2, tau=0.5)(given).track == track(a, b, b)


def test_sliding_vote_repairs_a_single_frame():
    """C_t = A A {} A A with window 3: the middle frame follows its neighbours."""
    a = "####"
    refined = SlidingVote(window=3, tau=0.5)(candidates([a, a, "....", a, a], [a] * 5))
    assert refined.track == track(a, a, a, a, a)
    assert len(refined.windows) == 1 and refined.frames_kept_coarse == 0


def test_pixel_majority_of_coarse_own_and_window_masklets():
    """A = pixels 0-3, B = pixels 4-7, tau 0.5. Coarse: 0-2, 0-4, 4-7 -> C_t = {A}, {A}, {B}.

    C_sel = {A}. Frame 0: u 0-2, own A, window A -> 0-3. Frame 1: the same, pixel 4 has one vote of
    three. Frame 2: u 4-7, own B 4-7, window A -> two of three say B.
    """
    a, b = "####....", "....####"
    given = candidates(["###.....", "#####...", "....####"], [a] * 3, [b] * 3)
    refined = PixelMajority(window=3, tau=0.5)(given)
    assert refined.track == track("####....", "####....", "....####")
    assert Vote(window=3, tau=0.5)(given).track == track(a, a, a)


def test_pixel_majority_where_the_frame_has_no_masklet_of_its_own():
    """C_t = {A}, {A}, {}: frame 2 keeps what coarse (pixels 0, 4) and the window's A share: 0."""
    a = "####...."
    given = candidates([a, a, "#...#..."], [a] * 3)
    assert PixelMajority(window=3, tau=0.5)(given).track == track(a, a, "#.......")


def test_conditional_fusion_unites_where_most_boxes_are_too_small():
    """One row, so boxes are widths. A is 4 wide. Coarse is 8 wide in 2 of 3 frames (4 < 2/3 * 8),
    4 wide in one: most frames look incomplete, all become the union. With one such frame of three
    the masklet stands alone. 4 against 6 is 2/3 exactly, not below.
    """
    rule = ConditionalFusion(window=3, tau=0.5, box_ratio=2 / 3)
    a, wide, exact = "####....", "########", "######.."
    most = candidates([wide, wide, a], [a] * 3)
    assert rule(most).track == track(wide, wide, a)
    one = candidates([wide, a, a], [a] * 3)
    assert rule(one).track == track(a, a, a)
    assert rule(candidates([exact] * 3, [a] * 3)).track == track(a, a, a)


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_makes_its_rule(name):
    settings = preset("refine", name)
    assert {"name", "window", "tau"} <= set(settings) and settings["name"] == name
    rule = make_rule(**settings)
    assert make_rule(name) == rule
    assert f"rvos.refine.{type(rule).__name__}" == settings["_target_"]
    given = candidates(["####....", "........"], ["####...."] * 2)
    refined = rule(given)
    assert len(refined.track) == len(refined.combinations) == 2
    assert [w.start for w in refined.windows] == [0, *(w.stop for w in refined.windows[:-1])]
    assert refined.windows[-1].stop == 2


def test_a_key_of_another_rule_is_refused():
    with pytest.raises(InputError, match="refine=vote: no such key: box_ratio"):
        make_rule("vote", box_ratio=0.5)


def test_a_key_that_is_missing_is_named_beside_one_too_many():
    with pytest.raises(SettingsError) as error:
        make_rule("own", _target_="rvos.refine.Vote", windo=3, tau=0.5)
    assert error.value.problems == (
        "refine=own: no such key: windo",
        "refine=own: key missing: window",
    )


def test_a_preset_is_composed_once_and_resolved_each_time(tmp_path, monkeypatch):
    """What it takes from the environment and the working folder is that of the moment."""
    monkeypatch.chdir(CONFIG_DIR.parent)
    first = preset("coarse", "mutr_tiny")["checkpoint"]
    monkeypatch.chdir(tmp_path)
    second = preset("coarse", "mutr_tiny")
    assert Path(second["checkpoint"]).is_file() and first != second["checkpoint"]
    second["clip_length"] = 99
    assert preset("coarse", "mutr_tiny")["clip_length"] != 99


@pytest.mark.parametrize("name", sorted(set(CHOICES) - {"none"}))
@pytest.mark.parametrize("tau", [1.0, -0.1, float("nan"), None, "0.5"])
def test_bad_tau(name, tau):
    with pytest.raises(InputError, match="refine.tau: expected a number"):
        make_rule(name, tau=tau)


@pytest.mark.parametrize("box_ratio", [0, 1.1, None, "1/2"])
def test_bad_box_ratio(box_ratio):
    with pytest.raises(InputError, match="refine.box_ratio"):
        make_rule("conditional_fusion", window=15, tau=0.8, box_ratio=box_ratio)


def test_all_wrong_values_are_named():
    with pytest.raises(SettingsError) as error:
        make_rule("vote", window="15", tau=2)
    assert error.value.problems == (
        "refine.window: expected a whole number >= 1, got '15'",
        "refine.tau: expected a number >= 0 and < 1, got 2",
    )


# ----------------------------------------------------------------------------------- as a library

ONE, TWO = (encode(np.eye(side, dtype=np.uint8)) for side in (8, 9))


@pytest.mark.parametrize(
    "coarse, masklets, told",
    [
        ([np.eye(8)], [[ONE]], "coarse masks, frame 0: .*got an array .8, 8.; rvos.masks.encode"),
        (np.ones((1, 8, 8)), [[ONE]], "coarse masks: expected a list with one mask per frame"),
        ([ONE, None], [[ONE]], "frames of coarse masks: 2, masklet 0: 1"),
        ([ONE], [[ONE], [ONE, ONE]], "frames of masklet 0: 1, masklet 1: 2"),
        ([ONE], [[TWO]], "masklet 0, frame 0: expected a mask of 8 x 8 pixels"),
        ([ONE], [ONE], "masklet 0: expected a list with one mask per frame"),
    ],
)
def test_wrong_masks_are_said_in_our_words(coarse, masklets, told):
    with pytest.raises(InputError, match=told):
        Vote(window=15, tau=0.8)(Candidates(coarse, Masklets(masklets)))


def test_a_truth_of_other_frames_is_said_in_our_words():
    with pytest.raises(InputError, match="frames of ground truth: 1, prediction: 2"):
        score_track([ONE], [ONE, ONE])
