"""mask_dict.json -> an index on disk from which single masks are read without loading the rest.

mask_dict of the MeViS training split is a gigabyte of JSON. It is parsed once, as a stream, into
`counts.bin` (all RLE strings one after the other), `offsets.npy` (M + 1 int64: where each mask's
string begins; an empty range is an absent mask) and `tracks.json` (which masks make a track).
A process then opens the index in milliseconds and reads only the masks it needs, by position,
so workers share the system's file cache instead of holding copies. `benchmarks/data.py` compares
this with Arrow and with one file per video.
"""

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rvos.errors import InputError
from rvos.masks import (
    Mask,
    canonical_track,
    read_json,
    stream_json,
    write_json,
)
from rvos.masks.files import changed_ns, unpacked_sha256

FORMAT = 1  # of the files; another number is built anew


def open_index(source: Path) -> "MaskIndex":
    """The index of a mask_dict.json[.gz], built if there is none or the file has changed.

    Raises InputError for a file that is not `{annotation id: ...}`.
    """
    stat = source.stat()
    key = {"format": FORMAT, "name": source.name, "size": stat.st_size, "mtime": changed_ns(stat)}
    for folder in index_folders(source.parent):
        if (index := _whole_index(folder / "masks", key)) is not None:
            return index
    folder = writable_index_folder(source.parent)
    building = Path(tempfile.mkdtemp(dir=folder, prefix=".building-"))
    try:
        _build(source, key, building)
        if (index := _whole_index(folder / "masks", key)) is None:  # else another was faster
            _replace(building, folder / "masks")
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return index or MaskIndex(folder / "masks")


def _whole_index(folder: Path, key: dict[str, Any]) -> "MaskIndex | None":
    """The index in a folder; None if there is none, if it is damaged or of another source."""
    try:
        if read_json(folder / "tracks.json")["source"] != key:
            return None
        index = MaskIndex(folder)  # np.load runs no code from a file
        whole = int(index._offsets[-1]) == (folder / "counts.bin").stat().st_size
        return index if whole else None
    except (OSError, ValueError, TypeError, LookupError):
        return None


def index_folders(data: Path) -> list[Path]:
    """Folders that may hold the files derived from a data folder, in order of preference.

    The first lies in the data folder, the second, for read-only data, in the stores (`RVOS_STORES`,
    else ~/.cache/rvos).
    """
    stores = Path(os.environ.get("RVOS_STORES") or Path.home() / ".cache" / "rvos")
    name = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]
    return [data / ".rvos_index", stores / "data_index" / name]


def writable_index_folder(data: Path) -> Path:
    """The first of `index_folders` that can be written to, made if needed.

    Raises InputError when there is none.
    """
    folders = index_folders(data)
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise InputError(
        f"no place for the index of {data}: neither {folders[0]} nor {folders[1]} "
        "can be written; set RVOS_STORES to a folder that can"
    )


class MaskIndex:
    """Reads masks by annotation id and frame index. Cheap to pickle: workers open it themselves."""

    def __init__(self, folder: Path):
        self.folder = folder
        content = read_json(folder / "tracks.json")
        self.sha256: str = content["sha256"]  # of mask_dict.json, unpacked
        self._starts: dict[str, tuple[int, int, list[int]]] = {
            i: (start, count, size) for i, start, count, size in content["tracks"]
        }
        self._irregular: dict[str, Any] = content["irregular"]
        self._order: list[str] = content["order"]
        self._offsets = np.load(folder / "offsets.npy", mmap_mode="r")
        self._file: int | None = None

    def __contains__(self, annotation_id: str) -> bool:
        return annotation_id in self._starts or annotation_id in self._irregular

    def __iter__(self):
        return iter(self._order)

    def track(self, annotation_id: str) -> Any:
        """One annotation's masks per frame, as in the file."""
        if annotation_id in self._irregular:
            return self._irregular[annotation_id]
        start, count, size = self._starts[annotation_id]
        offsets = self._offsets[start : start + count + 1]
        text = self._read(int(offsets[0]), int(offsets[-1]))
        bounds = (offsets - offsets[0]).tolist()
        return [
            {"size": list(size), "counts": text[a:b]} if b > a else None
            for a, b in zip(bounds, bounds[1:], strict=False)
        ]

    def mask(self, annotation_id: str, frame_idx: int) -> Mask:
        """One annotation's mask in one frame. Raises IndexError beyond the track's end."""
        if annotation_id in self._irregular:
            return self._irregular[annotation_id][frame_idx]
        start, count, size = self._starts[annotation_id]
        if not 0 <= frame_idx < count:
            raise IndexError(f"annotation {annotation_id} has {count} masks, asked for {frame_idx}")
        a, b = (int(n) for n in self._offsets[start + frame_idx : start + frame_idx + 2])
        return {"size": list(size), "counts": self._read(a, b)} if b > a else None

    def size(self, annotation_id: str) -> tuple[int, int] | None:
        """(height, width) of a track's masks; None if it has none or is malformed."""
        entry = self._starts.get(annotation_id)
        return (entry[2][0], entry[2][1]) if entry and entry[2] else None

    def length(self, annotation_id: str) -> int | None:
        """Number of masks of a track; None if it is malformed."""
        entry = self._starts.get(annotation_id)
        return entry[1] if entry else None

    def _read(self, start: int, stop: int) -> str:
        if self._file is None:
            # Not a memory map: its touched pages would count as every worker's own memory.
            self._file = os.open(self.folder / "counts.bin", os.O_RDONLY)
        return os.pread(self._file, stop - start, start).decode("ascii")

    def __reduce__(self):
        return MaskIndex, (self.folder,)

    def __del__(self):
        file = getattr(self, "_file", None)
        if file is not None:
            os.close(file)


def _build(source: Path, key: dict[str, Any], folder: Path) -> None:
    """Write the index files of `source` into `folder`."""
    tracks: list[tuple[str, int, int, list[int]]] = []
    irregular: dict[str, Any] = {}
    order: list[str] = []
    lengths: list[int] = []
    with open(folder / "counts.bin", "wb") as file:
        for annotation_id, value in stream_json(source):
            order.append(annotation_id)
            counts, size = _regular(value)
            if counts is None:
                irregular[annotation_id] = value
                continue
            tracks.append((annotation_id, len(lengths), len(counts), size))
            lengths.extend(len(text) for text in counts)
            file.write("".join(counts).encode("ascii"))
    np.save(folder / "offsets.npy", np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))
    write_json(
        folder / "tracks.json",
        {
            "source": key,
            "sha256": unpacked_sha256(source),
            "tracks": tracks,
            "irregular": irregular,
            "order": order,
        },
    )


def _regular(value: Any) -> tuple[list[str] | None, list[int]]:
    """RLE strings per frame ("" where absent) and their one size; None if a mask is malformed.

    Masks are checked here, so that readers need not: pycocotools does not.
    """
    if not isinstance(value, list):
        return None, []
    sizes = [mask["size"] for mask in value if isinstance(mask, dict) and "size" in mask]
    size = sizes[0] if sizes else []
    if canonical_track(value, size or None) is None:
        return None, []
    return [mask["counts"] if mask is not None else "" for mask in value], size


def _replace(building: Path, folder: Path) -> None:
    """Put a finished index in place; another process may have been faster."""
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
    try:
        with suppress(OSError):  # some mounted drives have no permissions
            os.chmod(building, 0o755)
        os.rename(building, folder)
    except OSError:
        if not (folder / "tracks.json").is_file():
            raise
