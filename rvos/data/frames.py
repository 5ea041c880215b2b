"""Video -> frames: every source of frames, and the one place that resizes them.

A video is a folder of JPEGs in the order of given frame names, or a file that PyAV reads. Frames
are (H, W, 3) uint8 RGB arrays, streamed: memory does not grow with the length of the video.
`FrameCache` gives random access on top, at any size, and decodes every frame only once.
"""

import errno
import hashlib
import logging
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from PIL import Image

from rvos.data.archive import FilePath, instead_of
from rvos.data.decoding import (
    Frame,
    FrameError,
    Size,
    decode_video,
    image_size,
    read_image,
    video_contents,
)
from rvos.errors import NO_TEXT, InputError, is_text, list_problems
from rvos.masks.files import file_sha256, files_below, image_suffixes

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB of 0..1, as the backbones and SAM 2 were trained
IMAGENET_STD = (0.229, 0.224, 0.225)


class Frames(Protocol):
    """What every source of frames offers. Iterating decodes each frame once, in order."""

    source: str  # what to name in messages
    names: tuple[str, ...]  # frame names in their order; names are not numbers
    size: Size
    fps: float | None  # frames per second, where the source says

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Frame]: ...


def open_frames(path: Path | str, *, at_most: int | None = None) -> Frames:
    """A folder of images (`FrameFolder`) or a video file (`VideoFile`).

    `at_most`: only so many frames from the start are asked for; no more of a file are decoded.
    Raises FrameError when nothing of the kind is there.
    """
    address = str(path)
    path = Path(path)
    if path.is_dir():
        return FrameFolder(path)
    if path.is_file():
        return VideoFile(path, at_most)
    if re.match(r"[A-Za-z][\w+.-]+:/", address):
        raise FrameError(f"{address}: addresses are not read; download the video first")
    raise FrameError(f"{path}: no such video file or folder of frames")


class FrameFolder:
    """`<folder>/<name>.jpg` for each of `names`, or all images of a folder.

    With names, a data set's folder: pixels are those of Pillow's decoder, as the official MUTR and
    MeViS loaders see them, and like there an EXIF orientation is not applied. Without names, one's
    own: images follow the numbers in their names, and an EXIF orientation is applied, as by
    viewers. Raises FrameError listing all files that are missing.
    """

    fps: float | None = None

    def __init__(self, folder: FilePath | str, names: Sequence[str] | None = None):
        self.folder = Path(folder) if isinstance(folder, str) else folder
        self.source = str(self.folder)
        if not self.folder.is_dir():
            hint = instead_of(self.folder)
            raise FrameError(f"{self.folder}: no such folder of frames{hint}")
        self._files: Sequence[FilePath]
        if names is None:
            assert isinstance(self.folder, Path), "the frames of an archive are known by name"
            self._files = _images(self.folder)
        else:
            self._files = [self.folder / f"{name}.jpg" for name in names]
            missing = [file.name for file in self._files if not file.is_file()]
            if missing:
                raise FrameError(list_problems(f"{self.folder}: missing frames", missing))
        if not self._files:
            raise FrameError(f"{self.folder}: no frames; expected images such as .jpg or .png")
        self.names = (
            tuple(Path(file.name).stem for file in self._files) if names is None else tuple(names)
        )
        self._upright = names is None
        self.size: Size = image_size(self._files[0], upright=self._upright)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Frame]:
        for file in self._files:
            frame = read_image(file, upright=self._upright)
            _check_size(frame, self.size, str(file), _EQUAL_IMAGES if self._upright else "")
            yield frame


