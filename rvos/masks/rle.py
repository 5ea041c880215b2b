"""One mask, one track: COCO run-length encodings and what can be asked of them.

A *mask* is a COCO compressed RLE `{"size": [h, w], "counts": str}` or `None` (absent; an RLE of
area 0 means the same). Its runs go down the columns and start with background. A *track* is one
object over a video: a list with one mask per frame. Tracks are never held as dense T x H x W.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from rvos.errors import MaskError

RLE = dict[str, Any]
Mask = RLE | None
Track = list[Mask]
MaskletTracks = dict[str, list[Track]]  # {noun: [track per instance]}, of one video
# {noun: {"detector": [score per instance], "object": [[score per frame] per instance]}}, 0..1
MaskletScores = dict[str, dict[str, list[Any]]]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels, x1 and y1 exclusive


MISSING_FRAME = "missing"  # stands for the mask of a PNG tree's frame that has no file


def encode(mask: NDArray[Any]) -> RLE:
    """(H, W) array, non-zero is foreground -> RLE."""
    rle = coco.encode(np.asfortranarray(mask != 0).view(np.uint8))
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")}


def decode(rle: RLE) -> NDArray[np.uint8]:
    """RLE -> (H, W) uint8 of 0 and 1, column-major."""
    return coco.decode(rle)


def _parse(strings: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compressed counts of several masks -> all their runs, and where each mask's runs start.

    A string holds numbers as groups of 5 bits, least significant first, offset by 48; bit 5 says
    "more follows", the top bit of the last group is the sign. From the fourth number of a mask on
    it is the difference to the run two before (cocodataset/cocoapi, common/maskApi.c).
    """
    codes = np.frombuffer(b"".join(strings), np.uint8).astype(np.int64) - 48
    lengths = np.array([len(string) for string in strings])
    if lengths.min() == 0 or codes.min() < 0 or codes.max() > 63:
        raise MaskError("corrupt counts: empty, or characters outside the RLE alphabet")
    ends_number = (codes & 32) == 0
    if not ends_number[np.cumsum(lengths) - 1].all():
        raise MaskError("corrupt counts: the string is cut off")
    last = np.flatnonzero(ends_number)  # position of each number's last group
    first = np.concatenate(([0], last[:-1] + 1))
    shift = 5 * (np.arange(codes.size) - np.repeat(first, last - first + 1))
    if shift.max() > 30:
        raise MaskError("corrupt counts: a run longer than any frame")
    values = np.add.reduceat((codes & 31) << shift, first)
    values -= np.where(codes[last] & 16, np.int64(32) << shift[last], 0)

    starts = np.searchsorted(last, np.concatenate(([0], np.cumsum(lengths)[:-1])))
    counts = np.diff(np.append(starts, values.size))  # runs per mask
    idx = np.arange(values.size) - np.repeat(starts, counts)
    for chain in (idx % 2 == 1, (idx % 2 == 0) & (idx > 0)):  # undo the differences
        total = np.cumsum(np.where(chain, values, 0))
        before = np.concatenate(([0], total))[starts]
        values = np.where(chain, total - np.repeat(before, counts), values)
    if values.min() < 0:
        raise MaskError("corrupt counts: a negative run")
    return values, starts


def from_runs(runs: NDArray[np.int64], size: Sequence[int]) -> RLE:
    """Run lengths, background first -> RLE with no empty run but the first (as `encode` gives)."""
    if runs.size > 1 and (runs[1:] == 0).any():
        runs = runs[: np.flatnonzero(runs)[-1] + 1] if runs.any() else runs[:1]
        filled = np.concatenate(([True], runs[1:] > 0))
        parity = (np.arange(runs.size) & 1)[filled]
        new = np.concatenate(([True], parity[1:] != parity[:-1]))  # neighbours of one kind merge
        runs = np.add.reduceat(runs[filled], np.flatnonzero(new))
    rle = coco.frPyObjects({"counts": runs.tolist(), "size": list(size)}, *size)
    return {"size": [int(n) for n in size], "counts": rle["counts"].decode("ascii")}


