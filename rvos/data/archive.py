"""JPEGImages.tar -> its frames, read in place: nothing is unpacked.

Opening an archive reads the headers of its members once and keeps where each frame lies in
`frames_tar.npz` among the files derived from the data (`mask_index.py`). A frame is then one read
at its place by a file descriptor of its own, so threads and processes read at the same time.
"""

import logging
import os
import re
import tarfile
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from rvos.data.mask_index import index_folders, writable_index_folder
from rvos.errors import InputError
from rvos.masks.files import changed_ns, whole_or_not_at_all

FORMAT = 1  # of the index; another number is built anew
FRAMES = "JPEGImages"  # the folder of a split's frames, and the name of its archive
PACKED = re.compile(r"\.(zip|tar|tgz|tar\.\w+)$")
_BLOCK = 512  # bytes; a header, and what contents are padded to
_PADDING = 2**20  # bytes: no tar pads its end by more (GNU tar: 10 kB)
_LONGEST = 512  # bytes of a member's name; a longer one is no frame

# What tarfile raises for damaged headers.
_TAR_ERRORS = (
    *(tarfile.TarError, OSError, ValueError),
    *(OverflowError, MemoryError, RecursionError),
)

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]  # of an archive: FORMAT, bytes, time of change in ns


@dataclass(frozen=True)
class TarPath:
    """A file or folder inside an archive, with what readers of frames use of a `Path`."""

    archive: "Archive"
    inside: str = ""  # <video>/<frame>.jpg

    def __truediv__(self, name: str) -> "TarPath":
        return TarPath(self.archive, f"{self.inside}/{name}".lstrip("/"))

    def __str__(self) -> str:
        return f"{self.archive.path}/{self.inside}"

    @property
    def name(self) -> str:
        return self.inside.rpartition("/")[2]

    @property
    def parent(self) -> "TarPath":
        return TarPath(self.archive, self.inside.rpartition("/")[0])

    def is_dir(self) -> bool:
        return self.archive.has_folder(self.inside)

    def is_file(self) -> bool:
        return self.archive.find(self.inside) is not None

    def stat(self) -> os.stat_result:
        """That of the archive."""
        return self.archive.path.stat()

    def read_bytes(self) -> bytes:
        """The file. Raises OSError if it is not there or the archive has changed."""
        return self.archive.read(self.inside)

    def open(self, mode: str = "rb") -> BytesIO:
        """The file in memory. Raises as `read_bytes`."""
        return BytesIO(self.read_bytes())


FilePath = Path | TarPath


def find_frames(folder: Path) -> FilePath:
    """Where the frames of a split's folder lie: its JPEGImages/, else its JPEGImages.tar.

    Raises InputError for an archive that is damaged or not whole.
    """
    archive = folder / f"{FRAMES}.tar"
    if (folder / FRAMES).is_dir() or not archive.is_file():
        return folder / FRAMES
    return TarPath(open_archive(archive))


def instead_of(folder: FilePath) -> str:
    """What to add to "no such folder": what lies there packed, or in another place; else nothing.

    Only an uncompressed tar of frames is read in place: the others allow no random access, or are
    not worth their code.
    """
    if isinstance(folder, TarPath):
        return ""
    for parent in (folder, folder.parent):  # the folder itself, or that of a video's frames in it
        packed = sorted(parent.parent.glob(f"{parent.name}.*")) if not parent.is_dir() else []
        if path := next((p for p in packed if PACKED.search(p.name) and p.is_file()), None):
            unpack = "unzip -q" if ".zip" in path.name else "tar -xf"
            target = "-d" if ".zip" in path.name else "-C"
            return (
                f"; {path} is there: unpack it, so that {parent.name}/ lies beside it: "
                f"{unpack} {path} {target} {path.parent}"
            )
        if (parent / parent.name).is_dir():
            return f"; {parent / parent.name} is there: move what it holds one folder up"
    return ""


