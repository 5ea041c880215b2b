"""Files of masks and settings: JSON, texts and pictures read; all written whole or not at all."""

import errno
import gzip
import hashlib
import json
import logging
import os
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import ijson
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvos.errors import FileError, list_problems

# What Pillow raises for damaged images, and zipfile for damaged archives.
IMAGE_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
ZIP_ERRORS = (
    *(zipfile.BadZipFile, OSError, EOFError, ValueError, zlib.error),
    RuntimeError,  # encrypted, or packed in a way that Python does not know
)
ZIP_BEGINS = 315_705_600 * 10**9  # ns; 3 January 1980, since its times are local
_NO_JSON = ("not valid JSON", ValueError, ijson.JSONError, EOFError, zlib.error, RecursionError)
NO_UTF8 = "cannot be read as text. Save it as UTF-8"
_INVALID = "invalid bytes in UTF8"  # what ijson says of it, with bytes that are no text
_DEEPEST = 100  # levels of a JSON file; those that rvos knows have ten at most
_BRACKETS = bytes.maketrans(b"[{]}", b"\1\1\xff\xff")  # as int8: a level more, a level less
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_NOT_IN_FAT = set('\\:*?"<>|')
_told_of_alpha: set[Path] = set()  # trees of images: one warning each
log = logging.getLogger(__name__)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content. Raises FileError."""
    with reading(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpacked_sha256(path: Path) -> str:
    """Hex SHA-256 of the text of a .json or .json.gz file. Raises FileError."""
    with reading(path, "cannot be read", EOFError, zlib.error), open_json(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading(path: Path, said: str = "", *errors: type[Exception]) -> Iterator[None]:
    """What a file of wrong content or without access raises becomes a FileError with its path.

    `errors` are those of a wrong content, and `said` is what to say of it.
    """
    try:
        if path.is_fifo() and path.parts[1:2] != ("dev",):  # else a shell's
            raise FileError(f"{path}: a pipe, which may never end; expected a file")
        yield
    except FileError:
        raise
    except errors as error:
        no_utf8 = isinstance(error, UnicodeError) or _INVALID in str(error)
        reason = _INVALID if _INVALID in str(error) else " ".join(str(error).split())
        told = pointer(path) or f"{NO_UTF8 if no_utf8 else said}: {reason}"
        raise FileError(f"{path}: {told}") from None
    except OSError as error:
        told = pointer(path) or f"cannot be read: {error.strerror or error}"
        raise FileError(f"{path}: {told}") from None


def pointer(path: Any) -> str:
    """What a file is that only says where its content lies, by its first bytes; "" for others."""
    with suppress(OSError), path.open("rb") as file:
        begin = file.read(64)
        if begin.startswith(b"version https://git-lfs"):
            return "a pointer of Git LFS: fetch the file itself with `git lfs pull`"
        if b"annex/objects/" in begin:
            return "a pointer of git-annex: fetch the file itself with `git annex get`"
    return ""


def file_stamp(path: Path) -> list[int]:
    """[size in bytes, time of the last change in ns]: another where a file was written anew."""
    stat = path.stat()
    return [stat.st_size, changed_ns(stat)]


def changed_ns(stat: os.stat_result) -> int:
    """When the content of a file changed, in ns; where no archive kept that, when the file did.

    Archives that always come out the same give each file the time 0 or ZIP's first, 1980.
    """
    return stat.st_mtime_ns if stat.st_mtime_ns > ZIP_BEGINS else stat.st_ctime_ns


def files_below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All files below a folder in order; of linked folders too, but for links to one above."""
    if (here := os.path.realpath(folder)) in above:
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from files_below(Path(entry.path), above | {here})
        elif entry.is_file():  # editors leave dead links
            yield Path(entry.path)


