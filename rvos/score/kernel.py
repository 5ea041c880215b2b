"""The compiled kernel of J and F: from runs to the pixels that two masks have in common.

A mask is drawn from its runs as bits: 64 rows of a column are one word (the first row is the lowest
bit), and the words of neighbouring columns lie side by side, so that one instruction treats several
columns. Only the part of the frame around a mask is drawn.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numba import njit
from numba.np import linalg

MASK, BOUNDARY, NEAR = 0, 1, 2  # layers of a contour
ONE, LAST_BIT, FULL = np.uint64(1), np.uint64(63), np.uint64(0xFFFFFFFFFFFFFFFF)


def spare_scipy() -> None:
    """Let numba not import scipy.linalg with its own numpy functions, which takes 0.15 s.

    numba (0.68, np/arraymath.py) asks there whether a BLAS can be had. Nothing here needs one, and
    numba asks again, by the same function, when it compiles a product of matrices.
    """
    ask = linalg.ensure_blas
    linalg.ensure_blas = lambda: None
    try:
        from numba.np import arraymath  # noqa: F401
    finally:
        linalg.ensure_blas = ask


if find_spec("scipy"):
    spare_scipy()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, for threads too.

    The code is kept in NUMBA_CACHE_DIR, else in __pycache__ beside this file, else in the user's
    cache folder; where none can be written, every process compiles for itself.
    """
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@compiled
def ends_of_runs(counts, num_pixels):
    """Compressed counts (bytes) -> where each run ends, (R,) int64; (0,) if they are corrupt.

    The rules are those of `rvos.masks.canonical`.
    """
    ends = np.empty(counts.size, np.int64)
    num_runs, end, value, shift = 0, 0, 0, 0
    before, two_before = 0, 0
    for code in counts:
        group: Any = np.int64(code) - 48
        if group < 0 or group > 63 or shift > 30:
            return ends[:0]
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        if num_runs > 2:
            value += two_before
        end += value
        if value < 0 or end > num_pixels:
            return ends[:0]
        ends[num_runs] = end
        num_runs += 1
        before, two_before = value, before
        value, shift = 0, 0
    if shift or end != num_pixels:
        return ends[:0]
    return ends[:num_runs]


@compiled
def draw(ends, height, width, radius):
    """Ends of runs -> the values of a Contour."""
    area, top, bottom = 0, height, 0
    first, last = ends[-1], 0  # pixels, counted down the columns
    column_end = 0  # of the column in which a run starts
    for i in range(1, ends.size, 2):
        start, stop = ends[i - 1], ends[i]
        if start == stop:
            continue
        area += stop - start
        first, last = min(first, start), stop
        while column_end <= start:
            column_end += height
        if stop > column_end:  # runs into the next column
            top, bottom = 0, height
        else:
            top = min(top, start - column_end + height)
            bottom = max(bottom, stop - column_end + height)
    if area == 0:
        return 0, 0, np.zeros((3, 0, 0), np.uint64), 0, 0

    last_column = (last - 1) // height
    word, num_words, left, right = around(
        top, bottom, first // height, last_column + 1, height, width, radius
    )
    layers = np.zeros((3, num_words, right - left), np.uint64)
    fill(ends, height, layers[MASK], word, left)
    num_pixels = find_boundary(layers[MASK], height - 64 * word, layers[BOUNDARY])
    grow(layers[BOUNDARY], radius, layers[NEAR])
    return area, num_pixels, layers, word, left


@compiled
def around(top, bottom, left, right, height, width, radius):
    """A mask's rows and columns -> the part to draw: first word, number of words, columns."""
    margin = radius + 1  # the boundary begins one pixel outside of the mask
    word = max(top - margin, 0) // 64
    num_words = (min(bottom + margin, height) - 1) // 64 + 1 - word
    return word, num_words, max(left - margin, 0), min(right + margin, width)


@compiled
def fill(ends, height, words, word, left):
    """Set the bits of all foreground runs."""
    column, column_start = 0, 0
    for i in range(1, ends.size, 2):
        start, stop = ends[i - 1], ends[i]
        while start < stop:
            while column_start + height <= start:
                column_start += height
                column += 1
            top = start - column_start - 64 * word
            bottom = min(stop - column_start, height) - 64 * word - 1  # the last row of the run
            for w in range(top >> 6, (bottom >> 6) + 1):
                bits = FULL
                if w == top >> 6:
                    bits &= FULL << np.uint64(top & 63)
                if w == bottom >> 6:
                    bits &= FULL >> np.uint64(63 - (bottom & 63))
                words[w, column - left] |= bits
            start = min(stop, column_start + height)


