"""Masks of any form -> the same J and F, as the definitions on arrays give them."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from rvos.errors import InputError
from rvos.masks import MaskError, encode
from rvos.score import boundary_f, j_and_f, j_and_f_by_object, jaccard
from rvos.score.davis import db_eval_boundary, db_eval_iou, f_measure


def f_by_hand(prediction, truth, radius):
    """F of bool (H, W) by its words: distances between all pairs of outline pixels."""
    p, g = outline(prediction), outline(truth)  # (P, 2), (G, 2)
    if not len(p) or not len(g):
        return float(len(p) == len(g))
    near = np.square(p[:, None] - g[None]).sum(-1) <= radius**2  # (P, G)
    precision, recall = near.any(1).mean(), near.any(0).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask):
    """(N, 2) rows and columns of pixels that differ from the right, lower or diagonal one."""
    height, width = mask.shape
    return np.array(
        [
            (y, x)
            for y in range(height)
            for x in range(width)
            if any(
                mask[y + dy, x + dx] != mask[y, x]
                for dy, dx in [(0, 1), (1, 0), (1, 1)]
                if y + dy < height and x + dx < width
            )
        ]
    ).reshape(-1, 2)


@st.composite
def two_masks(draw, longest=40):
    """Two bool masks of one size: noise, boxes, nothing, everything, one pixel."""
    size = draw(st.tuples(st.integers(1, longest), st.integers(1, longest)))
    return tuple(draw(one_mask(size)) for _ in range(2))


@st.composite
def one_mask(draw, size):
    kind = draw(st.sampled_from(["noise", "box", "box", "empty", "full", "pixel"]))
    mask = np.full(size, kind == "full")
    if kind == "noise":
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        mask = rng.random(size) < draw(st.sampled_from([0.05, 0.5, 0.9]))
    rows, columns = (sorted(draw(st.tuples(*[st.integers(0, n - 1)] * 2))) for n in size)
    if kind == "box":
        mask[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = True  # may touch the border
    if kind == "pixel":
        mask[rows[0], columns[0]] = True
    return mask


TALL = np.zeros((8000, 3), bool)
TALL[4000:7000, 1] = True


@settings(max_examples=300, deadline=None)
@given(two_masks(), st.sampled_from([0.008, 0.08, 1, 3]))
@example((TALL, ~TALL), 0.008)
@example((TALL.T, TALL.T), 0.008)
def test_equal_to_the_words_of_the_definition(masks, tolerance):
    """From arrays, from RLE, and from one of each; J also without drawing."""
    truth, prediction = masks
    either = (truth | prediction).sum()
    J = (truth & prediction).sum() / either if either else 1.0
    rle, coded = encode(truth), encode(prediction)
    F = boundary_f(truth, prediction, tolerance=tolerance)
    if truth.size < 2000:
        diagonal = np.hypot(*truth.shape)
        radius = tolerance if tolerance >= 1 else np.ceil(tolerance * diagonal)
        assert F == f_by_hand(prediction, truth, radius)
    for g, p in ((truth, prediction), (rle, coded), (rle, prediction), (truth, coded)):
        assert j_and_f(g, p, tolerance=tolerance) == (J, F)
        assert jaccard(g, p) == J


@settings(max_examples=200, deadline=None)
@given(two_masks())
def test_what_holds_for_all_masks(masks):
    a, b = masks
    J, F = j_and_f(a, b)
    assert 0 <= J <= 1 and 0 <= F <= 1
    assert jaccard(b, a) == J == jaccard(a.T, b.T)  # symmetric; transposed
    assert jaccard(a[::-1], b[::-1]) == J == jaccard(a[:, ::-1], b[:, ::-1])  # mirrored
    assert boundary_f(a.T, b.T) == F
    assert boundary_f(b, a) == pytest.approx(F, abs=1e-15)  # precision and recall change places
    assert (J == 1) == bool((a == b).all())
    assert j_and_f(a, a) == (1, 1)


@settings(max_examples=200, deadline=None)
@given(two_masks(25), st.data())
def test_void_pixels_are_background_in_both(masks, data):
    truth, prediction = masks
    void = data.draw(one_mask(truth.shape))
    expected = j_and_f(truth & ~void, prediction & ~void)
    assert j_and_f(truth, prediction, void=void) == expected
    assert j_and_f(encode(truth), prediction, void=encode(void)) == expected
    assert jaccard(truth, encode(prediction), void=encode(void)) == expected[0]
    assert db_eval_iou(truth, prediction, void) == expected[0]
    assert f_measure(prediction, truth, void) == expected[1]


@pytest.mark.parametrize("height", [150, 152])  # in eights, or not
@pytest.mark.parametrize("kind", ["i1", "u2", ">i4", "i8", "f2", "f8", "g"])
def test_numbers_of_any_kind(kind, height):
    """Words of 64 rows are filled twice and a bit; void covers parts of masks and of the rest."""
    masks = np.random.default_rng(0).random((3, 2, height, 33)) < [[[[0.5]]], [[[0.5]]], [[[0.1]]]]
    masks[0, :, :70], masks[:, 1] = False, np.roll(masks[:, 1], 90, axis=1)
    truth, prediction, void = masks
    given = [(mask * -3).astype(kind) for mask in masks]  # -0.0 where floats are background
    expected = j_and_f(truth & ~void, prediction & ~void)
    assert np.array_equal(j_and_f(*given[:2], void=given[2]), expected)
    assert np.array_equal(jaccard(truth, given[1], void=given[2]), expected[0])
    for t in range(2):  # column by column
        columns = [np.asfortranarray(mask[t]) for mask in given]
        assert j_and_f(*columns[:2], void=columns[2]) == (expected[0][t], expected[1][t])
        assert jaccard(columns[0], columns[1], void=void[t]) == expected[0][t]


def test_several_frames_and_kinds_of_numbers():
    rng = np.random.default_rng(1)
    truth, prediction = rng.random((2, 5, 30, 40)) < 0.4
    J, F = j_and_f(truth, prediction)
    assert J.shape == F.shape == (5,) and J.dtype == F.dtype == np.float64
    assert [(j, f) for j, f in zip(J, F, strict=True)] == [
        j_and_f(g, p) for g, p in zip(truth, prediction, strict=True)
    ]
    others = [
        (7 * truth.astype(np.uint8), 255 * prediction.astype(np.int64)),
        (-0.5 * truth, prediction.astype(np.float32)),
        (np.asfortranarray(truth), prediction[:, ::-1][:, ::-1]),
        (list(truth), tuple(prediction)),
        (
            [encode(g) for g in truth],
            [coco.encode(np.asfortranarray(p)) for p in prediction.view(np.uint8)],
        ),
        ([encode(truth[0]), *truth[1:]], prediction),
        ([Image.fromarray(g) for g in truth], prediction),
    ]
    for g, p in others:
        assert (np.array(j_and_f(g, p)) == [J, F]).all()
        assert (jaccard(g, p) == J).all() and (boundary_f(g, p) == F).all()
    assert (db_eval_iou(truth, prediction) == J).all()
    assert (db_eval_boundary(truth, prediction) == F).all()
    pairs = np.stack([truth, prediction])  # (2, T, H, W)
    assert (db_eval_iou(pairs, pairs[::-1]) == [J, J]).all()


def test_nothing_and_runs_as_numbers():
    """Two empty masks are 1, one is 0; `counts` may be a list; no frames give no scores."""
    square = np.zeros((6, 8), np.uint8)
    square[2:4, 2:4] = 1
    assert j_and_f(None, None) == j_and_f(None, 0 * square) == j_and_f(None, encode(0 * square))
    assert j_and_f(None, None) == (1, 1) and j_and_f(square, None) == (0, 0)
    assert jaccard([None, square], [None, None]).tolist() == [1, 0]
    runs = {"size": [6, 8], "counts": [14, 2, 4, 2, 26]}  # down columns 2 and 3
    assert j_and_f(runs, square) == (1, 1)
    assert [x.shape for x in j_and_f([], [])] == [(0,), (0,)]
    assert [x.shape for x in j_and_f(square, square[None])] == [(1,), (1,)]


def test_pictures_of_object_numbers():
    """Object 1 is hit, 2 is moved by its whole width, 9 is void and covers half of 1's error."""
    truth = np.zeros((2, 20, 40), np.uint8)
    truth[:, 2:12, 2:12] = 1
    truth[:, 2:12, 20:30] = 2
    prediction = np.where(truth == 2, 0, truth)
    prediction[:, 2:12, 30:40] = 2
    prediction[:, 12:16, 2:12] = 1
    truth[:, 12:14, 2:12] = 9
    scores = j_and_f_by_object(truth, prediction, void=9)
    assert list(scores) == [1, 2]
    assert (scores[1][0] == 100 / 120).all() and (scores[2][0] == 0).all()
    palette = [Image.fromarray(p, "P") for p in prediction]
    assert (np.array(j_and_f_by_object(truth, palette, void=9)[1]) == scores[1]).all()
    single = j_and_f_by_object(truth[0], prediction[0], void=9)
    assert single == {k: (J[0], F[0]) for k, (J, F) in scores.items()}
    prediction[0, 0, 0] = 4
    with pytest.raises(InputError, match=r"objects \[4\] are not in the truth, which has \[1, 2\]"):
        j_and_f_by_object(truth, prediction, void=9)
    assert list(j_and_f_by_object(truth, prediction, void=9, objects=[4])) == [4]