def damaged_part(path: Path) -> str | None:
    """The first part of a zip file (PyTorch's checkpoints are such) whose checksum is wrong.

    None if all are right, and for a file that is no zip: who reads it says what is wrong with it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except (zipfile.BadZipFile, OSError):
        return None
    except ZIP_ERRORS as error:
        return str(error)


def read_json(path: Path) -> Any:
    """A .json or .json.gz file. A key that occurs twice in an object is an error."""
    with reading(path, *_NO_JSON), open_json(path) as file:
        return parse_json(file.read())


def parse_json(text: str | bytes) -> Any:
    """What a text in JSON says. Raises ValueError where it is none, too deep, or has keys twice."""
    _Nesting().check(text.encode() if isinstance(text, str) else text)
    return json.loads(text, object_pairs_hook=_dict_without_duplicates)


def stream_json(path: Path) -> Iterator[tuple[str, Any]]:
    """(key, value) of the top-level object of a .json or .json.gz file, one value in memory."""
    twice: list[str] = []  # noted, since ijson's C code takes no exception from a dict

    class StrictDict(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            if key in self:
                twice.append(key)
            super().__setitem__(key, value)

    with reading(path, *_NO_JSON), open_json(path) as file:
        seen: set[str] = set()
        bounded = _Bounded(file)
        for key, value in ijson.kvitems(bounded, "", use_float=True, map_type=StrictDict):
            if key in seen or twice:
                raise _twice([*twice, key][0])
            seen.add(key)
            yield key, value


class _Nesting:
    """How deep the brackets of a JSON text nest, which is given piece by piece.

    A parser's memory and stack grow with the depth: 100 kB of brackets would take ijson gigabytes.
    """

    def __init__(self) -> None:
        self._depth, self._open = 0, b""

    def check(self, data: bytes) -> None:
        """Raise ValueError where the next piece of the text goes deeper than any file does."""
        for start in range(0, len(data), 2**16):
            self._check(data[start : start + 2**16])

    def _check(self, piece: bytes) -> None:
        piece = _TEXT.sub(b"", self._open + piece)
        outside, quote, text = piece.partition(b'"')  # of a text that goes on in the next piece
        self._open = quote + text[len(text.rstrip(b"\\")) :]
        steps = np.frombuffer(outside.translate(_BRACKETS, _NO_BRACKETS), np.int8)
        depths = self._depth + np.cumsum(steps, dtype=np.int64)
        if depths.size and depths.max() > _DEEPEST:
            raise ValueError(f"it has more than {_DEEPEST} objects or lists in each other")
        self._depth = int(depths[-1]) if depths.size else self._depth


class _Bounded:
    """A file of JSON whose nesting is checked before its reader sees it."""

    def __init__(self, file: BufferedIOBase):
        self._file, self._nesting = file, _Nesting()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._nesting.check(data)
        return data


def open_json(path: Path) -> BufferedIOBase:
    """Binary reader of a .json or .json.gz file as UTF-8, whichever UTF the file is in.

    Its first characters tell, with a byte order mark or without (RFC 4627, section 3).
    """
    file: Any = gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")
    encoding = json.detect_encoding(file.read(4))
    file.seek(3 if encoding == "utf-8-sig" else 0)
    if encoding in ("utf-8", "utf-8-sig"):
        return file
    with file:
        return BytesIO(file.read().decode(encoding).encode())


def read_text(path: Path) -> str:
    """A text file in UTF-8, or in the encoding that its byte order mark names. Raises FileError."""
    with reading(path, NO_UTF8, ValueError):
        data = path.read_bytes()
        if told := pointer(path):
            raise FileError(f"{path}: {told}")
        marked = json.detect_encoding(data)
        text = data.decode(marked if marked in ("utf-8-sig", "utf-16", "utf-32") else "utf-8")
        text = text.replace("\ufeff", "")  # marks of files that were joined
        if "\0" in text:
            raise ValueError("it has NUL characters, as UTF-16 without a mark or a binary file has")
    return text


def split_lines(text: str) -> list[str]:
    r"""The lines of a text, which end with \n, \r\n or \r and with nothing else.

    `str.splitlines` also parts at U+2028, U+0085 and others, which sentences may hold.
    """
    return re.split(r"\r\n|\r|\n", text)


def find_json(path: Path) -> Path | None:
    """`path`, a name ending in .json, or the .json.gz beside it; None if neither exists."""
    return next(filter(Path.is_file, (path, path.with_name(path.name + ".gz"))), None)


def write_json(path: Path, value: Any) -> None:
    """Write .json or .json.gz atomically; the same value always gives the same bytes.

    An object is written item by item: memory holds the text of one.
    """
    with whole_or_not_at_all(path) as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as zipped:
                zipped.writelines(_json_pieces(value))
        else:
            file.writelines(_json_pieces(value))


def _json_pieces(value: Any) -> Iterator[bytes]:
    encode_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        yield encode_json(value).encode()
        return
    yield b"{"
    for i, (key, item) in enumerate(value.items()):
        yield f"{',' if i else ''}{encode_json(key)}:{encode_json(item)}".encode()
    yield b"}"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it exists whole or not at all."""
    with whole_or_not_at_all(path) as file:
        file.write(data)


