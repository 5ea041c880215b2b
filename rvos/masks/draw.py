"""Masks drawn over frames, as pictures and as a video that browsers play."""

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rvos.masks.files import naming
from rvos.masks.rle import RLE, Mask, Track, decode

COLOR = (255, 64, 64)  # RGB
# Of numbered masks, in their order: Okabe-Ito colours, told apart with any colour vision.
NUMBER_COLORS = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)


def paint(
    frame: NDArray[np.uint8], mask: Mask, color: tuple[int, int, int], opacity: float
) -> NDArray[np.uint8]:
    """A copy of the frame (H, W, 3) uint8 RGB, tinted where the mask is.

    The mask may have any size. A pixel that it covers in part gets that part of the tint.
    """
    picture = frame.copy()
    if mask is None:
        return picture
    coverage = shrink(mask, frame.shape[:2])  # (H, W)
    inside = coverage > 0
    alpha = opacity / 255 * coverage[inside].astype(np.float32)[:, None]  # (N, 1) in 0..1
    mixed = (1 - alpha) * picture[inside] + alpha * np.array(color, np.float32)
    picture[inside] = mixed.round().astype(np.uint8)
    return picture


def overlay(
    frame: NDArray[np.uint8], mask: Mask, color: tuple[int, int, int] = COLOR, opacity: float = 0.5
) -> NDArray[np.uint8]:
    """A copy of the frame (H, W, 3) uint8 RGB, the mask (of any size) tinted and outlined."""
    picture = paint(frame, mask, color, opacity)
    thickness = max(1, round(min(frame.shape[:2]) / 240))
    return cv2.drawContours(picture, outline(mask, frame.shape[:2]), -1, color, thickness)


def outline(mask: Mask, size: tuple[int, ...]) -> Sequence[NDArray[np.int32]]:
    """The outer contours of a mask in a picture of `size` (h, w), as OpenCV draws them."""
    if mask is None:
        return []
    inside = (shrink(mask, size) > 127).view(np.uint8)
    return cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]


def number_color(number: int) -> tuple[int, int, int]:
    """The RGB colour of a numbered mask; they repeat after a while."""
    return NUMBER_COLORS[number % len(NUMBER_COLORS)]


def draw_numbered(frame: NDArray[np.uint8], masks: Sequence[Mask]) -> NDArray[np.uint8]:
    """A copy of the frame (H, W, 3) uint8 RGB with the outlines and numbers of masks, from 0.

    A number stands inside its mask, above it where it would hide it, and beside another number.
    """
    picture, size = frame.copy(), frame.shape[:2]
    thickness = max(1, round(min(size) / 240))
    outlines = [outline(mask, size) for mask in masks]
    for number, contours in enumerate(outlines):  # a dark rim, to be seen on any background
        cv2.drawContours(picture, contours, -1, (0, 0, 0), thickness + 2, cv2.LINE_AA)
        cv2.drawContours(picture, contours, -1, number_color(number), thickness, cv2.LINE_AA)
    taken: list[tuple[int, int, int, int]] = []
    for number, contours in enumerate(outlines):
        if contours:
            taken.append(_write_number(picture, number, contours, taken))
    return picture


def _write_number(
    picture: NDArray[np.uint8],
    number: int,
    contours: Sequence[NDArray[np.int32]],
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """Write a number on a plate of its colour; returns the plate's box, beside those taken."""
    height, width = picture.shape[:2]
    scale = max(0.4, min(height, width) / 600)
    font, bold = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(2 * scale))
    (w, h), _ = cv2.getTextSize(str(number), font, scale, bold)
    pad = h // 2 + 1
    w, h = w + 2 * pad, h + 2 * pad
    largest = max(contours, key=cv2.contourArea)
    inside = cv2.drawContours(np.zeros((height, width), np.uint8), [largest], -1, 1, cv2.FILLED)
    depth = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    left, top = int(x) - w // 2, int(y) - h // 2
    if depth.max() < max(w, h):
        left, top = int(x) - w // 2, cv2.boundingRect(largest)[1] - h - 1
    left, top = min(max(left, 0), max(width - w, 0)), min(max(top, 0), max(height - h, 0))
    left, top = _nearest_free(left, top, (w, h), (width, height), taken)
    color = number_color(number)
    cv2.rectangle(picture, (left, top), (left + w - 1, top + h - 1), color, cv2.FILLED)
    cv2.rectangle(picture, (left, top), (left + w - 1, top + h - 1), (0, 0, 0), 1)
    corner = left + pad, top + h - pad
    cv2.putText(picture, str(number), corner, font, scale, (0, 0, 0), bold, cv2.LINE_AA)
    return left, top, left + w, top + h


def _nearest_free(
    left: int,
    top: int,
    plate: tuple[int, int],
    picture: tuple[int, int],
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int]:
    """Where a plate (w, h) lies on no other one, next to (left, top); there if all is taken."""
    w, h = plate

    def is_free(place: tuple[int, int]) -> bool:
        x, y = place
        return not any(x < x1 and x0 < x + w and y < y1 and y0 < y + h for x0, y0, x1, y1 in taken)

    if is_free((left, top)):
        return left, top
    columns, rows = range(picture[0] - w + 1), range(top % h, picture[1] - h + 1, h)
    places = sorted(
        ((x, y) for y in rows for x in columns),
        key=lambda place: abs(place[0] - left) + abs(place[1] - top),
    )
    return next(filter(is_free, places), (left, top))


def shrink(mask: RLE, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """A mask at `size` (h, w): (h, w) uint8, 255 where it covers the whole pixel."""
    height, width = size
    # An RLE decodes to columns, whose transpose is what OpenCV takes without a copy.
    pixels = 255 * decode(mask).T  # (W, H)
    return np.ascontiguousarray(cv2.resize(pixels, (height, width), interpolation=cv2.INTER_AREA).T)


def write_overlays(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    track: Track,
    fps: float,
    *,
    comment: str = "",
) -> None:
    """An mp4 of the frames (H, W, 3) uint8 RGB with one object's masks drawn over them."""
    pictures = (overlay(frame, mask) for frame, mask in zip(frames, track, strict=True))
    write_video(path, pictures, fps, comment=comment)


def write_video(
    path: Path, pictures: Iterable[NDArray[np.uint8]], fps: float, *, comment: str = ""
) -> None:
    """Pictures (H, W, 3) uint8 RGB of one size -> mp4 (H.264, yuv420p), whole or not at all.

    Odd sizes lose their last row or column: H.264 with 4:2:0 colour has even sizes only.
    `comment_of` gives the `comment`.
    """
    import av

    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}.mp4")
    with naming(path), ExitStack() as at_the_end:
        path.parent.mkdir(parents=True, exist_ok=True)
        at_the_end.callback(temporary.unlink, missing_ok=True)
        with av.open(f"file:{temporary}", "w", options={"movflags": "+faststart"}) as container:
            if comment:
                container.metadata["comment"] = comment
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": "20", "preset": "veryfast"}
            for picture in pictures:
                height, width = (n // 2 * 2 for n in picture.shape[:2])
                if not stream.codec_context.is_open:
                    stream.height, stream.width = height, width
                even = np.ascontiguousarray(picture[:height, :width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            container.mux(stream.encode(None))
        os.replace(temporary, path)


def comment_of(path: Path) -> str:
    """The comment that `write_video` put into a file; empty without one or without the file."""
    import av

    try:
        with av.open(f"file:{path}") as container:
            return container.metadata.get("comment", "")
    except (av.FFmpegError, OSError):  # no such file, or no video
        return ""
