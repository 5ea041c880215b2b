"""Clips from one picture: where masks go, what is drawn how often, and from what it follows."""

import colorsys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_mevis import write_split  # noqa: E402
from made_refcoco import write_refcoco  # noqa: E402
from PIL import Image  # noqa: E402
from test_clip import recipe, same  # noqa: E402

from rvos.data.formats import open_checked  # noqa: E402
from rvos.masks import decode, from_coco  # noqa: E402
from rvos.train.clips import ClipDataset, tight_boxes  # noqa: E402
from rvos.train.pseudo import Copy, motion_blur, placement  # noqa: E402

NOWHERE = np.zeros((4, 2))  # the corners of what is seen are the picture's


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def disc(size, centre, radius):
    y, x = np.mgrid[: size[0], : size[1]]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


# ---------------------------------------------------------------------------------- where masks go


@pytest.mark.parametrize("share", [0.1, -0.1, 0.02])
def test_a_shift_by_whole_pixels_is_exact(share):
    """0.1 of 100 x 50 pixels are 10 to the right and 5 down."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (50, 100, 3), np.uint8)
    mask = rng.integers(0, 2, (50, 100), np.uint8)
    copy = Copy(placement((50, 100), NOWHERE, 0, share))
    dx, dy = round(share * 100), round(share * 50)
    for before, after in ((picture, copy.picture(picture)), (mask, copy.mask(mask))):
        expected = np.zeros_like(before)
        to = [slice(max(d, 0), n + min(d, 0)) for d, n in ((dy, 50), (dx, 100))]
        of = [slice(max(-d, 0), n + min(-d, 0)) for d, n in ((dy, 50), (dx, 100))]
        expected[tuple(to)] = before[tuple(of)]
        assert np.array_equal(after, expected)


def test_a_quarter_turn_is_exact():
    mask = np.random.default_rng(0).integers(0, 2, (61, 61), np.uint8)
    assert np.array_equal(Copy(placement((61, 61), NOWHERE, 90, 0)).mask(mask), np.rot90(mask))


def test_a_disc_is_turned_about_the_centre_and_moved():
    """It lies 60 right of the centre (199.5, 149.5); by 20 degrees counter-clockwise, up in the
    picture: 60 cos 20 right and 60 sin 20 up; then 0.03 of 400 x 300: 12 right, 9 down."""
    copy = Copy(placement((300, 400), NOWHERE, 20, 0.03))
    found = copy.mask(disc((300, 400), (259.5, 149.5), 50).astype(np.uint8))
    angle = np.radians(20)
    centre = 199.5 + 60 * np.cos(angle) + 12, 149.5 - 60 * np.sin(angle) + 9
    assert overlap(found > 0, disc((300, 400), centre, 50)) > 0.98


def test_the_part_that_is_seen_fills_the_frame():
    """A tenth is cut off at the left and right, a fifth at the top: pixels (30, 61)..(269, 300) of
    301 x 301 become (0, 0)..(300, 300). The rectangle (90..149, 120..179) is scaled by 300 / 240
    about (30, 60): 75..149 and 75..149."""
    corners = np.array([[0.1, 0.2], [0.1, 0.2], [0.1, 0.0], [0.1, 0.0]])
    copy = Copy(placement((301, 301), corners, 0, 0))
    mask = np.zeros((301, 301), np.uint8)
    mask[120:180, 90:150] = 1
    expected = np.zeros((301, 301), bool)
    expected[75:150, 75:150] = True
    assert overlap(copy.mask(mask) > 0, expected) > 0.98
    assert copy.mask(np.ones((301, 301), np.uint8)).all()


def test_copies_show_the_object_where_the_matrix_takes_its_outline():
    """The outline's corners go through the matrix by hand, and COCO's code fills what they enclose.
    Its corners lie on the borders of pixels, half a pixel before their centres."""
    size, outline = (240, 320), np.array([[80, 60], [200, 70], [230, 180], [90, 190]])
    mask = decode(from_coco([outline.ravel().tolist()], size))
    checked = 0
    for seed in range(40):
        for copy in recipe().pseudo_clip.draw(np.random.default_rng(seed), size, 5):
            if copy.matrix is None:
                assert np.array_equal(copy.mask(mask), mask)
                continue
            there = np.c_[outline - 0.5, np.ones(4)] @ copy.matrix.T
            there = there[:, :2] / there[:, 2:] + 0.5
            if there.min() < 0 or (there > (320, 240)).any():
                continue  # COCO's code does not cut outlines at the picture's border
            expected = decode(from_coco([there.ravel().tolist()], size))
            assert overlap(copy.mask(mask) > 0, expected > 0) > 0.98
            checked += 1
    assert checked > 100


def test_picture_and_mask_move_together():
    mask = disc((240, 320), (150, 110), 70).astype(np.uint8)
    still = replace(recipe().pseudo_clip, brightness=0, hue_saturation=0, blur_probability=0)
    for copy in still.draw(np.random.default_rng(1), (240, 320), 20):
        shown = copy.picture(np.repeat(mask[..., None] * np.uint8(255), 3, 2))
        assert overlap(shown[..., 0] > 127, copy.mask(mask) > 0) > 0.98


# ----------------------------------------------------------------------------------------- colours


def test_brightness_is_added_and_stays_in_range():
    picture = np.array([[[0, 100, 250]]], np.uint8)
    assert Copy(brightness=40).picture(picture).tolist() == [[[40, 140, 255]]]
    assert Copy(brightness=-40).picture(picture).tolist() == [[[0, 60, 210]]]


@pytest.mark.parametrize("value", [5, -5, 30])
@pytest.mark.parametrize("color", [(200, 90, 60), (30, 160, 90), (80, 80, 200), (250, 20, 20)])
def test_hue_and_saturation_move_by_the_same_number(color, value):
    """Python's own colorsys says what they are; steps of OpenCV are 1/256 of the circle."""
    picture = np.full((1, 1, 3), color, np.uint8)
    before = np.array(colorsys.rgb_to_hsv(*(np.array(color) / 255)))
    found = Copy(hue_saturation=value).picture(picture)[0, 0] / 255
    hue, saturation, brightness = colorsys.rgb_to_hsv(*found)
    turned = (hue - before[0] - value / 256 + 0.5) % 1 - 0.5
    assert abs(turned) < 0.012
    assert saturation == pytest.approx(min(before[1] + value / 255, 1), abs=0.012)
    assert brightness == pytest.approx(before[2], abs=0.005)