@contextmanager
def whole_or_not_at_all(path: Path) -> Iterator[BinaryIO]:
    """A file that appears at `path` when the block ends well, and not at all otherwise.

    An OSError (a full disk, somebody else's folder, a name that is too long) has the path's name.
    """
    with naming(path):
        if _is_stream(path):
            with open(path, "wb") as file:
                yield file
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with suppress(OSError):  # some mounted drives have no permissions
                os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def _is_stream(path: Path) -> bool:
    """Whether it takes bytes as /dev/stdout, /dev/null and a shell's >(...) do: never replaced."""
    return str(path.parent) in ("/dev", "/dev/fd") or path.is_fifo() or path.is_char_device()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError of the block is raised with `path` as the file that it is about."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        reason = os.strerror(error.errno)
        if error.errno in (errno.EINVAL, errno.ENOENT) and (marks := set(path.name) & _NOT_IN_FAT):
            reason += f"; exFAT, NTFS and shared drives take no {' '.join(sorted(marks))} in a name"
        raise OSError(error.errno, reason, str(path)) from None


def read_pixels(path: Path) -> NDArray[np.bool_]:
    """(H, W) bool of a mask image: every pixel whose value is not zero.

    Of a palette image the colour's grey value counts, not its index, as for MeViS' script
    (tools/eval_mevis.py reads with OpenCV as grey). Transparency does not count.
    """
    with reading(path, "cannot be read as an image", *IMAGE_ERRORS), sound_image(path) as image:
        pixels = np.asarray(image.convert("L") if image.mode == "P" else image)
        has_alpha = image.mode in ("LA", "RGBA")
    if has_alpha:  # (H, W, C + 1) -> (H, W, C)
        pixels, alpha, tree = pixels[..., :-1], pixels[..., -1], path.parent.parent.parent
        if np.ptp(alpha) and not np.ptp(pixels) and tree not in _told_of_alpha:
            _told_of_alpha.add(tree)
            log.warning("%s: the mask seems to be in the alpha channel, which is ignored", path)
    return np.asarray(pixels.any(-1) if pixels.ndim == 3 else pixels != 0)


def read_numbers(path: Path) -> NDArray[np.uint8]:
    """(H, W) uint8 object numbers of a palette or grey picture. Raises FileError."""
    with reading(path, "cannot be read as an image", *IMAGE_ERRORS), sound_image(path) as image:
        if image.mode not in ("P", "L", "1"):
            raise FileError(
                f"{path}: expected a palette or grey picture of numbers, got mode {image.mode}; "
                "0 is background, 1 the first object"
            )
        return np.asarray(image, np.uint8)


def sound_image(path: Path) -> Image.Image:
    """An image whose checksums, which decoding ignores, are right. Raises IMAGE_ERRORS."""
    with Image.open(path) as image:
        image.verify()
    image = Image.open(path)
    check_single(image)
    return image


@cache
def image_suffixes() -> frozenset[str]:
    """What Pillow reads, such as .jpg; its MPEG reader knows only the size."""
    formats = Image.registered_extensions().items()
    read = Image.OPEN.keys() - {"MPEG"} | {"MPO"}  # the last by the reader of JPEG
    return frozenset(suffix for suffix, name in formats if name in read)


def other_pictures(folder: Path, frames: Collection[str]) -> str:
    """What is wrong with a folder of masks where frames have a picture, but no .png to read."""
    wanted = set(frames)
    others = [
        path.name
        for path in sorted(folder.iterdir() if folder.is_dir() else ())
        if path.stem in wanted and path.suffix.lower() in image_suffixes()
        if not (folder / f"{path.stem}.png").is_file()
    ]
    return list_problems(f"{folder}: masks that are no .png", others) if others else ""


def check_single(image: Image.Image) -> None:
    """Raise ValueError for a file of several pictures (a TIFF stack, an animation).

    A camera's MPO is one picture: those behind the first are previews.
    """
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format != "MPO":
        raise ValueError(
            f"it has {count} pictures, expected one. ImageMagick makes a file of each: "
            "magick FILE frame_%05d.png"
        )


def _twice(key: str) -> ValueError:
    return ValueError(f"key {key!r} occurs twice in one object")


def _dict_without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _twice(next(key for key in keys if keys.count(key) > 1))
    return result