def _images(folder: Path) -> list[Path]:
    """The images of a folder in the order of their numbers (2 before 10); hidden files are none.

    A warning names what is left out. Raises FrameError where two images have one name (masks could
    not be told apart), for a link to nothing, and where two orders of the names make sense.
    """
    visible = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    images = [p for p in visible if is_image(p)]
    rest = {*visible} - {*images}
    if others := sorted(p.name for p in rest if not p.is_dir()):
        log.warning(list_problems(f"{folder}: files that are no frames, left out", others))
    if broken := [p.name for p in images if not p.is_file()]:
        title = (
            f"{folder}: frames that are no files, or links to nothing (not fetched by git-annex?)"
        )
        raise FrameError(list_problems(title, broken))
    if no_text := [repr(p.name) for p in images if not is_text(p.name)]:
        raise FrameError(list_problems(f"{folder}: names of frames: {NO_TEXT}", no_text))
    files = in_order(images)
    by_name = [[p.name for p in group] for _, group in groupby(files, key=lambda p: p.stem)]
    if twice := [" and ".join(names) for names in by_name if len(names) > 1]:
        title = f"{folder}: expected one image per frame; several have the same name"
        raise FrameError(list_problems(title, twice))
    return files


def is_image(path: Path) -> bool:
    """Whether the name is that of an image, and it is no folder."""
    return path.suffix.lower() in image_suffixes() and not path.is_dir()


def frames_in(folder: Path, suffix: str) -> list[str]:
    """The names of a folder's files of one kind, in the order of their numbers; none is hidden.

    A warning names other files. Raises FrameError where two orders make sense.
    """
    files = [p for p in folder.iterdir() if not p.name.startswith(".") and not p.is_dir()]
    frames = [p for p in files if p.suffix == suffix]
    if frames and (others := sorted(p.name for p in files if p.suffix != suffix)):
        log.warning(list_problems(f"{folder}: files that are no {suffix}, left out", others))
    return [p.stem for p in in_order(frames)]


def in_order(files: Sequence[Path]) -> list[Path]:
    """Files in the order of the numbers in their names: 9 before 10, 0.08 before 0.2.

    Raises FrameError where two orders make sense: "t-2" comes before "t+0" as a signed number and
    behind it as text; "1.5" is before "1.12" as two counted parts and behind it as a decimal.
    """
    by_parts = sorted(files, key=lambda file: _by_numbers(file, _COUNTED))
    signs: dict[str, set[str]] = defaultdict(set)  # by what else a name holds, and the place
    for file in files:
        series = _SIGNED.sub("#", file.stem)
        for i, number in enumerate(_SIGNED.finditer(file.stem)):
            signs[f"{series} {i}"].add(number[1])
    signed = any(re.match(r"-\d", file.stem) for file in files)
    signed |= any(of not in ({""}, {"-"}) for of in signs.values())  # "-" alone parts words
    by_value = sorted(files, key=lambda file: _by_numbers(file, _SIGNED if signed else _DECIMAL))
    if by_value == by_parts:
        return by_parts
    decimals = [re.findall(r"[.,](\d+)", " ".join(_DECIMAL.findall(file.stem))) for file in files]
    if all(decimals) and not signed:
        fractions = sum(decimals, [])
        if any(re.match(r"0\d", fraction) for fraction in fractions):  # 0.04 is no counted part
            return by_value
        if any(re.search(r"\d0$", fraction) for fraction in fractions):  # 1.10 is no decimal
            return by_parts
    first = next(i for i, file in enumerate(by_value) if file != by_parts[i])
    raise FrameError(
        f"{files[0].parent}: two orders of the frames make sense: is {by_value[first].name} or "
        f"{by_parts[first].name} frame {first}? Rename them to 00000, 00001, ..."
    )


# Three ways to read the numbers in a name. Of more than two with dots between them (a version, a
# date) none is a decimal, and an exponent stands behind no word ("s1e2" is an episode).
_COUNTED = re.compile(r"\d+")
_DECIMAL = re.compile(
    r"(?<![^\W_])(?<!\d[.,])\d+(?:[.,]\d+)?[eE][+-]?\d{1,3}(?!\w)"
    r"|(?<!\d)(?<!\d[.,])\d+[.,]\d+(?![.,]?\d)|\d+"
)
_SIGNED = re.compile(rf"((?<!\d)[+-]|)(?:{_DECIMAL.pattern})")


