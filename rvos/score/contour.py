"""Contours of masks and how well two of them match: the inner loop of F.

Pixels lie as in an RLE, column by column, and are packed eight rows to a byte (the first row in the
highest bit), at multiples of eight rows of the frame, so that two contours can be compared byte by
byte. Everything works on the box of the mask, never on the whole frame. A native kernel would
replace `contour_of` and `matches`.
"""

from dataclasses import dataclass
from math import ceil, isqrt

import numpy as np
from numpy.typing import NDArray

from rvos.masks import RLE, bounding_box, decode

TOLERANCE = 0.008  # share of the frame diagonal; MeViS, tools/metrics.py (bound_th)


@dataclass(frozen=True)
class Bits:
    """A binary picture of a part of the frame: (columns, rows / 8) uint8, and where it starts."""

    packed: NDArray[np.uint8]
    column: int  # of the frame; may be negative
    byte: int  # row / 8 of the frame; may be negative

    def count_and(self, other: "Bits") -> int:
        """Pixels set in both."""
        column, byte = max(self.column, other.column), max(self.byte, other.byte)
        width = min(self.column + len(self.packed), other.column + len(other.packed)) - column
        height = min(self.byte + self.packed.shape[1], other.byte + other.packed.shape[1]) - byte
        if width <= 0 or height <= 0:
            return 0
        common = self._part(column, byte, width, height) & other._part(column, byte, width, height)
        return int(np.bitwise_count(common).sum(dtype=np.int64))

    def _part(self, column: int, byte: int, width: int, height: int) -> NDArray[np.uint8]:
        x, y = column - self.column, byte - self.byte
        return self.packed[x : x + width, y : y + height]


@dataclass(frozen=True)
class Contour:
    """A mask's boundary pixels, and all pixels within the tolerance of one of them."""

    num_pixels: int
    boundary: Bits
    near: Bits


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
    x0, y0 = max(box[0] - 1, 0), max(box[1] - 1, 0) // 8 * 8
    x1, y1 = min(box[2] + 1, width), min(box[3] + 1, height)
    pixels = decode(mask, (x0, y0, x1, y1)).T  # (columns, rows)
    boundary = np.zeros_like(pixels)
    boundary[:-1] = pixels[:-1] ^ pixels[1:]
    boundary[:, :-1] |= pixels[:, :-1] ^ pixels[:, 1:]
    boundary[:-1, :-1] |= pixels[:-1, :-1] ^ pixels[1:, 1:]
    bits = Bits(np.packbits(boundary, axis=1), x0, y0 // 8)
    num_pixels = int(np.bitwise_count(bits.packed).sum(dtype=np.int64))
    if num_pixels == 0:
        return None
    return Contour(num_pixels, bits, _grown(bits, tolerance_radius(height, width)))


def matches(contour: Contour, other: Contour) -> int:
    """How many boundary pixels of `contour` have one of `other` within the tolerance."""
    return contour.boundary.count_and(other.near)


def _grown(bits: Bits, radius: int) -> Bits:
    """All pixels with x^2 + y^2 <= radius^2 to a pixel of `bits`: dilation by a disk.

    The disk is a stack of horizontal bars, one per row. Bars of each half-length come from
    shifting columns; then each is shifted by its row, whole bytes first and bits at the end.
    """
    pad = -(-radius // 8)  # bytes above and below
    packed = np.pad(bits.packed, ((radius, radius), (pad, pad)))
    bars = [packed]  # bars[k]: pixels within k columns
    for k in range(1, radius + 1):
        bar = bars[-1].copy()
        bar[k:] |= packed[:-k]
        bar[:-k] |= packed[k:]
        bars.append(bar)
    num_bytes = packed.shape[1]
    by_bit = np.zeros((8, *packed.shape), np.uint8)  # shifted down by whole bytes
    for row in range(-radius, radius + 1):
        down, bit = divmod(row, 8)
        bar = bars[isqrt(radius * radius - row * row)]
        target, source = max(down, 0), max(-down, 0)
        length = num_bytes - abs(down)
        by_bit[bit, :, target : target + length] |= bar[:, source : source + length]
    near = by_bit[0]
    for bit in range(1, 8):
        near |= by_bit[bit] >> bit
        near[:, 1:] |= by_bit[bit, :, :-1] << (8 - bit)
    return Bits(near, bits.column - radius, bits.byte - pad)