def from_coco(segmentation: Any, size: Sequence[int], *, may_be_empty: bool = False) -> Mask:
    """A segmentation as COCO's annotations have it -> a mask in canonical form.

    `segmentation`: polygons [[x0, y0, x1, y1, ...], ...] in pixels, whose union counts; run lengths
    {"size": [h, w], "counts": [...]}, as of crowds; or a compressed RLE. Raises MaskError, also
    where it has no pixel (polygons of two points enclose nothing), unless it `may_be_empty`.
    """
    mask = _from_coco(segmentation, size)
    if not area(mask) and not may_be_empty:
        raise MaskError(f"expected a mask with pixels, got one without: {_short(segmentation)}")
    return mask


def _from_coco(segmentation: Any, size: Sequence[int]) -> Mask:
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        counts = segmentation["counts"]
        if size_of(segmentation) != tuple(size):
            raise MaskError(f"size: expected {list(size)}, got {_short(segmentation.get('size'))}")
        if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != size[0] * size[1]:
            raise MaskError(f"counts: expected run lengths that add up to {size[0]} x {size[1]}")
        return canonical(from_runs(np.array(counts, np.int64), size), size)
    if isinstance(segmentation, dict):
        return canonical(segmentation, size)
    if not isinstance(segmentation, list) or not all(_is_polygon(p, size) for p in segmentation):
        raise MaskError(
            "expected polygons [[x0, y0, x1, y1, ...], ...] near the picture, or an RLE, "
            f"got {_short(segmentation)}"
        )
    polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
    if not polygons:
        return None
    merged = coco.merge(coco.frPyObjects(polygons, *size))
    return canonical({"size": list(size), "counts": merged["counts"]})


def _is_polygon(polygon: Any, size: Sequence[int]) -> bool:
    """Pairs of numbers not further from the picture than its longer side (C code draws them)."""
    far = max(size)
    return (
        isinstance(polygon, list)
        and len(polygon) % 2 == 0
        and all(type(n) in (int, float) and -far <= n <= 2 * far for n in polygon)
    )


def canonical(rle: Any, size: Sequence[int] | None = None) -> Mask:
    """A checked mask in the one form that equal masks share: `None` if empty, else as `encode`.

    Raises MaskError when it is malformed or, with `size` (h, w), of another size.
    """
    if rle is None:
        return None
    _check_form(rle, size)
    runs, _ = _parse([_ascii(rle["counts"])])
    height, width = rle["size"]
    if runs.sum() != height * width:
        raise MaskError(f"corrupt counts: the runs do not add up to {height} x {width} pixels")
    if not runs[1::2].any():
        return None
    if isinstance(rle["counts"], str) and runs[1:].all():
        return {"size": [height, width], "counts": rle["counts"]}
    return from_runs(runs, rle["size"])


def canonical_track(track: Sequence[Any], size: Sequence[int] | None = None) -> Track | None:
    """All masks of a track as `canonical` gives them, fast; None if any of them is malformed."""
    present = [t for t, rle in enumerate(track) if rle is not None]
    result: Track = [None] * len(track)
    if not present:
        return result
    try:
        for t in present:
            _check_form(track[t], size)
        runs, starts = _parse([_ascii(track[t]["counts"]) for t in present])
    except MaskError:
        return None
    pixels = np.array([track[t]["size"][0] * track[t]["size"][1] for t in present])
    if (np.add.reduceat(runs, starts) != pixels).any():
        return None
    stops = np.append(starts[1:], runs.size)
    foreground = np.where((np.arange(runs.size) - np.repeat(starts, stops - starts)) % 2, runs, 0)
    areas = np.add.reduceat(foreground, starts)
    zero_runs = np.add.reduceat(runs == 0, starts, dtype=np.int64) - (runs[starts] == 0)
    for i, t in enumerate(present):
        if areas[i]:
            rle = track[t]
            as_is = zero_runs[i] == 0 and isinstance(rle["counts"], str)
            result[t] = (
                {"size": list(rle["size"]), "counts": rle["counts"]}
                if as_is
                else from_runs(runs[starts[i] : stops[i]], rle["size"])
            )
    return result