@compiled
def draw_words(words, height, radius):
    """Words of a whole frame, as `pack` gives them -> the values of a Contour, as `draw`."""
    width = words.shape[1]
    columns, area = np.zeros(width, np.uint64), 0
    top, bottom = height, 0
    for w in range(words.shape[0]):
        rows = np.uint64(0)
        for x in range(width):
            columns[x] |= words[w, x]
            rows |= words[w, x]
            area += num_bits(words[w, x])
        for bit in range(64 if rows else 0):
            if (rows >> np.uint64(bit)) & ONE:
                top, bottom = min(top, 64 * w + bit), 64 * w + bit + 1
    if area == 0:
        return 0, 0, np.zeros((3, 0, 0), np.uint64), 0, 0
    first, last = 0, width - 1
    while not columns[first]:
        first += 1
    while not columns[last]:
        last -= 1
    word, num_words, left, right = around(top, bottom, first, last + 1, height, width, radius)
    layers = np.zeros((3, num_words, right - left), np.uint64)
    layers[MASK] = words[word : word + num_words, left:right]
    num_pixels = find_boundary(layers[MASK], height - 64 * word, layers[BOUNDARY])
    grow(layers[BOUNDARY], radius, layers[NEAR])
    return area, num_pixels, layers, word, left


@compiled
def pack(pixels):
    """Pixels (H, W), numbers of any kind, foreground where not 0 -> words (H / 64, W)."""
    height, width = pixels.shape
    words = np.zeros(((height + 63) // 64, width), np.uint64)
    whole = height // 8 * 8
    for y in range(0, whole, 8):  # eight rows at a time, which one instruction treats together
        pack_eight(pixels[y : y + 8], words[y >> 6], np.uint64(y & 63))
    if whole < height:
        rest = np.zeros((8, width), pixels.dtype)
        rest[: height - whole] = pixels[whole:]
        pack_eight(rest, words[whole >> 6], np.uint64(whole & 63))
    return words


@compiled
def pack_eight(rows, words, shift):
    """Set the bits of eight rows (8, W) in a row of words, from bit `shift` on."""
    a, b, c, d = rows[0], rows[1], rows[2], rows[3]
    e, f, g, h = rows[4], rows[5], rows[6], rows[7]
    for x in range(words.size):
        bits = np.uint8(a[x] != 0) | (b[x] != 0) << 1 | (c[x] != 0) << 2 | (d[x] != 0) << 3
        bits |= (e[x] != 0) << 4 | (f[x] != 0) << 5 | (g[x] != 0) << 6 | (h[x] != 0) << 7
        words[x] |= np.uint64(bits) << shift


@compiled
def pack_columns(eights, height):
    """Pixels by column, eight bytes of a column in a number (W, H / 8) -> words as `pack`."""
    width, num_eights = eights.shape
    words = np.zeros(((height + 63) // 64, width), np.uint64)
    low_bits, high_bit = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
    for x in range(width):
        for i in range(num_eights):
            eight = eights[x, i]
            if eight:
                # the high bit of every byte that is not 0, then the eight of them side by side
                filled = (((eight & low_bits) + low_bits) | eight) & high_bit
                bits = ((filled >> np.uint64(7)) * np.uint64(0x0102040810204080)) >> np.uint64(56)
                words[i >> 3, x] |= bits << np.uint64(8 * (i & 7))
    return words


@compiled
def take_out(void, words):
    """Clear the bits whose pixels in `void` (H, W) are not 0; it is read around bits alone."""
    height, width = void.shape
    for w in range(words.shape[0]):
        first, stop = width, 0
        for x in range(width):
            if words[w, x]:
                first, stop = min(first, x), x + 1
        for y in range(64 * w, min(64 * w + 64, height) if stop else 0):
            clear(words[w, first:stop], void[y, first:stop], np.uint64(y & 63))


@compiled
def clear(words, row, bit):
    """Clear a bit of each word whose number in `row` is not 0."""
    for x in range(words.size):
        words[x] &= ~(np.uint64(row[x] != 0) << bit)


@compiled
def overlap_of_words(words_a, words_b):
    """Words of two masks, as `pack` gives them -> (shared pixels, area of a, area of b)."""
    shared, area_a, area_b = 0, 0, 0
    for w in range(words_a.shape[0]):
        for x in range(words_a.shape[1]):
            shared += num_bits(words_a[w, x] & words_b[w, x])
            area_a += num_bits(words_a[w, x])
            area_b += num_bits(words_b[w, x])
    return shared, area_a, area_b


@compiled
def overlap(counts_a, counts_b, num_pixels):
    """Compressed counts of two masks -> (shared pixels, area of a, area of b), without drawing.

    All are -1 where one of the masks is corrupt.
    """
    a, b = ends_of_runs(counts_a, num_pixels), ends_of_runs(counts_b, num_pixels)
    if a.size == 0 or b.size == 0:
        return -1, -1, -1
    shared, i, j = 0, 1, 1  # odd runs are foreground: from the end of the one before to their own
    while i < a.size and j < b.size:
        shared += max(min(a[i], b[j]) - max(a[i - 1], b[j - 1]), 0)
        if a[i] < b[j]:
            i += 2
        else:
            j += 2
    return shared, foreground(a), foreground(b)


@compiled
def overlaps(counts, stops, num_pixels):
    """As `overlap`, (N, 3), of N pairs: counts one after the other, where each stops (2N,)."""
    found = np.empty((num_pixels.size, 3), np.int64)
    start = 0
    for i in range(num_pixels.size):
        middle, stop = stops[2 * i], stops[2 * i + 1]
        pair = overlap(counts[start:middle], counts[middle:stop], num_pixels[i])
        found[i, 0], found[i, 1], found[i, 2] = pair
        start = stop
    return found


@compiled
def foreground(ends):
    """Ends of runs -> the area of the mask."""
    area = 0
    for i in range(1, ends.size, 2):
        area += ends[i] - ends[i - 1]
    return area


@compiled
def find_boundary(mask, num_rows, boundary):
    """Write the boundary of `mask`, both (words, columns), and return the number of its pixels.

    `num_rows` are left in the frame from the first row drawn. Beyond the last column drawn no
    neighbour differs: the frame ends there, or it is empty on both sides.
    """
    num_words, num_columns = mask.shape
    nothing = np.zeros(num_columns, np.uint64)
    count = 0
    for w in range(num_words):
        here, below = mask[w], mask[w + 1] if w + 1 < num_words else nothing
        has_lower = FULL  # bits of the rows that have a lower neighbour
        if num_rows <= 64 * (w + 1):
            has_lower = (ONE << np.uint64(num_rows - 64 * w - 1)) - ONE
        row = boundary[w]
        for x in range(num_columns - 1):
            lower = (here[x] >> ONE) | (below[x] << LAST_BIT)
            lower_right = (here[x + 1] >> ONE) | (below[x + 1] << LAST_BIT)
            differs = (here[x] ^ lower) | (here[x] ^ lower_right)
            row[x] = (here[x] ^ here[x + 1]) | (differs & has_lower)
        x = num_columns - 1
        row[x] = (here[x] ^ ((here[x] >> ONE) | (below[x] << LAST_BIT))) & has_lower
        for x in range(num_columns):
            count += num_bits(row[x])
    return count


@compiled
def grow(pixels, radius, near):
    """Write all pixels with x^2 + y^2 <= radius^2 to one of `pixels`: dilation by a disk.

    The disk is a stack of vertical bars, one per column, which grow from its rim to its middle.
    """
    num_words, num_columns = pixels.shape
    bars = np.zeros((2, num_words + 2, num_columns), np.uint64)  # nothing above and below
    for w in range(num_words):
        add(pixels[w], bars[0, w + 1])
    length = 0  # of a bar, up and down; bars[length % 2] are the present ones
    for offset in range(min(radius, num_columns), -1, -1):
        while (length + 1) ** 2 + offset**2 <= radius**2:
            old, new = bars[length % 2], bars[(length + 1) % 2]
            for w in range(1, num_words + 1):
                lengthen(old[w - 1], old[w], old[w + 1], new[w])
            length += 1
        for w in range(num_words):
            bar = bars[length % 2, w + 1]
            add(bar[offset:], near[w])
            add(bar[: num_columns - offset], near[w, offset:])


@compiled
def lengthen(above, here, below, longer):
    """Bars in words, one pixel longer up and down, with the words above and below."""
    for x in range(here.size):
        grown = here[x] | (here[x] << ONE) | (here[x] >> ONE)
        longer[x] = grown | (above[x] >> LAST_BIT) | (below[x] << LAST_BIT)


@compiled
def add(pixels, to):
    """Set all bits of `pixels` in `to`."""
    for x in range(pixels.size):
        to[x] |= pixels[x]


@compiled
def in_common(a, word_a, column_a, b, word_b, column_b):
    """Layers of two contours and where they begin -> as `rvos.score.contour.in_common`."""
    word, column = max(word_a, word_b), max(column_a, column_b)
    num_words = min(word_a + a.shape[1], word_b + b.shape[1]) - word
    num_columns = min(column_a + a.shape[2], column_b + b.shape[2]) - column
    shared, matches_a, matches_b = 0, 0, 0
    for w in range(num_words):
        in_a = a[:, word - word_a + w, column - column_a :]
        in_b = b[:, word - word_b + w, column - column_b :]
        for x in range(num_columns):
            shared += num_bits(in_a[MASK, x] & in_b[MASK, x])
            matches_a += num_bits(in_a[BOUNDARY, x] & in_b[NEAR, x])
            matches_b += num_bits(in_b[BOUNDARY, x] & in_a[NEAR, x])
    return shared, matches_a, matches_b


@compiled
def num_bits(word):
    """Bits set in a word, counted in pairs, fours and bytes; LLVM makes one instruction of it."""
    word -= (word >> ONE) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