def test_blur_is_a_line_of_weights():
    upright = motion_blur(5, 0, 1.0)
    assert upright[:, 2].tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1, 0])
    assert upright.sum() == pytest.approx(1) and np.count_nonzero(upright) == 4
    assert np.allclose(motion_blur(5, 90, 1.0), np.rot90(upright), atol=1e-3)
    point = np.zeros((9, 9, 3), np.uint8)
    point[4, 4] = 200
    blurred = Copy(blur=motion_blur(5, 0, 0.5)).picture(point)[..., 0]
    assert blurred[:, 4].tolist() == [0, 0, 40, 40, 40, 40, 40, 0, 0] and blurred.sum() == 200


# --------------------------------------------------------------------------------- what is drawn


def test_what_is_drawn_and_how_often():
    """4,000 copies: shares of 1/4 have a standard deviation of 0.007, of 1/2 0.008. The original is
    at each of five places once in five clips of 1,000: 0.013."""
    drawn, places = [], Counter()
    for seed in range(1000):
        copies = recipe().pseudo_clip.draw(np.random.default_rng(seed), (240, 320), 5)
        (place,) = [i for i, copy in enumerate(copies) if copy.matrix is None]
        assert copies[place] == Copy()
        places[place] += 1
        drawn += [copy for copy in copies if copy.matrix is not None]
    assert all(abs(places[i] / 1000 - 0.2) < 0.05 for i in range(5))
    assert {c.brightness for c in drawn} == set(range(-40, 41))
    assert {c.hue_saturation for c in drawn} == set(range(-5, 6))
    # A number that is drawn may be 0 itself: brightness in 1 of 81, hue in 1 of 11 cases.
    dull = np.mean([c.brightness == 0 for c in drawn])
    grey = np.mean([c.hue_saturation == 0 for c in drawn])
    assert dull == pytest.approx(0.25 + 0.75 / 81, abs=0.03)
    assert grey == pytest.approx(0.25 + 0.75 / 11, abs=0.03)
    assert Counter(len(c.blur) for c in drawn if c.blur is not None).keys() == {9, 11}
    assert np.mean([c.blur is not None for c in drawn]) == pytest.approx(0.25, abs=0.03)