class Archive:
    """An uncompressed tar and where its frames lie. Pickled as its path."""

    def __init__(self, path: Path, stamp: Stamp, index: "Index"):
        self.path, self.stamp = path, stamp
        self._names, self._places = index

    def find(self, name: str) -> tuple[int, int] | None:
        """(first byte, number of bytes) of a member; None if it is not there."""
        key = _key(name)
        at = bisect_left(self._names, key)
        if at == len(self._names) or self._names[at] != key:
            return None
        start, size = self._places[at].tolist()
        return start, size

    def has_folder(self, name: str) -> bool:
        """Whether there are files below a folder; "" is the archive itself."""
        prefix = _key(f"{name}/") if name else b""
        at = bisect_left(self._names, prefix)
        return at < len(self._names) and self._names[at].startswith(prefix)

    def read(self, name: str) -> bytes:
        """A member's content. Raises OSError if it is not there or the archive has changed."""
        place = self.find(name)
        if place is None:
            raise FileNotFoundError("no such file in the archive")
        with open(self.path, "rb", buffering=0) as file:
            if _stamp(os.fstat(file.fileno())) != self.stamp:
                raise OSError("the archive has changed since it was opened")
            return os.pread(file.fileno(), place[1], place[0])

    def __reduce__(self):
        return open_archive, (self.path,)


# Sorted names (M,) bytes, and (M, 2) int64: first byte and number of bytes of each.
Index = tuple[NDArray[np.bytes_], NDArray[np.int64]]


def open_archive(path: Path) -> Archive:
    """The frames of a tar, from its index, which is built if there is none or the tar has changed.

    Raises InputError for a file that is no tar, or is cut off, or holds no frames.
    """
    return _open(path, _stamp(path.stat()))


@lru_cache(maxsize=8)
def _open(path: Path, stamp: Stamp) -> Archive:
    for folder in index_folders(path.parent):
        if (index := _kept(folder / "frames_tar.npz", stamp)) is not None:
            return Archive(path, stamp, index)
    log.info("%s: its headers are read, once", path)
    names, places = index = _read_headers(path, size=stamp[1])
    with whole_or_not_at_all(writable_index_folder(path.parent) / "frames_tar.npz") as file:
        np.savez(file, stamp=np.array(stamp), names=names, places=places)
    return Archive(path, stamp, index)


def _kept(file: Path, stamp: Stamp) -> Index | None:
    """An index; None if there is none, if it is damaged or of another archive."""
    try:
        with np.load(file) as arrays:  # runs no code from a file
            fits = arrays["stamp"].tolist() == list(stamp)
            return (arrays["names"], arrays["places"]) if fits else None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _read_headers(path: Path, size: int) -> Index:
    """The frames among the members. Of several with one name the last counts, as in unpacking."""
    places: dict[bytes, tuple[int, int]] = {}
    first = ""
    advice = "download it again, or unpack it yourself into a folder beside it"
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                if tar.offset <= member.offset:
                    raise tarfile.ReadError(f"bad header at byte {member.offset}")
                first = first or member.name
                name = _key(_frame_name(member.name))
                if name and len(name) <= _LONGEST and member.isreg() and not member.issparse():
                    places[name] = member.offset_data, member.size
            end = tar.offset
        with open(path, "rb") as file:
            closed = os.pread(file.fileno(), _BLOCK, end) == bytes(_BLOCK)
    except _TAR_ERRORS as error:
        raise InputError(f"{path}: cannot be read as a tar archive: {error}; {advice}") from None
    if not closed or size - end > _PADDING:
        raise InputError(
            f"{path}: not a whole tar archive, its members break off at byte {end} of {size}; "
            f"{advice}"
        )
    if not places:
        holds = f"the first member is {first!r}" if first else "it is empty"
        raise InputError(f"{path}: expected [{FRAMES}/]<video>/<frame>.jpg in it; {holds}")
    names = sorted(places)
    return np.array(names), np.array([places[name] for name in names], np.int64)


def _frame_name(name: str) -> str:
    """`<video>/<frame>.jpg` of a member; empty for one that is no frame or leaves its folder."""
    parts = [part for part in name.split("/") if part != "."]
    if "" in parts or ".." in parts:
        return ""
    if FRAMES in parts:
        parts = parts[parts.index(FRAMES) + 1 :]  # names of videos may have folders in them
    elif len(parts) != 2:
        return ""
    is_frame = len(parts) > 1 and parts[-1].endswith(".jpg") and not parts[-1].startswith("._")
    return "/".join(parts) if is_frame else ""


def _key(name: str) -> bytes:
    return name.encode(errors="surrogatepass")


def _stamp(stat: os.stat_result) -> Stamp:
    return FORMAT, stat.st_size, changed_ns(stat)