def _by_numbers(file: Path, number: re.Pattern[str]) -> tuple[list[tuple[int, Any, str]], str]:
    """A key that sorts what `number` finds by its value, and all else as text of either case."""
    key, end = list[tuple[int, Any, str]](), 0
    for found in number.finditer(file.stem):
        text, value = file.stem[end : found.start()], Decimal(found[0].replace(",", "."))
        key += [(1, 0, text.casefold()), (0, value, "")]
        end = found.end()
    return [*key, (1, 0, file.stem[end:].casefold())], file.name


class VideoFile:
    """The video stream of a file, decoded by PyAV; frame names are 00000, 00001, ...

    Frames are turned and mirrored as the file says that they are shown. They are what decodes of
    the file, or of its first `at_most` frames: a warning says what is missing. `fps` follows the
    time stamps where the announced rate does not. Raises FrameError when no frame decodes.
    """

    def __init__(self, path: Path | str, at_most: int | None = None):
        self.path = Path(path)
        self.source = str(self.path)
        self._contents = video_contents(self.path, at_most)
        self.size, self.fps = self._contents.size, self._contents.fps
        self.names = tuple(f"{frame_idx:05d}" for frame_idx in range(self._contents.num_frames))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        for frame in islice(decode_video(self.path, self._contents), len(self)):
            where = f"{self.path}, frame {count}"
            _check_size(frame, self.size, where, _EQUAL_SIZES)
            yield frame
            count += 1
        if count < len(self):
            raise FrameError(
                f"{self.path}: expected {len(self)} frames as when it was opened, got {count}; "
                "has the file changed?"
            )


class Thinned:
    """Every `every`-th frame of a source from the first on, at most `max_frames` of them (or all).

    Frames keep their names, and `fps` the video's speed.
    """

    def __init__(self, frames: Frames, every: int, max_frames: int | None):
        stop = None if max_frames is None else every * max_frames
        self.frames, self._kept = frames, slice(0, stop, every)
        self.source, self.size = frames.source, frames.size
        self.names = frames.names[self._kept]
        self.fps = frames.fps / every if frames.fps else frames.fps

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Frame]:
        return islice(self.frames, self._kept.start, self._kept.stop, self._kept.step)


class FrameCache:
    """Random access to a source's frames at constant memory, each decoded and resized once.

    Asking for a frame decodes the source up to it. Raw pixels are kept in an unnamed temporary file
    in $TMPDIR (3 bytes per pixel: 200 frames of 1080p are 1.2 GB), which the context manager or
    `close` removes. `size` (height, width) is what frames are resized to; None leaves them.

        with FrameCache(open_frames(path)) as frames:
            frames[7]  # (H, W, 3) uint8 RGB

    Raises FrameError as the source does, also for a video without frames, and InputError when the
    disk is full.
    """

    def __init__(self, source: Frames, size: Size | None = None):
        if not len(source):
            raise FrameError(f"{source.source}: the video has no frames")
        self.frames = source
        self.source, self.names, self.fps = source.source, source.names, source.fps
        self.original_size = source.size
        self.size = source.size if size is None else size
        # Unbuffered: what a full disk did not take is not tried again by `close`.
        self._file = tempfile.TemporaryFile(prefix="rvos-frames-", buffering=0)  # noqa: SIM115
        self._reader = iter(source)
        self._num_kept = 0

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, frame_idx: int) -> Frame:
        """Frame `frame_idx`, 0 <= frame_idx < len, a fresh array. Raises IndexError, FrameError."""
        if not 0 <= frame_idx < len(self):
            raise IndexError(f"{self.source}: frame {frame_idx} of {len(self)}")
        return self.read(range(frame_idx, frame_idx + 1))[0]

    def __iter__(self) -> Iterator[Frame]:
        return (self[frame_idx] for frame_idx in range(len(self)))

    def read(self, frame_idx: Sequence[int]) -> Frame:
        """The frames at these positions: (T, h, w, 3) uint8."""
        self.fill(max(frame_idx) + 1)
        frames = np.empty((len(frame_idx), *self.size, 3), np.uint8)
        for t, frame in zip(frame_idx, frames, strict=True):
            # Read, not mapped: mapped pages of all frames would count as memory of the process.
            read = os.preadv(self._file.fileno(), [frame.data.cast("B")], t * frame.nbytes)
            assert read == frame.nbytes, f"short read of frame {t}"
        return frames

    def fill(self, count: int | None = None) -> Self:
        """Decode the first `count` frames (None: all) where this is still to do; returns itself."""
        count = len(self) if count is None else count
        try:
            while self._num_kept < count:
                frame = resize_frame(next(self._reader), self.size)
                pixels = np.ascontiguousarray(frame).data.cast("B")
                while pixels:
                    pixels = pixels[self._file.write(pixels) :]
                self._num_kept += 1
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(
                f"{self.source}: {os.strerror(error.errno)} while keeping {len(self)} frames of "
                f"{self.size[0]} x {self.size[1]} pixels in {tempfile.gettempdir()}; set TMPDIR to "
                "a larger disk"
            ) from None
        return self

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def __enter__(self) -> "FrameCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ------------------------------------------------------------------------ size and network input