def test_turns_and_shifts_stay_in_their_ranges():
    """Without perspective the matrix holds both: the angle, and where it takes the centre."""
    flat = replace(recipe().pseudo_clip, perspective=0)
    copies = flat.draw(np.random.default_rng(0), (101, 201), 500)
    matrices = np.array([copy.matrix for copy in copies if copy.matrix is not None])
    angles = np.degrees(np.arctan2(-matrices[:, 1, 0], matrices[:, 0, 0]))
    assert -20 <= angles.min() < -19 and 19 < angles.max() <= 20
    moved = (matrices @ [100, 50, 1])[:, :2] - (100, 50)
    assert np.abs(moved[:, 0] / 201 - moved[:, 1] / 101).max() < 1e-6  # one share for both
    assert 0.095 < np.abs(moved[:, 0] / 201).max() <= 0.1


# ---------------------------------------------------------------------------------------- datasets


@pytest.fixture
def pictures(tmp_path):
    root = write_refcoco(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    for file in (tmp_path / "train2014").iterdir():
        Image.fromarray(pixels).save(file, quality=95)
    split, truth = open_checked("refcoco", root, "train", with_truth=True, skip_bad=False)

    def make(seed=0, **changes):
        return ClipDataset(split, truth, recipe(**changes), seed=seed, skip_bad=False)

    return make


def test_a_pseudo_clip_is_a_function_of_seed_epoch_and_index(pictures):
    assert len(pictures()) == 4  # one for each sentence
    for index in range(4):
        assert same(pictures()[3, index], pictures()[3, index])
        assert not same(pictures()[3, index], pictures()[4, index])
        assert not same(pictures()[3, index], pictures(seed=1)[3, index])


def test_boxes_are_those_of_the_masks_that_are_shown(pictures):
    data = pictures()
    for epoch in range(20):
        sample = data[epoch, 0]
        assert sample.frames.shape[0] == 5 and sample.frame_idx.tolist() == [0] * 5
        height, width = sample.masks.shape[1:]
        x0, y0, x1, y1 = tight_boxes(sample.masks).T
        expected = torch.stack([x0 + x1, y0 + y1, 2 * (x1 - x0), 2 * (y1 - y0)], 1) / 2
        expected /= torch.tensor([width, height, width, height])
        assert torch.allclose(sample.boxes_cxcywh_norm, expected)
        assert torch.equal(sample.valid, sample.masks.flatten(1).any(1)) and sample.valid.any()
        assert len({tuple(frame.flatten().tolist()) for frame in sample.frames}) == 5


@pytest.mark.parametrize("changes", [{"recipe": "plain"}, {"pseudo_clip": None}])
def test_else_a_picture_is_repeated(pictures, changes):
    still = {"photometric": replace(recipe().photometric, channel_order_probability=0)}
    sample = pictures(**changes, **still)[0, 2]
    assert torch.equal(sample.masks, sample.masks[:1].expand_as(sample.masks))


def test_one_frame_of_a_picture_is_the_picture(pictures):
    one = pictures(num_frames=1)
    assert same(one[2, 1], pictures(num_frames=1, pseudo_clip=None)[2, 1])


def test_videos_are_left_as_they_are(tmp_path):
    root = write_split(tmp_path)
    split, truth = open_checked("mevis", root, "train", with_truth=True, skip_bad=False)
    one, other = (
        ClipDataset(split, truth, recipe(**changes), seed=0, skip_bad=False)
        for changes in ({}, {"pseudo_clip": None})
    )
    assert all(same(one[1, i], other[1, i]) for i in range(len(one)))
