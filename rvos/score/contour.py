"""Contours of masks and what two of them have in common: the inner loop of J and F.

The work is done by `kernel.py`, which is imported with the first mask: numba takes half a second.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from rvos.masks import Mask, canonical

TOLERANCE = 0.008  # share of the frame diagonal; MeViS, tools/metrics.py (bound_th)


@dataclass(frozen=True)
class Contour:
    """A mask, its boundary pixels, and all pixels within the tolerance of one of them.

    `layers` (3, rows / 64, columns) uint64 holds these three, one bit per pixel, for a part of the
    frame that begins at row 64 * `word` and at `column`; outside of it there is nothing.
    """

    area: int
    num_pixels: int  # of the boundary; 0 where the mask is empty or fills the frame
    layers: NDArray[np.uint64]
    word: int
    column: int


EMPTY = Contour(0, 0, np.zeros((3, 0, 0), np.uint64), 0, 0)


@cache
def tolerance_radius(height: int, width: int, tolerance: float = TOLERANCE) -> int:
    """Distance in pixels up to which boundary pixels match.

    `tolerance` below 1 is a share of the frame's diagonal; from 1 on it is pixels, as in DAVIS
    (davis2017-evaluation, davis2017/metrics.py: bound_th).
    """
    if tolerance >= 1:
        return int(tolerance)
    return ceil(tolerance * float(np.linalg.norm((height, width))))


def contour_of(mask: Mask, tolerance: float = TOLERANCE) -> Contour:
    """The contour of a mask. Raises MaskError for corrupt counts.

    A pixel belongs to the boundary if it differs from its right, lower or lower-right neighbour;
    in the last row only the right one counts, in the last column only the lower one, and the last
    pixel of the frame never belongs (MeViS, tools/metrics.py).
    """
    from rvos.score import kernel

    if mask is None:
        return EMPTY
    height, width = mask["size"]
    counts = np.frombuffer(mask["counts"].encode(), np.uint8)
    ends = kernel.ends_of_runs(counts, height * width)
    if ends.size == 0:
        canonical(mask)  # says what is wrong
        raise AssertionError(f"the kernel cannot read {mask}")
    return Contour(*kernel.draw(ends, height, width, tolerance_radius(height, width, tolerance)))


def contour_of_words(
    words: NDArray[np.uint64], height: int, tolerance: float = TOLERANCE
) -> Contour:
    """The contour of a mask of that height whose bits are as `kernel.pack` gives them."""
    from rvos.score import kernel

    radius = tolerance_radius(height, words.shape[1], tolerance)
    return Contour(*kernel.draw_words(words, height, radius))


def in_common(a: Contour, b: Contour) -> tuple[int, int, int]:
    """How many pixels two masks of one frame size share, and how many boundary pixels match.

    Returns (pixels in both, boundary pixels of `a` that have one of `b` within the tolerance, the
    same of `b`).
    """
    from rvos.score import kernel

    return kernel.in_common(a.layers, a.word, a.column, b.layers, b.word, b.column)


def boundary_pixels(contour: Contour) -> NDArray[np.int64]:
    """(N, 2) row and column of the pixels of a mask's boundary."""
    from rvos.score import kernel

    words = np.ascontiguousarray(contour.layers[kernel.BOUNDARY].T)  # (columns, rows / 64)
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    columns, rows = np.nonzero(bits)
    return np.stack([rows + 64 * contour.word, columns + contour.column], axis=1)