def fit(size: Size, short_side: int, max_long_side: int | None = None) -> Size:
    """Size (height, width) whose short side is `short_side`, or less if the long side has a limit.

    The long side is truncated to whole pixels, and a limited short side is rounded half to even, as
    in the method's training and inference scripts (transforms_video.py, inference_mevis.py).
    """
    short, long = min(size), max(size)
    if max_long_side is not None and long / short * short_side > max_long_side:
        short_side = round(max_long_side * short / long)
    if short == short_side:
        return size
    scaled = int(short_side * long / short)
    return (short_side, scaled) if size[0] <= size[1] else (scaled, short_side)


def resize_frame(frame: Frame, size: Size) -> Frame:
    """(H, W, 3) uint8 -> (h, w, 3) uint8, bilinear with Pillow's antialiasing."""
    if frame.shape[:2] == size:
        return frame
    return np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR))


def normalise(frames: "Tensor") -> "Tensor":
    """(..., 3, h, w) uint8 -> (..., 3, h, w) float32, ImageNet-normalised, on the same device."""
    frames = frames.float() / 255
    mean, std = frames.new_tensor(IMAGENET_MEAN), frames.new_tensor(IMAGENET_STD)  # (3,)
    return (frames - mean[:, None, None]) / std[:, None, None]


_EQUAL_SIZES = ". This makes them equal: ffmpeg -i VIDEO -vf scale={1}:{0} EQUAL.mp4"

_EQUAL_IMAGES = ". This makes all equal, in place: mogrify -resize {1}x{0}! FOLDER/*"


def _check_size(frame: Frame, size: Size, where: str, remedy: str = "") -> None:
    if frame.shape[:2] != size:
        raise FrameError(
            f"{where}: expected {size[0]} x {size[1]} pixels (height x width) as in "
            f"the first frame, got {frame.shape[0]} x {frame.shape[1]}" + remedy.format(*size)
        )


def fingerprint(path: Path, *, images: bool = False) -> str:
    """SHA-256 that tells two inputs apart: of a file, or of all files in a folder.

    Of a folder's files names and bytes count: images that are not compressed have equal sizes.
    `images`: those that are no images do not count, as in a folder of frames.
    """
    if path.is_file():
        return file_sha256(path)
    files = [p for p in files_below(path) if not images or p.parent == path and is_image(p)]
    lines = [f"{p.relative_to(path)} {file_sha256(p)}" for p in files]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
