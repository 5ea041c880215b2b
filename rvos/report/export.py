"""Refined masks of a run -> files that other tools read.

    python -m rvos export RUN --format coco --out masks.json

| format | what is written |
|---|---|
| `png` | a zip with `<video>/<expression_id>/<frame>.png`, 8-bit grey, 0 and 255 |
| `rle` | `{video: {expression_id: [mask per frame]}}`, as `coarse.path` reads it |
| `coco` | COCO's instances: an image per frame, an annotation per mask, a category per expression |
| `ytvis` | YouTube-VIS: an annotation per expression with a segmentation per frame |
| `a.b` | what the function `b` of the module `a` makes of the refined masks |

COCO's annotation: https://cocodataset.org/#format-data; YouTube-VIS has `segmentations`, `bboxes`
and `areas` per frame in its place (https://youtube-vos.org/dataset/vis/).
"""

import argparse
import io
import logging
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rvos.data.split import Video
from rvos.errors import InputError, list_problems
from rvos.masks import (
    FileError,
    Mask,
    Track,
    area,
    bounding_box,
    decode,
    read_json,
    write_bytes,
    write_json,
)
from rvos.settings import named
from rvos.stages.run_folder import kept_videos

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refined:
    """The refined masks of one video."""

    video: Video
    tracks: dict[str, Track]  # by expression_id
    files: tuple[str, ...]  # names of the frames' files
    size: tuple[int, int]  # (height, width) of masks and frames


def refined_of(run: Path) -> list[Refined]:
    """The refined masks of a run of eval.py or predict.py, video by video.

    A video without any mask whose frames were not there has no known size: a warning names it, and
    it is left out. Raises InputError where the run cannot be read or has no other video.
    """
    videos, unknown = [], []
    for kept in kept_videos(run):
        name = kept.video.name
        try:
            tracks = read_json(run / "refined" / f"{name}.json.gz")
        except FileError as error:
            raise InputError(f"{error}; the run is not finished") from None
        masks = (mask for track in tracks.values() for mask in track if mask is not None)
        size = kept.size or next((tuple(mask["size"]) for mask in masks), None)
        if size is None:
            unknown.append(name)
        else:
            videos.append(Refined(kept.video, tracks, kept.files, size))
    if unknown:
        text = list_problems("videos of unknown size: no mask, and no frames in the run", unknown)
        if not videos:
            raise InputError(text)
        log.warning(f"{text}\nThey are left out.")
    return videos


def png_zip(videos: Sequence[Refined]) -> bytes:
    """Frames without a mask are black."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # PNGs are packed already
        for found in videos:
            for key, track in found.tracks.items():
                for frame, mask in zip(found.video.frames, track, strict=True):
                    name = zipfile.ZipInfo(f"{found.video.name}/{key}/{frame}.png")
                    archive.writestr(name, mask_png(mask, found.size))
    return buffer.getvalue()


def rle(videos: Sequence[Refined]) -> dict[str, Any]:
    """As `coarse.path` reads it."""
    return {found.video.name: found.tracks for found in videos}


def coco(videos: Sequence[Refined]) -> dict[str, Any]:
    """COCO's instances; `expression_id` and `video` stand beside its own keys."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for found, category, key in _categories(videos):
        height, width = found.size
        if key == found.video.expressions[0].expression_id:  # the first of the video
            for name in found.files:
                file = {"file_name": f"{found.video.name}/{name}", "video": found.video.name}
                images.append({"id": len(images) + 1, "height": height, "width": width, **file})
        first = len(images) - len(found.video.frames) + 1
        for t, mask in enumerate(found.tracks[key]):
            if mask is not None:
                place = {"id": len(annotations) + 1, "image_id": first + t}
                annotations.append(
                    place | {"category_id": category, "segmentation": mask, **_measures(mask)}
                )
    return {"images": images, "annotations": annotations, "categories": _names(videos)}


