"""Masks of a run -> files that other tools read, and that rvos reads again.

    python -m rvos export RUN --format coco --out masks.json

| format | what is written |
|---|---|
| `png` | a zip with `<video>/<expression_id>/<frame>.png`, 8-bit grey, 0 and 255 |
| `annotations` | the same in a folder `Annotations`, as for Ref-YouTube-VOS |
| `davis` | a zip with pictures of object numbers for DAVIS' evaluation of Ref-DAVIS17 |
| `rle` | `{video: {expression_id: [mask per frame]}}`, as `coarse.path` reads it |
| `sa2va` | the `results.json` of the Sa2VA family |
| `coco` | COCO's instances: an image per frame, an annotation per mask, with track ids as in TAO |
| `ytvis` | YouTube-VIS: an annotation per track with a segmentation per frame |
| `a.b` | what the function `b` of the module `a` makes of the refined masks |

COCO's annotation: https://cocodataset.org/#format-data; `videos`, `tracks`, `track_id` and
`frame_index`: TAO-Dataset/tao, tao/toolkit/tao/tao.py; YouTube-VIS has `segmentations`, `bboxes`
and `areas` per frame (https://youtube-vos.org/dataset/vis/). `results.json`: bytedance/Sa2VA,
projects/llava_sam2/evaluation/ref_vos_eval.py; its scorers (tools/eval) take no null for a mask.
"""

import argparse
import io
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvos.errors import InputError
from rvos.masks import Mask, Track, area, bounding_box, decode, encode, write_bytes, write_json
from rvos.masks.draw import number_color
from rvos.report.tracks import Choice, Exported, Masklets, Refined, masklets_of, refined_of
from rvos.score.protocols.davis import ANNOTATORS
from rvos.settings import named


def png_zip(videos: Sequence[Refined], *, top: str = "") -> bytes:
    """Frames without a mask are black; `top` is a folder above those of the videos."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # PNGs are packed already
        for found in videos:
            for key, track in found.tracks.items():
                for frame, mask in zip(found.video.frames, track, strict=True):
                    name = zipfile.ZipInfo(f"{top}{found.video.name}/{key}/{frame}.png")
                    archive.writestr(name, mask_png(mask, found.size))
    return buffer.getvalue()


def davis_zip(videos: Sequence[Refined]) -> bytes:
    """`anno_<annotator>/<video>/<frame>.png`, as DAVIS' evaluation reads Ref-DAVIS17.

    Palette pictures of object numbers. Where two objects overlap, the lower one wins (ReferFormer,
    inference_davis.py). Raises InputError where expression ids are not 4 x object + annotator.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for found in videos:
            ids = [str(i) for i in range(len(found.tracks))]
            if set(ids) != set(found.tracks) or len(ids) % ANNOTATORS:
                known = ", ".join(list(found.tracks)[:8])
                raise InputError(
                    f"--format davis: video {found.video.name}: expected the expression ids 4 x "
                    f"object + annotator of Ref-DAVIS17, got {known}"
                )
            for annotator in range(ANNOTATORS):
                tracks = [found.tracks[id_] for id_ in ids[annotator::ANNOTATORS]]
                for t, frame in enumerate(found.video.frames):
                    numbers = np.zeros(found.size, np.uint8)
                    for k, track in reversed([*enumerate(tracks, 1)]):
                        if (mask := track[t]) is not None:
                            numbers[decode(mask) > 0] = k
                    name = f"anno_{annotator}/{found.video.name}/{frame}.png"
                    archive.writestr(zipfile.ZipInfo(name), _as_png(numbers, palette=True))
    return buffer.getvalue()


def rle(videos: Sequence[Exported]) -> dict[str, Any]:
    """As `coarse.path` reads it; masklets as `masklets.path` does."""
    return {found.video.name: found.tracks for found in videos}


def sa2va(videos: Sequence[Refined]) -> dict[str, Any]:
    """An empty mask has run lengths too, since the scorers of the family decode every frame."""
    results: dict[str, Any] = {}
    for found in videos:
        name, empty = found.video.name, encode(np.zeros(found.size, np.uint8))
        results[name] = {
            e.expression_id: {
                "video_id": name,
                "exp_id": e.expression_id,
                "exp": e.text,
                "frames": found.video.frames,
                "prediction_masks": [mask or empty for mask in found.tracks[e.expression_id]],
            }
            for e in found.video.expressions
        }
    return results


