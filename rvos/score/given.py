"""Masks as a caller has them -> one frame each, checked: arrays of pixels, RLE, or None."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rvos.errors import InputError, MaskError, list_problems
from rvos.masks import RLE, Mask, canonical, decode, encode, from_coco, size_of

# (H, W), floats or unsigned numbers of 1 to 8 bytes, foreground where not 0; C-contiguous, or bytes
# column by column in eights, as pycocotools decodes masks
Pixels: TypeAlias = NDArray[Any]
Frame: TypeAlias = Pixels | Mask


def frames_of(**given: Any) -> tuple[list[tuple[Frame, ...]], bool]:
    """Masks by their name in errors -> one tuple per frame, and whether it is a single frame.

    Each is a mask or several: an array (H, W) or (T, H, W), a picture that numpy reads, a COCO RLE,
    None, or a list of these. Raises InputError for all frames whose masks do not fit together.
    """
    single = all(_is_one(masks) for masks in given.values())
    frames = {name: _frames(masks, name) for name, masks in given.items()}
    if len({len(masks) for masks in frames.values()}) > 1:
        counts = ", ".join(f"{name} {len(masks)}" for name, masks in frames.items())
        raise InputError(f"expected one mask per frame of each, got {counts}")
    together = list(zip(*frames.values(), strict=True))
    problems = [
        _misfit(frames, t, masks)
        for t, masks in enumerate(together)
        if len({size for mask in masks if (size := shape_of(mask))}) > 1
    ]
    if problems:
        raise InputError(list_problems("Masks of different sizes (height x width)", problems))
    return together, single


def words_of(mask: Frame, void: Frame, shape: tuple[int, int]) -> NDArray[np.uint64]:
    """The bits of a mask of that shape without the pixels of `void`, as `kernel.pack` has them."""
    from rvos.score import kernel

    pixels = as_pixels(mask, shape)
    if pixels.flags.c_contiguous:
        words = kernel.pack(pixels)
    else:
        words = kernel.pack_columns(pixels.T.view(np.uint64), shape[0])
    if void is not None:
        kernel.take_out(np.ascontiguousarray(as_pixels(void, shape)), words)
    return words


def as_pixels(mask: Frame, shape: tuple[int, int]) -> Pixels:
    """(H, W) pixels of a mask of that shape."""
    if mask is None:
        return np.zeros(shape, np.uint8)
    if isinstance(mask, dict):
        rle = canonical(mask)
        return np.zeros(shape, np.uint8) if rle is None else _in_order(decode(rle))
    return mask


def shape_of(mask: Frame) -> tuple[int, int] | None:
    """(H, W); None for None. The size of an RLE has been checked by `frames_of`."""
    if isinstance(mask, dict):
        height, width = mask["size"]
        return height, width
    return None if mask is None else (mask.shape[0], mask.shape[1])


def numbers_of(pictures: Any, name: str) -> NDArray[Any]:
    """Pictures of object numbers -> (H, W) or (T, H, W) whole numbers. Raises InputError."""
    is_list = isinstance(pictures, list | tuple)
    arrays = [np.asarray(picture) for picture in pictures] if is_list else [np.asarray(pictures)]
    if shapes := sorted({array.shape for array in arrays})[1:]:
        raise InputError(f"{name}: expected pictures of one shape, got {arrays[0].shape}, {shapes}")
    array = np.stack(arrays) if is_list else arrays[0]
    if array.ndim not in (2, 3) or array.dtype.kind not in "biu":
        raise InputError(
            f"{name}: expected whole numbers of shape (T, H, W) or (H, W), got {_kind(array)}"
        )
    return array


def _is_one(masks: Any) -> bool:
    """Whether it is one mask, no sequence of them."""
    if masks is None or isinstance(masks, dict | str):
        return True
    return not isinstance(masks, list | tuple) and np.ndim(masks) != 3


def _misfit(names: Iterable[str], t: int, masks: tuple[Frame, ...]) -> str:
    """What the sizes of one frame's masks are."""
    sizes = {n: size for n, mask in zip(names, masks, strict=True) if (size := shape_of(mask))}
    return f"frame {t}: " + ", ".join(f"{name} {h} x {w}" for name, (h, w) in sizes.items())


def _frames(masks: Any, name: str) -> list[Frame]:
    if _is_one(masks):
        return [_frame(masks, name)]
    # (T, H, W) in the order of `Pixels` is looked at once, not frame by frame
    if isinstance(masks, np.ndarray) and masks.size and masks.flags.c_contiguous:
        if masks.dtype.kind in "biuf":
            return list(_as_numbers(masks))
    return [_frame(mask, f"{name}, frame {t}") for t, mask in enumerate(masks)]


def _frame(mask: Any, name: str) -> Frame:
    if mask is None or isinstance(mask, dict | str):
        return _rle(mask, name)
    array = np.asarray(mask)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "biuf":
        raise InputError(
            f"{name}: expected numbers of shape (H, W) for one mask or (T, H, W) for several, or "
            f"COCO RLE, got {_kind(array)}"
        )
    return _in_order(_as_numbers(array))


def _as_numbers(array: NDArray[Any]) -> NDArray[Any]:
    """The array as floats or unsigned numbers that the kernel knows."""
    if not array.dtype.isnative or array.dtype in (np.float16, np.longdouble):
        array = array != 0
    return array if array.dtype.kind == "f" else array.view(f"u{array.itemsize}")


def _in_order(array: NDArray[Any]) -> NDArray[Any]:
    """The array in one of the orders of `Pixels`, copied if it has another one."""
    in_columns = array.flags.f_contiguous and array.itemsize == 1 and len(array) % 8 == 0
    return array if in_columns else np.ascontiguousarray(array)


def _rle(mask: Any, name: str) -> Mask:
    """An RLE with compressed counts as text, which are checked when they are read."""
    counts = mask.get("counts") if isinstance(mask, dict) else None
    if isinstance(counts, str) and size_of(mask):
        return mask
    try:
        if isinstance(counts, list):
            size = mask.get("size") or ()
            return from_coco(mask, size, may_be_empty=True) or _empty(mask)
        return canonical(mask) or _empty(mask)
    except MaskError as error:
        raise MaskError(f"{name}: {error}") from None


def _empty(mask: RLE | None) -> Mask:
    """An empty mask that keeps its size, which has to fit."""
    if mask is None:
        return None
    shape = size_of(mask)
    assert shape is not None, "from_coco and canonical have checked it"
    return encode(np.zeros(shape, np.uint8))


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype} of shape {array.shape}"
