"""J and F on drawn masks, with values derived here from the definitions."""

import numpy as np
import pytest

from rvos.masks import canonical, encode
from rvos.score import decay, recall, score_track, temporal_ious
from rvos.score.contour import contour_of, matches, tolerance_radius


def square(x, y, side, size=(100, 120)):
    pixels = np.zeros(size)
    pixels[y : y + side, x : x + side] = 1
    return canonical(encode(pixels))


def slow_boundary(pixels):
    """The definition, pixel by pixel."""
    height, width = pixels.shape
    result = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            others = [
                pixels[v, u]
                for v, u in ((y, x + 1), (y + 1, x), (y + 1, x + 1))
                if v < height and u < width
            ]
            result[y, x] = any(other != pixels[y, x] for other in others)
    return result


def slow_f(truth, prediction, radius):
    g, p = (np.argwhere(slow_boundary(m)) for m in (truth, prediction))
    if len(g) == 0 or len(p) == 0:
        return float(len(g) == len(p))
    near = ((g[:, None] - p[None]) ** 2).sum(-1) <= radius**2
    precision, recalled = near.any(0).mean(), near.any(1).mean()
    total = precision + recalled
    return 2 * precision * recalled / total if total else 0.0


@pytest.mark.parametrize("seed", range(40))
def test_f_against_the_definition(seed):
    rng = np.random.default_rng(seed)
    size = rng.integers(1, [40, 60], endpoint=True)
    truth, prediction = (_blobs(rng, size) for _ in range(2))
    _, F = score_track([canonical(encode(truth))], [canonical(encode(prediction))])
    radius = tolerance_radius(*(int(n) for n in size))
    assert F[0] == pytest.approx(slow_f(truth, prediction, radius), abs=1e-12)


def _blobs(rng, size):
    kind = rng.integers(4)
    if kind == 0:
        return (rng.random(size) < 0.3).astype(np.uint8)
    pixels = np.zeros(size, np.uint8)
    for _ in range(kind):
        y, x = rng.integers(0, size)
        pixels[y : y + rng.integers(1, 20), x : x + rng.integers(1, 30)] = 1
    return pixels


def test_radius():
    assert tolerance_radius(480, 854) == 8 and tolerance_radius(1080, 1920) == 18
    assert tolerance_radius(1, 1) == 1


def test_j():
    """Two 10 x 10 squares, 5 apart: 50 pixels in common, 150 together."""
    J, _ = score_track([square(0, 0, 10)], [square(5, 0, 10)])
    assert J[0] == 50 / 150


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        (None, None, (1, 1)),
        (square(3, 3, 5), None, (0, 0)),
        (None, square(3, 3, 5), (0, 0)),
        (encode(np.ones((9, 9))), encode(np.ones((9, 9))), (1, 1)),  # no boundary on either side
        (encode(np.ones((9, 9))), None, (0, 1)),  # neither has a boundary pixel
    ],
)
def test_conventions(truth, prediction, expected):
    J, F = score_track([truth], [prediction])
    assert (J[0], F[0]) == expected


def test_first_and_last_frame_count():
    """Right in the two middle frames only: half of the frames."""
    good, bad = square(0, 0, 10), square(60, 60, 10)
    J, F = score_track([good] * 4, [bad, good, good, bad])
    assert J.tolist() == F.tolist() == [0, 1, 1, 0] and J.mean() == 0.5


def test_boundary_offset_by_more_than_the_radius_does_not_match():
    radius = tolerance_radius(100, 120)  # 2
    lines = [np.zeros((100, 120)) for _ in range(3)]
    for pixels, x in zip(lines, (20, 20 + radius, 21 + radius), strict=True):
        pixels[:, :x] = 1
    truth, near, far = (contour_of(encode(pixels)) for pixels in lines)
    assert matches(truth, near) == truth.num_pixels == 100
    assert matches(truth, far) == matches(far, truth) == 0


def test_recall_counts_values_above_one_half():
    assert recall(np.array([0.5, 0.51, 1.0, 0.2])) == 0.5


def test_decay_by_hand():
    """T = 8: ids round(linspace(1, 8, 5)) - 1 = 0, 2, 3 (4.5 -> 5 with 1e-10, less 1: 4), 5, 7."""
    values = np.arange(8.0)
    assert np.linspace(1, 8, 5).tolist() == [1, 2.75, 4.5, 6.25, 8]
    assert decay(values) == np.mean([0, 1, 2]) - np.mean([5, 6, 7])
    assert decay(values[:3]) == 0


def test_decay_is_right_beyond_256_frames():
    """T = 1001: quarters are frames 0..250 and 750..1000."""
    values = np.zeros(1001)
    values[:251], values[750:] = 1, 0.25
    assert decay(values) == 0.75


def test_temporal_ious():
    a, b = square(0, 0, 10), square(5, 0, 10)
    truth, prediction = [a, a, None, None, a], [None, b, b, None, a]
    J, _ = score_track(truth, prediction)
    tiou, viou = temporal_ious(truth, prediction, J)
    assert tiou == 2 / 4 and viou == pytest.approx((1 / 3 + 1) / 4)
    assert temporal_ious([None], [None], np.array([1.0])) == (1, 1)