@pytest.mark.parametrize(
    "truth, prediction, message",
    [
        (np.ones((3, 4, 5)), np.ones((2, 4, 5)), "truth 3, prediction 2"),
        (
            [encode(np.ones((4, 5)))] * 2,
            np.ones((2, 5, 4)),
            r"\(2\):\n.*frame 0: truth 4 x 5, predi",
        ),
        (np.ones((4, 5)), np.ones((4, 5, 3, 1)), r"prediction: expected .*float64 of shape \(4, 5"),
        (np.ones((4, 5)), "mask.png", "got 'mask.png'"),
        ([{"size": [4, 5]}], [None], "truth, frame 0: expected"),
        ({"size": [4, 5], "counts": "0o"}, {"size": [4, 5], "counts": "0d0"}, "corrupt counts"),
        ({"size": [4, 5], "counts": [3]}, np.ones((4, 5)), "truth: counts: .* 4 x 5"),
        (np.array(["a"]), np.ones((4, 5)), "truth: expected numbers"),
    ],
)
def test_what_does_not_fit_is_refused(truth, prediction, message):
    for function in (j_and_f, jaccard):
        with pytest.raises((InputError, MaskError), match=message):
            function(truth, prediction)


@pytest.mark.parametrize("tolerance", [-1, 1.5, np.nan, np.inf])
def test_tolerances_that_are_none(tolerance):
    with pytest.raises(InputError, match="tolerance: expected a share"):
        j_and_f(None, None, tolerance=tolerance)