def coco(videos: Sequence[Exported]) -> dict[str, Any]:
    """COCO's instances with track ids; `video` and `expression_id` stand beside its own keys."""
    categories = _categories(videos)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    tracks: list[dict[str, Any]] = []
    for video_id, found in enumerate(videos, 1):
        first = len(images) + 1
        for t, name in enumerate(found.files):
            place = {"id": first + t, "video_id": video_id, "frame_index": t}
            file = {"file_name": f"{found.video.name}/{name}", "video": found.video.name}
            images.append(place | file | _size(found))
        for category, of_category, track in _tracks(found, categories):
            ids = {"track_id": len(tracks) + 1, "video_id": video_id, "category_id": category}
            tracks.append({"id": len(tracks) + 1, "video_id": video_id, "category_id": category})
            for t, mask in enumerate(track):
                if mask is not None:
                    place = {"id": len(annotations) + 1, "image_id": first + t}
                    drawn = {"segmentation": mask, **_measures(mask), "iscrowd": 0}
                    annotations.append(place | ids | drawn | of_category)
    of_videos = [_entry(found, i, categories) for i, found in enumerate(videos, 1)]
    return _INFO | {
        "videos": of_videos,
        "images": images,
        "tracks": tracks,
        "annotations": annotations,
        "categories": list(categories.values()),
    }


def ytvis(videos: Sequence[Exported]) -> dict[str, Any]:
    """YouTube-VIS, from which VIS tools read instances over a video."""
    categories = _categories(videos)
    annotations: list[dict[str, Any]] = []
    entries = []
    for video_id, found in enumerate(videos, 1):
        files = [f"{found.video.name}/{name}" for name in found.files]
        of_video = _size(found) | {"length": len(files)}
        entry = _entry(found, video_id, categories)
        entries.append(entry | {"file_names": files} | of_video)
        for category, of_category, track in _tracks(found, categories):
            number = len(annotations) + 1
            measures = [None if mask is None else _measures(mask) for mask in track]
            annotations.append(
                {
                    "id": number,
                    "track_id": number,
                    "video_id": video_id,
                    "category_id": category,
                    "segmentations": track,
                    "bboxes": [m and m["bbox"] for m in measures],
                    "areas": [m and m["area"] for m in measures],
                    "iscrowd": 0,
                    **of_video,
                    **of_category,
                }
            )
    return _INFO | {
        "videos": entries,
        "annotations": annotations,
        "categories": list(categories.values()),
    }


_INFO: dict[str, Any] = {"info": {"description": "masks of a run of rvos"}, "licenses": []}


def _categories(videos: Sequence[Exported]) -> dict[tuple[str, str], dict[str, Any]]:
    """COCO's categories, whose names differ: one per expression, or per noun of masklets.

    By (video, expression_id), or ("", noun). A sentence that two expressions share, but for its
    spaces, has the video and the id behind it.
    """
    texts = {
        (e.video, e.expression_id): " ".join(e.text.split())
        for v in videos
        for e in v.video.expressions
    }
    keys = dict.fromkeys(_category(found, key) for found in videos for key in found.tracks)
    counts = Counter(texts.get(key, key[1]) for key in keys)
    categories: dict[tuple[str, str], dict[str, Any]] = {}
    taken: set[str] = set()
    for number, (video, key) in enumerate(keys, 1):
        name = texts.get((video, key), key)
        name = name if name and counts[name] == 1 else f"{name} ({video} {key})".strip()
        while name in taken:  # another sentence is just this
            name += "'"
        taken.add(name)
        of_expression = {"video": video, "expression_id": key} if video else {}
        categories[video, key] = {"id": number, "name": name, **of_expression}
    return categories


def _category(found: Exported, key: str) -> tuple[str, str]:
    by_noun = isinstance(found, Masklets) and found.by_noun
    return ("" if by_noun else found.video.name), key


