"""Masks of a stage or of another program -> tracks by video: JSON, a folder, PNGs, COCO."""

import hashlib
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rvos.errors import FileError, list_problems
from rvos.masks import coco
from rvos.masks.files import (
    file_sha256,
    file_stamp,
    files_below,
    open_json,
    other_pictures,
    read_json,
    read_pixels,
    reading,
    stream_json,
)
from rvos.masks.rle import MISSING_FRAME, encode

log = logging.getLogger(__name__)
INNER = ("Annotations", "refined")  # official scripts' folder of results; that of a run


class TrackFiles:
    """Per-video values of one stage: `coarse`, `masklets` or `nouns` files.

    `path` is one JSON file `{video: value}` (.json or .json.gz, read as a stream), a folder with
    one `<video>.json[.gz]` each, or (coarse only) a PNG tree `<video>/<expression_id>/<frame>.png`
    (`read_pixels` says what is foreground). The folder above one of INNER is read as that one.
    Instead of a track there may be `{"prediction_masks": track}`, as in Sa2VA's results.json. The
    one file may also be COCO with track ids or YouTube-VIS (`masks.coco`); `instances` says that
    their tracks of one name are a list, as in `masklets`.
    Folders are read video by video when asked; a store may be empty.
    Raises FileError naming the file; the masks themselves are not checked here.
    """

    def __init__(self, path: Path | str, *, instances: bool = False):
        self.path, self.instances = Path(path), instances
        self._one_file: _Unpacked | None = None
        if self.path.is_dir():
            inner = (self.path / name for name in INNER)
            self.path = next((folder for folder in inner if folder.is_dir()), self.path)
            names = [p for p in self.path.iterdir() if not p.name.startswith(".")]
            if not self._is_store and not any(p.is_dir() or _is_video(p) for p in names):
                raise FileError(
                    f"{self.path}: expected <video>.json[.gz] files or <video> folders "
                    "of PNG masks, found none"
                )
            known = (p for p in names if p.is_dir() or p.name.endswith((".json", ".json.gz")))
            if others := sorted(p.name for p in {*names} - {*known}):
                title = f"{self.path}: files that are no .json or .json.gz, left out"
                log.warning(list_problems(title, others))
        elif not self.path.is_file():
            raise FileError(f"{self.path}: no such file or folder")
        elif zipfile.is_zipfile(self.path):
            raise FileError(f"{self.path}: a zip file; unpack it and give the folder")
        else:
            self._one_file = _Unpacked(self.path)

    def videos(self) -> list[str]:
        """The names of all videos."""
        if self._one_file is not None:
            return list(self._one_file.places)
        files = [p.relative_to(self.path) for p in files_below(self.path) if _is_video(p)]
        names = {str(p).removesuffix(".gz").removesuffix(".json") for p in files}
        others = {p.name for p in self.path.iterdir() if p.is_dir()} - {p.parts[0] for p in files}
        found = (p for name in others for p in _folders_of_videos(self.path / name))
        names |= {str(p.relative_to(self.path)) for p in found}
        return sorted(name for name in names if not name.startswith("."))

    def __contains__(self, video: str) -> bool:
        if self._one_file is not None:
            return video in self._one_file.places
        return self._file(video) is not None

    def identity(self) -> Any:
        """What tells these files from any others: the name of a store, or a hash of the content."""
        if self._is_store:
            return self.path.name
        if self.path.is_file():
            return file_sha256(self.path)
        digest = hashlib.sha256()
        for path in files_below(self.path):
            digest.update(f"{path.relative_to(self.path)} {file_sha256(path)}\n".encode())
        return digest.hexdigest()

    @property
    def _is_store(self) -> bool:
        return (self.path / "provenance.json").is_file()

    def source(self, video: str) -> str:
        """What to name in an error about this video."""
        return str(self._file(video) or self.path)

    def stamp(self, video: str) -> list[Any]:
        """Changes with the files of a video, none of which is read."""
        path = self.path if self._one_file is not None else self._file(video)
        if path is None or path.is_file():
            return [] if path is None else file_stamp(path)
        return [[str(p.relative_to(path)), *file_stamp(p)] for p in files_below(path)]

    def folder_beside(self, stage: str) -> Path | None:
        """Where a store keeps what another stage wrote beside it: `<stores>/<stage>/<store>`."""
        return self.path.absolute().parent.parent / stage / self.path.name

    def _file(self, video: str) -> Path | None:
        """The file or folder of one video, whose name may have folders in it."""
        if self._one_file is not None:
            return None
        path = self.path / video
        files = [path.with_name(f"{path.name}.json{suffix}") for suffix in ("", ".gz")]
        existing = [p for p in files if p.is_file()] + ([path] if path.is_dir() else [])
        if len(existing) > 1:
            names = " and ".join(p.name for p in existing)
            raise FileError(f"{self.path}: video {video} is there more than once: {names}")
        return existing[0] if existing else None

    def frames(self, video: str) -> list[str] | None:
        """The names of a video's frames where its one file has them: COCO and YouTube-VIS."""
        if self._one_file is None or not self._one_file.is_coco:
            return None
        return self._one_file.read(video)["frames"]

    def read(self, video: str, frames: Sequence[str] | None = None) -> Any:
        """The value of one video; `frames` are the frame names, needed for a PNG tree."""
        if video not in self:
            raise FileError(f"{self.path}: video {video} is not there")
        if self._one_file is not None:
            value = self._one_file.read(video)
            if self._one_file.is_coco:
                return coco.tracks_of(value, frames, instances=self.instances)
            return _tracks_of(value)
        path = self._file(video)
        assert path is not None
        if path.is_file():
            return _tracks_of(read_json(path))
        if frames is None:
            raise ValueError("a PNG tree is read with the frame names of the video")
        folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
        if problems := [*filter(None, (other_pictures(folder, frames) for folder in folders))]:
            raise FileError("\n".join(problems))
        return {p.name: [_read_png(p / f"{frame}.png") for frame in frames] for p in folders}


