"""Refined masks of one's own video -> PNG masks and a small page with the overlays."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from rvos.data.frames import Frames
from rvos.data.split import Video
from rvos.masks import Track, decode, write_bytes


def write_masks(folder: Path, frames: Frames, track: Track) -> None:
    """`<folder>/<frame>.png`, 8-bit grey, 0 and 255."""
    for name, mask in zip(frames.names, track, strict=True):
        pixels = np.zeros(frames.size, np.uint8) if mask is None else decode(mask) * np.uint8(255)
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
        write_bytes(folder / f"{name}.png", buffer.getvalue())


def write_page(path: Path, video: Video, nouns: dict[str, str], *, note: str) -> None:
    """A page that plays `overlay/<expression_id>.mp4` beside it, for each expression."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rvos.report"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("prediction.html.j2")
    write_bytes(path, page.render(video=video, nouns=nouns, note=note).encode())