def test_shapes_of_the_davis_functions():
    for function in (db_eval_iou, db_eval_boundary):
        with pytest.raises(InputError, match=r"annotation \(3, 4\), segmentation \(4, 3\)"):
            function(np.ones((3, 4)), np.ones((4, 3)))
    with pytest.raises(InputError, match=r"expected \(T, H, W\)"):
        db_eval_boundary(np.ones((1, 1, 3, 4)), np.ones((1, 1, 3, 4)))
    with pytest.raises(InputError, match=r"expected \(H, W\)"):
        f_measure(np.ones((1, 3, 4)), np.ones((1, 3, 4)))


def test_runs_of_many_frames():
    """Frames of several sizes, empty and full masks; a corrupt one among them is found."""
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (7, 3), (64, 2), (65, 30)] * 4
    pairs = [rng.random((2, *size)) < rng.choice([0, 0.3, 0.9, 1]) for size in sizes]
    truth, prediction = ([encode(pair[i]) for pair in pairs] for i in range(2))
    expected = [(g & p).sum() / max((g | p).sum(), 1) if (g | p).any() else 1 for g, p in pairs]
    assert jaccard(truth, prediction).tolist() == expected
    for counts in ("", "é", truth[3]["counts"][:-1]):
        damaged = [*truth[:3], {**truth[3], "counts": counts}, *truth[4:]]
        with pytest.raises(MaskError, match="corrupt counts"):
            jaccard(damaged, prediction)
    assert jaccard([], []).shape == (0,)