def _read_png(path: Path) -> Any:
    """A mask, also where it is empty (its size is to be checked); "missing" without the file."""
    return encode(read_pixels(path)) if path.is_file() else MISSING_FRAME


class _Unpacked:
    """The values of one JSON file, in a temporary file: memory holds their places alone."""

    def __init__(self, path: Path):
        self.places: dict[str, tuple[int, int]] = {}  # start and length
        self._file = tempfile.TemporaryFile()
        with reading(path, "not valid JSON", RecursionError):
            self._write(stream_json(path))
        self.is_coco = coco.is_coco(self.places)
        if self.is_coco:
            content = {key: self.read(key) for key in self.places}
            self.places.clear()
            self._write(coco.videos_of(content, path).items())
        elif not self.places and (kind := _top_level(path)) != "{":
            raise FileError(
                f"{path}: expected an object {{video: ...}}, got one that begins with {kind!r}. A "
                "list of results (COCO, YouTube-VIS, lmms-eval) does not name videos with masks"
            )

    def _write(self, items: Iterable[tuple[str, Any]]) -> None:
        for key, value in items:
            start = self._file.seek(0, os.SEEK_END)
            self.places[key] = start, self._file.write(json.dumps(value).encode())
        self._file.flush()

    def read(self, key: str) -> Any:
        start, length = self.places[key]
        return json.loads(os.pread(self._file.fileno(), length, start))


def _top_level(path: Path) -> str:
    """The first character of a JSON file."""
    with open_json(path) as file:
        return file.read(1000).decode(errors="replace").lstrip()[:1]


def _is_video(path: Path) -> bool:
    return path.name.endswith((".json", ".json.gz")) and path.name != "provenance.json"


def _folders_of_videos(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The folders in it that hold a folder per expression; `folder` if it does so itself.

    Links to one of those `above` it are passed over, else there would be no end.
    """
    above = (*above, folder.resolve())
    inner = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    inner = [p for p in inner if p.resolve() not in above]
    if inner and any(p.is_dir() for p in inner[0].iterdir()):
        for path in inner:
            yield from _folders_of_videos(path, above)
    else:
        yield folder


def _tracks_of(value: Any) -> Any:
    """A video's value, without what the Sa2VA family wraps its tracks in ("prediction_masks")."""
    if not isinstance(value, dict):
        return value
    key = "prediction_masks"
    return {k: v[key] if isinstance(v, dict) and key in v else v for k, v in value.items()}
