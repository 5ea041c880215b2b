"""Contours of masks and how well two of them match: the inner loop of F.

Arrays here are (columns, rows), the order in which an RLE's pixels lie, so decoding needs no
transposition; boundary and disk are the same either way. Everything works on the box of the mask,
never on the whole frame. A native kernel would replace `contour_of` and `matches`.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil, isqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from rvos.masks import RLE, bounding_box, decode

TOLERANCE = 0.008  # share of the frame diagonal; MeViS, tools/metrics.py (bound_th)


@dataclass(frozen=True)
class Contour:
    """A mask's boundary pixels, and the pixels within the tolerance of one of them.

    Both are uint8 arrays of 0 and 1 over `boundary_box` and `near_box`; boxes are (x0, y0, x1, y1)
    in pixels of the frame.
    """

    num_pixels: int
    boundary: NDArray[np.uint8]
    boundary_box: tuple[int, int, int, int]
    near: NDArray[np.uint8]
    near_box: tuple[int, int, int, int]


def tolerance_radius(height: int, width: int) -> int:
    """Distance in pixels up to which boundary pixels match."""
    return ceil(TOLERANCE * float(np.linalg.norm((height, width))))


def contour_of(mask: RLE) -> Contour | None:
    """The contour of a non-empty mask; None where it has none (it fills the frame).

    A pixel belongs to the boundary if it differs from its right, lower or lower-right neighbour;
    in the last row only the right one counts, in the last column only the lower one, and the last
    pixel of the frame never belongs (MeViS, tools/metrics.py).
    """
    height, width = mask["size"]
    box = bounding_box(mask)
    assert box is not None, "an empty mask has no box"
    # One pixel around the mask's box holds its whole boundary. Outside that, and beyond the frame,
    # there is no neighbour that differs, so the rule for the last row and column holds by itself.
    x0, y0 = max(box[0] - 1, 0), max(box[1] - 1, 0)
    x1, y1 = min(box[2] + 1, width), min(box[3] + 1, height)
    pixels = decode(mask, (x0, y0, x1, y1)).T  # (columns, rows)
    boundary = np.zeros_like(pixels)
    right, below = pixels[:-1] ^ pixels[1:], pixels[:, :-1] ^ pixels[:, 1:]
    boundary[:-1] = right
    boundary[:, :-1] |= below
    boundary[:-1, :-1] |= pixels[:-1, :-1] ^ pixels[1:, 1:]
    num_pixels = cv2.countNonZero(boundary)
    if num_pixels == 0:
        return None
    radius = tolerance_radius(height, width)
    left, top = min(radius, x0), min(radius, y0)
    wide = cv2.copyMakeBorder(
        boundary, left, min(radius, width - x1), top, min(radius, height - y1),
        cv2.BORDER_CONSTANT, value=0,
    )  # fmt: skip
    near_box = (x0 - left, y0 - top, x0 - left + wide.shape[0], y0 - top + wide.shape[1])
    near = cv2.dilate(wide, _disk(radius)).astype(np.uint8, copy=False)
    return Contour(num_pixels, boundary, (x0, y0, x1, y1), near, near_box)


def matches(contour: Contour, other: Contour) -> int:
    """How many boundary pixels of `contour` have one of `other` within the tolerance."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = contour.boundary_box, other.near_box
    x0, y0, x1, y1 = max(ax0, bx0), max(ay0, by0), min(ax1, bx1), min(ay1, by1)
    if x0 >= x1 or y0 >= y1:
        return 0
    boundary = contour.boundary[x0 - ax0 : x1 - ax0, y0 - ay0 : y1 - ay0]
    near = other.near[x0 - bx0 : x1 - bx0, y0 - by0 : y1 - by0]
    return cv2.countNonZero(cv2.bitwise_and(boundary, near))


@cache
def _disk(radius: int) -> NDArray[np.uint8]:
    """(2r + 1, 2r + 1): 1 where x^2 + y^2 <= r^2."""
    disk = np.zeros((2 * radius + 1, 2 * radius + 1), np.uint8)
    for y in range(-radius, radius + 1):
        half = isqrt(radius * radius - y * y)
        disk[radius + y, radius - half : radius + half + 1] = 1
    return disk