def check_together(tracks: Mapping[str, Any]) -> None:
    """Raise MaskError unless all tracks, by name, have the same frames and masks of one size."""
    size, lengths = None, {}
    for name, track in tracks.items():
        if not isinstance(track, list | tuple):
            raise MaskError(f"{name}: expected a list with one mask per frame, got {_short(track)}")
        lengths[name] = len(track)
        for t, mask in enumerate(track):
            if mask is not None:
                try:
                    _check_form(mask, size)
                except MaskError as error:
                    raise MaskError(f"{name}, frame {t}: {error}") from None
                size = mask["size"]
    if len({*lengths.values()}) > 1:
        counts = ", ".join(f"{name}: {count}" for name, count in lengths.items())
        raise MaskError(f"expected a mask or None for each frame of the video; frames of {counts}")


def size_of(mask: Any) -> tuple[int, int] | None:
    """(height, width) of a mask in pixels; None where it has none, or none that makes sense."""
    size = mask.get("size") if isinstance(mask, dict) else None
    if not isinstance(size, list | tuple) or len(size) != 2:
        return None
    height, width = size
    if type(height) is not int or type(width) is not int or height < 1 or width < 1:
        return None
    return height, width


def _check_form(rle: Any, size: Sequence[int] | None) -> None:
    if not isinstance(rle, dict) or "size" not in rle or "counts" not in rle:
        if isinstance(rle, str) and rle == MISSING_FRAME:
            raise MaskError("the frame's file is missing")
        text = f"got {_short(rle)}"
        if isinstance(rle, np.ndarray):
            text = f"got an array {rle.shape}; rvos.masks.encode(array) makes a mask"
        raise MaskError(f'expected {{"size": [h, w], "counts": str}} or null, {text}')
    mask_size = rle["size"]
    if size_of(rle) is None:
        raise MaskError(
            f"size: expected [height, width] of positive integers, got {_short(mask_size)}"
        )
    if size is not None and list(mask_size) != list(size):
        raise MaskError(
            f"expected a mask of {size[0]} x {size[1]} pixels (height x width), "
            f"got {mask_size[0]} x {mask_size[1]}"
        )
    if not isinstance(rle["counts"], str | bytes):
        raise MaskError(f"counts: expected a compressed RLE string, got {_short(rle['counts'])}")


def _ascii(counts: str | bytes) -> bytes:
    try:
        return counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        raise MaskError("corrupt counts: characters outside the RLE alphabet") from None


def area(mask: Mask) -> int:
    """Foreground pixels."""
    return 0 if mask is None else int(coco.area(mask))


def bounding_box(mask: Mask) -> Box | None:
    """The tightest box, or None for an empty mask."""
    if mask is None:
        return None
    x, y, w, h = (int(n) for n in coco.toBbox(mask))
    return (x, y, x + w, y + h) if w and h else None


def union(masks: Iterable[Mask]) -> Mask:
    """Pixels of any of the masks; None if there are none."""
    present = [mask for mask in masks if mask is not None]
    if len(present) < 2:
        return present[0] if present else None
    merged = coco.merge(present)
    return {"size": [int(n) for n in merged["size"]], "counts": merged["counts"].decode("ascii")}


def minus(mask: Mask, other: Mask) -> Mask:
    """Pixels of `mask` that are not in `other`, which has the same size; None if there are none."""
    if mask is None or other is None or not coco.area(coco.merge([mask, other], intersect=True)):
        return mask
    rest = decode(mask) & ~decode(other).astype(bool)  # (H, W)
    return encode(rest) if rest.any() else None


def majority(masks: Sequence[Mask]) -> Mask:
    """Pixels that are in more than half of the masks, absent ones included; None for none."""
    present = [decode(mask) for mask in masks if mask is not None]
    if 2 * len(present) <= len(masks):
        return None
    pixels = 2 * np.sum(present, axis=0) > len(masks)  # (H, W)
    return encode(pixels) if pixels.any() else None


def overlap_fractions(masklets: Sequence[Mask], coarse: Mask) -> NDArray[np.float64]:
    """f_i = |v_i and u| / |v_i| in double precision, (O,); 0 where an instance is absent."""
    fractions = np.zeros(len(masklets))
    present = [i for i, mask in enumerate(masklets) if mask is not None]
    if coarse is not None and present:
        # COCO's "crowd" overlap divides by the area of the first mask instead of the union.
        overlaps = coco.iou([masklets[i] for i in present], [coarse], [1])
        fractions[present] = np.asarray(overlaps)[:, 0]
    return fractions


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