def _tracks(
    found: Exported, categories: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Iterator[tuple[int, dict[str, float], Track]]:
    """(category, its score if it is known, track) of everything in a video."""
    for key in found.tracks:
        category = categories[_category(found, key)]["id"]
        if isinstance(found, Masklets):
            for track in found.tracks[key]:
                yield category, {}, track
        else:
            score = {"score": found.confidence[key]} if key in found.confidence else {}
            yield category, score, found.tracks[key]


def _entry(
    found: Exported, video_id: int, categories: Mapping[tuple[str, str], Mapping[str, Any]]
) -> dict[str, Any]:
    """A video, and with TAO's key the categories of which it has no instance."""
    without = [
        categories[_category(found, key)]["id"] for key, of in found.tracks.items() if not of
    ]
    absent = {"neg_category_ids": without, "not_exhaustive_category_ids": []}
    return {"id": video_id, "name": found.video.name, **_size(found), **absent}


def _size(found: Exported) -> dict[str, int]:
    return {"height": found.size[0], "width": found.size[1]}


def _measures(mask: Mask) -> dict[str, Any]:
    box = bounding_box(mask)
    assert box is not None, "canonical masks are not empty"
    bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    return {"area": area(mask), "bbox": [int(value) for value in bbox]}


def mask_png(mask: Mask, size: tuple[int, int]) -> bytes:
    """A mask as a PNG of `size` (h, w), 8-bit grey, 0 and 255; all 0 for None."""
    return _png(None if mask is None else mask["counts"], size)


@lru_cache(maxsize=20_000)  # of some KB: predict.py needs each twice, in its folder and masks.zip
def _png(counts: str | bytes | None, size: tuple[int, int]) -> bytes:
    mask: Mask = None if counts is None else {"size": list(size), "counts": counts}
    pixels = np.zeros(size, np.uint8) if mask is None else decode(mask) * np.uint8(255)
    return _as_png(pixels)


def _as_png(pixels: NDArray[np.uint8], *, palette: bool = False) -> bytes:
    buffer, image = io.BytesIO(), Image.fromarray(np.ascontiguousarray(pixels))
    if palette:
        image.putpalette(bytes(chain((0, 0, 0), *map(number_color, range(255)))))
    image.save(buffer, format="PNG")
    return buffer.getvalue()


# ------------------------------------------------------------------------------------ command

# (name of the file, what makes its content: bytes, or what becomes JSON)
Format = tuple[str, Callable[[Sequence[Any]], Any]]
FORMATS: dict[str, Format] = {
    "png": ("masks.zip", png_zip),
    "davis": ("masks_davis.zip", davis_zip),
    "annotations": ("masks_annotations.zip", partial(png_zip, top="Annotations/")),
    "rle": ("masks_rle.json", rle),
    "sa2va": ("results.json", sa2va),
    "coco": ("masks_coco.json", coco),
    "ytvis": ("masks_ytvis.json", ytvis),
}
OF_MASKLETS = ("rle", "coco", "ytvis")  # the others have one mask per expression


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


def export(videos: Sequence[Exported], kind: str, path: Path) -> Path:
    """Write a format of `format_of` to `path`, whole or not at all, and return it."""
    content = format_of(kind)[1](videos)
    if isinstance(content, bytes):
        write_bytes(path, content)
    else:
        write_json(path, content)
    return path


def frames_of(text: str) -> tuple[int, int | None]:
    """`a:b`, positions of frames from 0, the last not included. Raises InputError."""
    start, colon, stop = text.partition(":")
    if not colon or not all(part == "" or part.isdecimal() for part in (start, stop)):
        raise InputError(f"--frames: expected START:STOP, such as 0:50 or 50:, got {text!r}")
    return int(start or 0), int(stop) if stop else None


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos export`: the masks of a run in another format."""
    parser = argparse.ArgumentParser(
        prog="python -m rvos export",
        description="The masks of a run as files that other tools read.",
    )
    add = parser.add_argument
    add("run", type=Path, help="folder of a run of eval.py or predict.py")
    known = f"{', '.join(FORMATS)}, or the dotted name of a function (docs/extending.md)"
    add("--format", metavar="FORMAT", required=True, help=known)
    add("--out", type=Path, help="by default in RUN, such as RUN/masks_coco.json")
    add("--masklets", action="store_true", help="the masklets that the run read, a track each")
    add("--expressions", nargs="+", metavar="ID", help="these alone: ids, or VIDEO/ID")
    add("--frames", metavar="START:STOP", default=":", help="these alone: positions from 0")
    sure = "those alone whose presence rule gave at least this value"
    add("--min-confidence", type=float, metavar="X", help=sure)
    given = parser.parse_args(arguments)
    name = format_of(given.format)[0]
    choice = Choice(given.expressions, frames_of(given.frames), given.min_confidence)
    videos: Sequence[Exported] = ()
    if not given.masklets:
        videos = refined_of(given.run, choice)
    elif given.format in FORMATS and given.format not in OF_MASKLETS:
        raise InputError(f"--masklets: expected --format {', '.join(OF_MASKLETS)}")
    else:
        videos, name = masklets_of(given.run, choice), name.replace("masks_", "masklets_")
    print(export(videos, given.format, given.out or given.run / name))
    return 0
