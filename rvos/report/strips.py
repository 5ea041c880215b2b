"""Masks drawn over frames: one strip per expression with coarse, refined and ground truth."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rvos.data.archive import FilePath
from rvos.data.frames import image_size, read_image
from rvos.masks import Track
from rvos.masks.draw import outline, paint

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB
FramePath = Callable[[str, str], FilePath]  # (video, frame name) -> image; Split.frame_path

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
    images: Sequence[FilePath | None],
    *,
    width: int,
) -> Strip:
    """Draw `tracks` (by kind, a key of COLORS) at `frame_idx`, each frame `width` pixels wide.

    `tracks` has "truth", whose outline stands on every row, so that errors are seen at a glance.
    `images` are the frames' files; None, or a file that is not there, gives a grey frame. The
    frame size is that of the first mask or image. Raises FrameError for an unreadable image.
    """
    files = [path if path is not None and path.is_file() else None for path in images]
    size = frame_size(tracks.values(), files)
    height = max(1, round(width * size[0] / size[1]))
    frames = [background(path, (height, width)) for path in files]
    opacities = [_OPACITY_ON_GREY if path is None else _OPACITY for path in files]
    outlines = [outline(tracks["truth"][t], (height, width)) for t in frame_idx]
    rows = {}
    for kind, track in tracks.items():
        tiles = [
            paint(frame, track[t], COLORS[kind], opacity)
            for t, frame, opacity in zip(frame_idx, frames, opacities, strict=True)
        ]
        for tile, contours in zip(tiles, outlines, strict=True):
            cv2.drawContours(tile, contours, -1, (255, 255, 255), 1, cv2.LINE_AA)
        gap = np.full((height, _GAP, 3), 255, np.uint8)
        rows[kind] = np.hstack([part for tile in tiles for part in (tile, gap)][:-1])
    return Strip(tuple(frame_idx), rows)


def spread(num_frames: int, count: int) -> list[int]:
    """`count` positions evenly spaced over a video: the middles of equal parts."""
    count = min(count, num_frames)
    return [int((i + 0.5) * num_frames / count) for i in range(count)]


def background(path: FilePath | None, size: tuple[int, int]) -> Pixels:
    """A frame at `size` (h, w), grey without an image. Raises FrameError for an unreadable one."""
    height, width = size
    if path is None:
        return np.full((height, width, 3), _GREY, np.uint8)
    return resized(read_image(path, at_least=(2 * height, 2 * width)), size)


def encoded(pixels: Pixels, kind: str, quality: int) -> bytes:
    """(H, W, 3) uint8 RGB as the bytes of a file; `kind` is .jpg or .webp."""
    key = cv2.IMWRITE_JPEG_QUALITY if kind == ".jpg" else cv2.IMWRITE_WEBP_QUALITY
    done, data = cv2.imencode(kind, np.ascontiguousarray(pixels[..., ::-1]), [key, quality])
    assert done, "JPEG and WebP are part of OpenCV's wheels"
    return data.tobytes()


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """(H, W, 3) -> `size` (h, w), shrunk by means; much faster than the resizing of networks."""
    smaller = pixels.shape[0] >= size[0]
    return cv2.resize(
        pixels, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )


def frame_size(tracks: Iterable[Track], images: Sequence[FilePath | None]) -> tuple[int, int]:
    """(height, width) of a video, in pixels: of its first mask, else of its first image."""
    for track in tracks:
        for mask in track:
            if mask is not None:
                return tuple(mask["size"])
    for path in images:
        if path is not None:
            return image_size(path)
    return (9, 16)  # nothing to draw but grey
