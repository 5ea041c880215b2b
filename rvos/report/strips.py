"""Masks drawn over frames: one strip per expression with coarse, refined and ground truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvos.masks import RLE, FileError, Mask, Track, decode

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB
FramePath = Callable[[str, str], Path]  # (video, frame name) -> image file, e.g. Split.frame_path

# Okabe-Ito colours: told apart with any colour vision, in print too.
COLORS = {"coarse": (230, 159, 0), "refined": (0, 114, 178), "truth": (0, 158, 115)}
_GREY = 72  # of frames that are not there
_OPACITY = 0.7
_OPACITY_ON_GREY = 0.9
_GAP = 4  # pixels between frames


@dataclass(frozen=True)
class Strip:
    """Some frames of one expression, side by side: one image (h, W, 3) uint8 RGB per kind."""

    frame_idx: tuple[int, ...]
    rows: dict[str, Pixels]  # coarse, refined, truth


def draw_strip(
    tracks: dict[str, Track],
    frame_idx: Sequence[int],
    images: Sequence[Path | None],
    *,
    width: int,
) -> Strip:
    """Draw `tracks` (by kind, a key of COLORS) at `frame_idx`, each frame `width` pixels wide.

    `tracks` has "truth", whose outline stands on every row, so that errors are seen at a glance.
    `images` are the frames' files; None, or a file that is not there, gives a grey frame. The
    frame size is that of the first image or mask. Raises FileError for an unreadable image.
    """
    size = _size(tracks, images)
    height = max(1, round(width * size[0] / size[1]))
    frames = [_background(image, (height, width)) for image in images]
    outlines = [_outline(tracks["truth"][t], (height, width)) for t in frame_idx]
    rows = {}
    for kind, track in tracks.items():
        tiles = [
            paint(frame, track[t], COLORS[kind]) for t, frame in zip(frame_idx, frames, strict=True)
        ]
        for tile, outline in zip(tiles, outlines, strict=True):
            cv2.drawContours(tile, outline, -1, (255, 255, 255), 1, cv2.LINE_AA)
        gap = np.full((height, _GAP, 3), 255, np.uint8)
        rows[kind] = np.hstack([part for tile in tiles for part in (tile, gap)][:-1])
    return Strip(tuple(frame_idx), rows)


def spread(num_frames: int, count: int) -> list[int]:
    """`count` positions evenly spaced over a video: the middles of equal parts."""
    count = min(count, num_frames)
    return [int((i + 0.5) * num_frames / count) for i in range(count)]


def paint(frame: Pixels, mask: Mask, color: tuple[int, int, int]) -> Pixels:
    """A frame (h, w, 3) with a mask of any size laid over it."""
    opacity = _OPACITY_ON_GREY if (frame == _GREY).all() else _OPACITY
    if mask is None:
        return frame.copy()
    coverage = np.float32(_shrink(mask, frame.shape[:2])[..., None]) / 255  # (h, w, 1) in 0..1
    alpha = opacity * coverage
    return (frame * (1 - alpha) + np.array(color, np.float32) * alpha).round().astype(np.uint8)


def _shrink(mask: RLE, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """(h, w) uint8, 255 where the mask covers the whole pixel. RLE decodes to columns: the
    transpose is what OpenCV takes without a copy."""
    height, width = size
    pixels = 255 * decode(mask).T  # (W, H)
    return np.ascontiguousarray(cv2.resize(pixels, (height, width), interpolation=cv2.INTER_AREA).T)


def _outline(mask: Mask, size: tuple[int, int]) -> Sequence[NDArray[Any]]:
    if mask is None:
        return []
    inside = (_shrink(mask, size) > 127).view(np.uint8)
    return cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]


def _background(path: Path | None, size: tuple[int, int]) -> Pixels:
    height, width = size
    if path is None or not path.is_file():
        return np.full((height, width, 3), _GREY, np.uint8)
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * width, 2 * height))
            small = image.convert("RGB").resize((width, height), Image.Resampling.BOX)
    except (OSError, SyntaxError) as error:
        raise FileError(f"{path}: cannot be read as an image: {error}") from None
    return np.array(small)


def _size(tracks: dict[str, Track], images: Sequence[Path | None]) -> tuple[int, int]:
    """(height, width) of the video."""
    for track in tracks.values():
        for mask in track:
            if mask is not None:
                return tuple(mask["size"])
    for path in images:
        if path is not None and path.is_file():
            with Image.open(path) as image:
                return image.height, image.width
    return (9, 16)  # nothing to draw but grey
