"""Frames and masks of videos -> what a page's player shows: small pictures, and outlines.

templates/player.js says what it takes.
"""

import base64
import gzip
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from rich.progress import track as progress

from rvos.data.archive import FilePath
from rvos.data.frames import Frames
from rvos.masks import RLE, Mask, Track, decode, write_bytes
from rvos.report.details import Details
from rvos.report.run import Run
from rvos.report.strips import Pixels, background, encoded, frame_size, resized

_JPEG_QUALITY = 70
_TOLERANCE = 0.6  # pixels of the picture by which an outline may differ from its mask's


class Outlines:
    """The outlines of masks in a picture that has every `step`-th of their pixels; each once."""

    def __init__(self, step: int):
        self.step = step
        self.contours: list[list[list[int]]] = []  # of each mask: x, y of a point, then steps
        self._positions: dict[str, int] = {}

    def track(self, track: Track) -> list[int]:
        """The position of each frame's mask in `contours`; -1 for an empty one."""
        return [self._position(mask) for mask in track]

    def _position(self, mask: Mask) -> int:
        if mask is None:
            return -1
        if (counts := mask["counts"]) not in self._positions:
            self._positions[counts] = len(self.contours)
            self.contours.append(contours_of(mask, self.step))
        return self._positions[counts]


def contours_of(mask: RLE, step: int) -> list[list[int]]:
    """The contours of a mask, with holes, of every `step`-th pixel: [x, y, dx, dy, ...] each."""
    inside = np.ascontiguousarray(decode(mask)[step // 2 :: step, step // 2 :: step])
    contours = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]
    points = [cv2.approxPolyDP(contour, _TOLERANCE, True)[:, 0] for contour in contours]  # (N, 2)
    return [np.diff(p, axis=0, prepend=np.zeros((1, 2), p.dtype)).ravel().tolist() for p in points]


class Pictures:
    """Small pictures of frames: inside the page as long as there is room, then beside it."""

    def __init__(self, page: Path, left: int):
        self.folder = page.parent / f"{page.stem}_frames"
        self.left = left  # bytes that the page may still take
        shutil.rmtree(self.folder, ignore_errors=True)  # of the page that is written again

    def of(self, name: str, files: Sequence[bytes | None]) -> list[str | None]:
        """An address for each frame's JPEG of the video `name`; None where there is none."""
        need = sum(len(data) * 4 // 3 + 32 for data in files if data)
        if need <= self.left:
            self.left -= need
            start = "data:image/jpeg;base64,"
            return [start + base64.b64encode(data).decode() if data else None for data in files]
        addresses: list[str | None] = []
        for t, data in enumerate(files):
            place = f"{name}/{t:05d}.jpg"
            if data:
                write_bytes(self.folder / place, data)
            addresses.append(quote(f"{self.folder.name}/{place}") if data else None)
        return addresses


def make_clip(
    name: str,
    frames: Sequence[str],
    tracks: Mapping[str, Mapping[str, Sequence[Track]]],
    images: list[FilePath | None] | Frames,
    pictures: Pictures,
    *,
    width: int,
) -> dict[str, Any]:
    """One video in the page: its pictures' addresses, and the rest packed.

    `frames` are the names of the frames, `images` their files, or the frames themselves. `tracks`
    are by whose they are (an expression_id) and by layer; a layer has one track or several, with
    numbers. Pictures are at most `width` pixels wide. Raises FrameError for an unreadable image.
    """
    all_tracks = [track for layers in tracks.values() for of in layers.values() for track in of]
    if isinstance(images, list):
        images = [path if path is not None and path.is_file() else None for path in images]
        full = frame_size(all_tracks, images)
    else:
        full = images.size
    step = math.ceil(full[1] / width)
    size = max(1, full[0] // step), max(1, full[1] // step)
    outlines = Outlines(step)
    layers = {
        key: {layer: [outlines.track(track) for track in of] for layer, of in own.items()}
        for key, own in tracks.items()
    }
    rest = {"size": [size[1], size[0]], "names": frames, "masks": outlines.contours}
    return {
        "frames": pictures.of(name, jpegs(images, size)),
        "packed": packed(rest | {"layers": layers}),
    }


def add_clips(
    details: Details,
    pictured: Sequence[tuple[str, str]],
    run: Run,
    tracks_of: Callable[[str, Sequence[str]], Mapping[str, Mapping[str, Sequence[Track]]]],
    pictures: Pictures,
    *,
    width: int,
) -> dict[str, dict[str, Any]]:
    """The clips of the videos of the expressions that are `pictured`, by video.

    `tracks_of(video, expression_ids)` gives the `tracks` of `make_clip`. The details of these
    expressions are told which clip is theirs. Frames are those of `run`.
    """
    videos: dict[str, list[str]] = {}
    for name, key in pictured:
        videos.setdefault(name, []).append(key)
        number = list(videos).index(name)
        details[name, key]["clip"] = {"video": name, "id": key, "number": number}
    clips = {}
    for name, keys in progress(videos.items(), "Drawing frames", transient=True):
        video, tracks = run.video(name), tracks_of(name, keys)
        clips[name] = make_clip(
            name, video.frames, tracks, run.images(video), pictures, width=width
        )
    return clips


def layers_of(run: Run, name: str, keys: Sequence[str]) -> dict[str, dict[str, list[Track]]]:
    """The tracks of some expressions of a video by layer: coarse, refined, truth, masklets."""
    video, masklets = run.video(name), run.masklets(name)
    return {
        key: {kind: [track] for kind, track in video.tracks[key].items()}
        | ({"masklets": masklets[key]} if masklets.get(key) else {})
        for key in keys
    }


def jpegs(images: list[FilePath | None] | Frames, size: tuple[int, int]) -> list[bytes | None]:
    """Frames of `size` (h, w) as JPEG files; None where there is no image."""
    if not isinstance(images, list):
        return [_jpeg(resized(frame, size)) for frame in images]
    with ThreadPoolExecutor() as pool:  # OpenCV works outside Python's lock
        return list(pool.map(lambda path: path and _jpeg(background(path, size)), images))


def _jpeg(pixels: Pixels) -> bytes:
    return encoded(pixels, ".jpg", _JPEG_QUALITY)


def packed(content: Any) -> str:
    """JSON as the page's `unpack` reads it: gzipped, in base64; equal bytes for equal content."""
    text = json.dumps(content, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(text, 6, mtime=0)).decode()
