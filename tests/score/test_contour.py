"""The compiled kernel of J and F against the definitions on arrays: equal to the last bit."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from rvos.masks import MaskError, canonical, encode
from rvos.score import j_and_f, score_track
from rvos.score.contour import contour_of, in_common
from rvos.score.kernel import compiled


def boundary(pixels):
    """The definition: a pixel that differs from its right, lower or lower-right neighbour."""
    padded = np.pad(pixels, ((0, 1), (0, 1)), mode="edge")
    result = (pixels != padded[:-1, 1:]) | (pixels != padded[1:, :-1])
    result[:-1, :-1] |= pixels[:-1, :-1] != pixels[1:, 1:]
    return result


def parts(pixels):
    """(H, W) bool -> the same, its boundary, and what lies within the radius of that."""
    line = boundary(pixels)
    radius = np.ceil(0.008 * np.sqrt(pixels.shape[0] ** 2 + pixels.shape[1] ** 2))
    if not line.any():
        return pixels, line, line
    return pixels, line, distance_transform_edt(~line) < radius + 1e-6  # exact distances


def by_definition(truth, prediction):
    """The definition, on the parts of two masks."""
    (truth, g, near_g), (prediction, p, near_p) = truth, prediction
    either = (truth | prediction).sum()
    J = (truth & prediction).sum() / either if either else 1.0
    if not g.any() or not p.any():
        return J, float(g.any() == p.any())
    precision, recall = (p & near_g).sum() / p.sum(), (g & near_p).sum() / g.sum()
    total = precision + recall
    return J, 2 * precision * recall / total if total else 0.0


def drawn(size, rng):
    """Masks of one size that go wrong in different ways."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    one, corner = np.zeros(size, bool), np.zeros(size, bool)
    one[rng.integers(height), rng.integers(width)] = True
    corner[-1, -1] = True
    y, x = rng.integers(height), rng.integers(width)
    box = (abs(rows - y) <= height // 5) & (abs(columns - x) <= width // 6)
    disc = (rows / height - 0.5) ** 2 + (columns / width - 0.4) ** 2 < rng.uniform(0.01, 0.1)
    return {
        "empty": np.zeros(size, bool),
        "full": np.ones(size, bool),
        "one pixel": one,
        "last pixel": corner,
        "box": box,
        "disc": disc,
        "box without disc": box & ~disc,
        "noise": rng.random(size) < 0.3,
        "few": rng.random(size) < 3 / (height * width),
        "rows": rows % 3 == 0,
        "right half": columns >= width // 2,
        "last row": rows == height - 1,
        "last column": columns == width - 1,
    }


# Frames as of datasets; heights around the 64 rows of a word; narrow ones; tiny ones; radius 65.
SIZES = [(480, 854), (854, 480), (1080, 1920), (360, 640)]
SIZES += [(63, 70), (64, 70), (65, 70), (127, 9), (128, 9), (129, 9), (192, 200)]
SIZES += [(1, 1), (1, 2), (2, 1), (2, 3), (1, 500), (500, 1), (3, 900), (900, 3)]
SIZES += [(70, 8100), (8100, 70)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equal_to_the_definitions(size):
    masks = drawn(size, np.random.default_rng(sum(size)))
    names = list(product(masks, masks))
    encoded = {name: canonical(encode(pixels)) for name, pixels in masks.items()}
    J, F = score_track([encoded[g] for g, _ in names], [encoded[p] for _, p in names])
    slow = {name: parts(pixels) for name, pixels in masks.items()}
    for (g, p), *ours in zip(names, J, F, strict=True):
        assert tuple(ours) == by_definition(slow[g], slow[p]), (g, p)
        assert tuple(ours) == j_and_f(masks[g], masks[p]), (
            g,
            p,
        )  # drawn from pixels, not from runs


@pytest.mark.parametrize("seed", range(30))
def test_random_masks_of_random_sizes(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, [300, 200]))
    coarse = rng.random((2, size[0] // 9 + 1, size[1] // 9 + 1)) < rng.uniform(0.1, 0.9)
    g, p = np.repeat(np.repeat(coarse, 9, 1), 9, 2)[:, : size[0], : size[1]]
    (J,), (F,) = score_track([canonical(encode(g))], [canonical(encode(p))])
    assert (J, F) == by_definition(parts(g), parts(p))
    assert (J, F) == j_and_f(g, p)


def test_pixels_in_common():
    """Two 10 x 10 squares 5 columns apart at the frame's corner, in a frame of radius 1."""
    pixels = np.zeros((2, 40, 50), bool)
    pixels[0, :10, :10] = pixels[1, :10, 5:15] = True
    a, b = (contour_of(encode(p)) for p in pixels)
    # a: its last column and row, the corner once. b: also the column left of it.
    assert (a.area, a.num_pixels, b.num_pixels) == (100, 10 + 9, 10 + 9 + 10)
    shared, of_a, of_b = in_common(a, b)
    # Matches of a: columns 3..9 of the last row and the pixel above its corner. Of b: columns
    # 4..10 of the last row and the pixel above column 4.
    assert (shared, of_a, of_b) == (50, 7 + 1, 7 + 1)


@pytest.mark.parametrize(
    "counts",
    ["", "0", "P", "PPPPPPPPP0", "o", "4é", "16", "1O2", "k2"],
    ids=lambda counts: repr(counts),
)
def test_corrupt_counts_are_refused(counts):
    """As `canonical` refuses them, and nothing is read or written out of bounds."""
    rle = {"size": [4, 4], "counts": counts}
    with pytest.raises(MaskError) as expected:
        canonical(rle)
    with pytest.raises(MaskError) as found:
        contour_of(rle)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("seed", range(3))
def test_any_text_is_read_as_canonical_reads_it(seed):
    rng = np.random.default_rng(seed)
    valid = encode(rng.random((9, 7)) < 0.5)["counts"]
    for _ in range(300):
        codes = np.frombuffer(valid.encode(), np.uint8).copy()
        codes[rng.integers(codes.size)] = rng.integers(40, 120)
        rle = {"size": [9, 7], "counts": codes.tobytes().decode()}
        try:
            mask = canonical(rle)
        except MaskError:
            with pytest.raises(MaskError):
                contour_of(rle)
        else:
            assert contour_of(rle).area == contour_of(mask).area


# -------------------------------------------------------------------------------- concurrency


def pairs():
    rng = np.random.default_rng(0)
    masks = [encode(rng.random((100, 130)) < 0.1 * k) for k in range(1, 10)]
    return list(product(masks, masks))


def scores(_=None):
    with ThreadPoolExecutor(4) as threads:  # they all come to the uncompiled functions at once
        return list(
            threads.map(lambda pair: [x.item() for x in score_track(pair[:1], pair[1:])], pairs())
        )


@pytest.mark.slow
def test_threads_of_several_processes_that_compile_at_once(tmp_path, monkeypatch):
    expected = [[x.item() for x in score_track([g], [p])] for g, p in pairs()]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    for _ in range(2):  # nothing is compiled at first; then all is there
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
            assert all(found == expected for found in processes.map(scores, range(2)))
        kept = list((tmp_path / "cache").rglob("*.nbc"))
        assert len(kept) >= 3  # one for each function that Python calls


def test_a_cache_folder_that_cannot_be_written_is_passed_over(tmp_path):
    """A file stands where the folder should be; the next place is taken."""
    (tmp_path / "file").touch()
    code = "from rvos.score import score_track; print(score_track([None], [None])[0])"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[1.]"]


def test_without_any_cache_folder_it_compiles_for_itself():
    """Code that stands in no file has no place beside it: numba refuses to keep it."""
    space = {}
    exec("def double(x):\n    return 2 * x", space)
    assert compiled(space["double"])(21) == 42
