"""Split -> everything that is wrong with its frames, masks and expressions.

`find_problems` is what every training run does at its start: it reads the first and last bytes of
each frame, and keeps what it saw beside the data. `python -m rvos data verify` decodes all frames.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

from PIL import Image
from pydantic import TypeAdapter, ValidationError
from rich.progress import track as progress

from rvos.data.archive import FilePath, TarPath, instead_of
from rvos.data.mask_index import index_folders, writable_index_folder
from rvos.data.split import Problem, Split, Truth, Video
from rvos.masks import FileError, read_json, write_json
from rvos.masks.files import IMAGE_ERRORS, changed_ns, check_single, pointer

Frames = dict[str, Any]  # what is kept of a video: {"key", "size", "problems"}
_KEPT = TypeAdapter(dict[str, Frames])
END_OF_IMAGE = b"\xff\xd9"


def find_problems(
    split: Split, truth: Truth | None, *, decode: bool = False, workers: int = 8
) -> list[Problem]:
    """All problems of a split, in the order of its videos.

    `decode`: decode every frame (slow, finds damage inside files) instead of looking at both ends
    of each; then nothing kept from an earlier check is used.
    """
    seen = _check_frames(split, decode, workers)
    tracks: dict[str, list[str]] = {}  # annotation id -> what is wrong with it
    result: list[Problem] = []
    for video in split.videos:
        frames = seen[video.name]
        result += [Problem(video.name, None, text) for text in frames["problems"]]
        for expression in video.expressions:
            texts = [] if expression.text.strip() else ["the expression's text is empty"]
            for annotation_id in expression.annotation_ids:
                if truth is not None and annotation_id not in tracks:
                    problems = _check_track(truth, annotation_id, video, frames["size"], decode)
                    tracks[annotation_id] = list(problems)
                texts += tracks.get(annotation_id, [])
            result += [Problem(video.name, expression.expression_id, text) for text in texts]
    return result


def without(split: Split, problems: Sequence[Problem]) -> Split:
    """The split without its bad videos, and without bad expressions."""
    bad_videos = {p.video for p in problems if p.expression_id is None}
    bad_expressions = {(p.video, p.expression_id) for p in problems}
    videos = []
    for video in split.videos:
        if video.name in bad_videos:
            continue
        fine = [e for e in video.expressions if (e.video, e.expression_id) not in bad_expressions]
        if fine or not video.expressions:
            videos.append(replace(video, expressions=tuple(fine)))
    return replace(split, videos=tuple(videos))


# --------------------------------------------------------------------------------------- masks


def _check_track(
    truth: Truth, annotation_id: str, video: Video, size: Any, decode: bool
) -> Iterator[str]:
    """What is wrong with one annotation."""
    if annotation_id not in truth:
        yield f"annotation {annotation_id}: expected it in {truth.path}, which does not have it"
        return
    problems = list(truth.problems(annotation_id, video, size))
    yield from problems or (truth.label_problems(annotation_id) if decode else ())


# -------------------------------------------------------------------------------------- frames


def _check_frames(split: Split, decode: bool, workers: int) -> dict[str, Frames]:
    """{video: {"size": [h, w] or None, "problems": [text]}}, from an earlier check where it holds.

    What was seen of a video holds while its files keep their sizes and times of change.
    """
    kept = {} if decode else _kept(split)
    with ThreadPoolExecutor(workers) as pool:
        made = pool.map(lambda video: _key(split, video), split.videos)
        keys = {video.name: key for video, key in zip(split.videos, made, strict=True)}
        new = [v for v in split.videos if kept.get(v.name, {}).get("key") != keys[v.name]]
        if new:
            checks = pool.map(lambda video: _check_video(split, video, decode), new)
            shown = progress(
                checks, f"checking frames of {split.name}", len(new), disable=len(new) < 100
            )
            for video, frames in zip(new, shown, strict=True):
                kept[video.name] = {"key": keys[video.name], **frames}
    if new:
        write_json(writable_index_folder(split.folder) / "frames.json", kept)
    return kept


def _kept(split: Split) -> dict[str, Frames]:
    for folder in index_folders(split.folder):
        with suppress(FileError, ValidationError):  # not there, or damaged: they are looked at anew
            return _KEPT.validate_python(read_json(folder / "frames.json"))
    return {}


def _key(split: Split, video: Video) -> str:
    """Hash of the names, sizes and times of change of a video's frames, or of their archive."""
    paths = [split.frame_path(video.name, frame) for frame in video.frames]
    if isinstance(paths[0], TarPath):
        text = f"{paths[0].archive.stamp} {video.name} {video.frames}"
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
    digest = hashlib.sha256()
    for path in paths:  # not a list of their folder: that of RefCOCO has 82,783 pictures
        try:
            stat = os.stat(str(path))
            seen: tuple[int, int] | None = (stat.st_size, changed_ns(stat))
        except OSError:
            seen = None
        digest.update(f"{path.name} {seen}\n".encode())
    return digest.hexdigest()[:16]


def _check_video(split: Split, video: Video, decode: bool) -> Frames:
    size: list[int] | None = None
    problems = []
    folder = split.frame_path(video.name, video.frames[0]).parent
    if not folder.is_dir():
        return {"size": None, "problems": [f"{folder}: no such folder{instead_of(folder)}"]}
    for frame in video.frames:
        path = split.frame_path(video.name, frame)
        try:
            frame_size = list(_look_at(path, decode))
        except IMAGE_ERRORS as error:
            problems.append(f"frame {frame}: {path}: {pointer(path) or error}")
            continue
        size = size or frame_size
        if frame_size != size:
            problems.append(
                f"frame {frame}: {path}: expected {size[0]} x {size[1]} pixels (height "
                f"x width) as the frames before, got {frame_size[0]} x {frame_size[1]}"
            )
    return {"size": size, "problems": problems}


def _look_at(path: FilePath, decode: bool) -> tuple[int, int]:
    """(height, width) of a JPEG. Raises OSError if it is missing, no image, or cut off."""
    if not path.is_file():
        raise OSError("no such file")
    with path.open("rb") as file:
        with Image.open(file) as image:
            check_single(image)
            size = image.height, image.width
            if decode:
                image.load()
                return size
            file.seek(max(file.seek(0, os.SEEK_END) - 64, 0))
            if END_OF_IMAGE not in file.read():
                image.load()  # raises if cut off; other bytes may follow a whole image
    return size