def ytvis(videos: Sequence[Refined]) -> dict[str, Any]:
    """YouTube-VIS, from which VIS tools read instances over a video."""
    ids = {found.video.name: number for number, found in enumerate(videos, 1)}
    entries = []
    for found in videos:
        height, width = found.size
        files = [f"{found.video.name}/{name}" for name in found.files]
        size = {"height": height, "width": width, "length": len(files)}
        entries.append({"id": ids[found.video.name], "file_names": files, **size})
    annotations = []
    for found, category, key in _categories(videos):
        height, width = found.size
        measures = [None if mask is None else _measures(mask) for mask in found.tracks[key]]
        annotations.append(
            {
                "id": category,
                "video_id": ids[found.video.name],
                "category_id": category,
                "segmentations": found.tracks[key],
                "bboxes": [m and m["bbox"] for m in measures],
                "areas": [m and m["area"] for m in measures],
                "iscrowd": 0,
                "height": height,
                "width": width,
                "length": len(measures),
            }
        )
    return {"videos": entries, "annotations": annotations, "categories": _names(videos)}


# (name of the file, what makes its content: bytes, or what becomes JSON)
Format = tuple[str, Callable[[Sequence[Refined]], Any]]
FORMATS: dict[str, Format] = {
    "png": ("masks.zip", png_zip),
    "rle": ("masks_rle.json", rle),
    "coco": ("masks_coco.json", coco),
    "ytvis": ("masks_ytvis.json", ytvis),
}


def format_of(kind: str) -> Format:
    """One of FORMATS, or the function of a dotted name; its file is called as the function is.

    Raises InputError.
    """
    if kind in FORMATS:
        return FORMATS[kind]
    if "." not in kind:
        known = f"expected {', '.join(FORMATS)}, or the dotted name of a function"
        raise InputError(f"--format: {known}, got {kind!r}")
    return kind.rpartition(".")[2], named("--format", kind)


def export(videos: Sequence[Refined], kind: str, path: Path) -> Path:
    """Write a format of `format_of` to `path`, whole or not at all, and return it."""
    content = format_of(kind)[1](videos)
    if isinstance(content, bytes):
        write_bytes(path, content)
    else:
        write_json(path, content)
    return path


def _categories(videos: Sequence[Refined]) -> Iterator[tuple[Refined, int, str]]:
    """(video, number from 1, expression_id) of every expression."""
    pairs = ((found, e.expression_id) for found in videos for e in found.video.expressions)
    for number, (found, key) in enumerate(pairs, 1):
        yield found, number, key


def _names(videos: Sequence[Refined]) -> list[dict[str, Any]]:
    """A category per expression; those of one sentence have video and id behind their names."""
    expressions = [e for found in videos for e in found.video.expressions]
    counts = Counter(e.text for e in expressions)
    return [
        {
            "id": number,
            "name": e.text if counts[e.text] == 1 else f"{e.text} ({e.video} {e.expression_id})",
            "video": e.video,
            "expression_id": e.expression_id,
        }
        for number, e in enumerate(expressions, 1)
    ]


def _measures(mask: Mask) -> dict[str, Any]:
    box = bounding_box(mask)
    assert box is not None, "canonical masks are not empty"
    bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    return {"area": area(mask), "bbox": [int(value) for value in bbox], "iscrowd": 0}


def mask_png(mask: Mask, size: tuple[int, int]) -> bytes:
    """A mask as a PNG of `size` (h, w), 8-bit grey, 0 and 255; all 0 for None."""
    return _png(None if mask is None else mask["counts"], size)


@lru_cache(maxsize=20_000)  # of some KB: predict.py needs each twice, in its folder and masks.zip
def _png(counts: str | bytes | None, size: tuple[int, int]) -> bytes:
    mask: Mask = None if counts is None else {"size": list(size), "counts": counts}
    pixels = np.zeros(size, np.uint8) if mask is None else decode(mask) * np.uint8(255)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos export`: the refined masks of a run in another format."""
    parser = argparse.ArgumentParser(
        prog="python -m rvos export",
        description="The refined masks of a run as files that other tools read.",
    )
    parser.add_argument("run", type=Path, help="folder of a run of eval.py or predict.py")
    known = f"{', '.join(FORMATS)}, or the dotted name of a function (docs/extending.md)"
    parser.add_argument("--format", metavar="FORMAT", required=True, help=known)
    parser.add_argument("--out", type=Path, help="by default in RUN, such as RUN/masks_coco.json")
    given = parser.parse_args(arguments)
    path = given.out or given.run / format_of(given.format)[0]
    print(export(refined_of(given.run), given.format, path))
    return 0
