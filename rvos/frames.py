"""Video -> frames: the one place that decodes pixels.

A video is a folder of JPEGs in the order of given frame names, or a file that PyAV reads. Frames
are (H, W, 3) uint8 RGB arrays, streamed: memory does not grow with the length of the video.
`DecodedFrames` gives random access on top, and still decodes every frame only once.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvos import InputError, list_problems
from rvos.stores import file_sha256

Frame = NDArray[np.uint8]  # (H, W, 3) RGB

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class FrameError(InputError):
    """A video or frame that is missing or cannot be decoded; the message names file and frame."""


class Frames(Protocol):
    """What every source of frames offers. Iterating decodes each frame once, in order."""

    source: str  # what to name in messages
    names: tuple[str, ...]  # frame names in their order; names are not numbers
    size: tuple[int, int]  # height, width in pixels
    fps: float | None  # frames per second, where the source says

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Frame]: ...


def open_frames(path: Path | str, names: Sequence[str] | None = None) -> Frames:
    """A folder of images (`FrameFolder`) or a video file (`VideoFile`).

    Raises FrameError when nothing of the kind is there.
    """
    path = Path(path)
    if path.is_dir():
        return FrameFolder(path, names)
    if path.is_file():
        return VideoFile(path)
    raise FrameError(f"{path}: no such video file or folder of frames")


class FrameFolder:
    """`<folder>/<name>.jpg` for each of `names`; without names all images, sorted by file name.

    Pixels are those of Pillow's decoder, as the official MUTR and MeViS loaders see them; like
    there an EXIF orientation is not applied. Raises FrameError listing all files that are missing.
    """

    fps: float | None = None

    def __init__(self, folder: Path | str, names: Sequence[str] | None = None):
        self.folder = Path(folder)
        self.source = str(self.folder)
        if not self.folder.is_dir():
            raise FrameError(f"{self.folder}: no such folder of frames")
        if names is None:
            self._files = sorted(
                p for p in self.folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES
            )
        else:
            self._files = [self.folder / f"{name}.jpg" for name in names]
            missing = [file.name for file in self._files if not file.is_file()]
            if missing:
                raise FrameError(list_problems(f"{self.folder}: missing frames", missing))
        if not self._files:
            raise FrameError(f"{self.folder}: no frames; expected {' or '.join(IMAGE_SUFFIXES)}")
        self.names = tuple(file.stem for file in self._files) if names is None else tuple(names)
        with _open_image(self._files[0]) as image:
            self.size = (image.height, image.width)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Frame]:
        for file in self._files:
            frame = _read_image(file)
            _check_size(frame, self.size, str(file))
            yield frame


class VideoFile:
    """The first video stream of a file, decoded by PyAV; frame names are 00000, 00001, ...

    The display rotation that phones record is applied. Frames are counted by reading the packets,
    not trusted from the header. Raises FrameError when the file is no video or breaks off.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.source = str(self.path)
        with _open_video(self.path) as container:
            stream = container.streams.video[0]
            self.fps = float(stream.average_rate) if stream.average_rate else None
            num_frames = sum(
                1 for packet in container.demux(stream) if packet.size and not packet.is_discard
            )
        self.names = tuple(f"{frame_idx:05d}" for frame_idx in range(num_frames))
        self.size = next(self._decode(), np.zeros((0, 0, 3), np.uint8)).shape[:2]
        if not num_frames or not all(self.size):
            raise FrameError(f"{self.path}: no frame can be decoded")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        for frame in self._decode():
            _check_size(frame, self.size, f"{self.path}, frame {count}")
            if count == len(self):
                break
            yield frame
            count += 1
        if count < len(self):
            raise FrameError(
                f"{self.path}: frame {count} cannot be decoded; the file announces "
                f"{len(self)} frames and may be cut off"
            )

    def _decode(self) -> Iterator[Frame]:
        import av

        with _open_video(self.path) as container:
            container.streams.video[0].thread_type = "AUTO"
            try:
                for frame in container.decode(video=0):
                    pixels = frame.to_ndarray(format="rgb24")
                    quarter_turns = round(getattr(frame, "rotation", 0) / 90)
                    yield np.ascontiguousarray(np.rot90(pixels, quarter_turns))
            except av.error.FFmpegError as error:
                raise FrameError(f"{self.path}: cannot be decoded: {error}") from None


class DecodedFrames:
    """Random access to a source's frames, each decoded once, at constant memory.

    Asking for a frame decodes the source up to it and keeps the raw pixels in an unnamed temporary
    file (in $TMPDIR; 3 bytes per pixel: 200 frames of 1080p are 1.2 GB), which the context
    manager or `close` removes.

        with DecodedFrames(open_frames(path)) as frames:
            frames[7]  # (H, W, 3) uint8 RGB
    """

    def __init__(self, source: Frames):
        self.frames = source
        self.source, self.names, self.size, self.fps = (
            source.source,
            source.names,
            source.size,
            source.fps,
        )
        self._file = tempfile.TemporaryFile(prefix="rvos-frames-")  # noqa: SIM115
        self._reader = iter(source)
        self._num_decoded = 0

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, frame_idx: int) -> Frame:
        """Frame `frame_idx`, 0 <= frame_idx < len, a fresh array. Raises IndexError, FrameError."""
        if not 0 <= frame_idx < len(self):
            raise IndexError(f"{self.source}: frame {frame_idx} of {len(self)}")
        shape = (*self.size, 3)
        num_bytes = int(np.prod(shape))
        while self._num_decoded <= frame_idx:
            frame = next(self._reader)
            self._file.seek(self._num_decoded * num_bytes)
            self._file.write(frame.tobytes())
            self._num_decoded += 1
            if self._num_decoded > frame_idx:
                return frame
        self._file.flush()
        data = bytearray(num_bytes)
        read = os.preadv(self._file.fileno(), [data], frame_idx * num_bytes)
        assert read == num_bytes, f"short read of frame {frame_idx}"
        return np.frombuffer(data, np.uint8).reshape(shape)

    def __iter__(self) -> Iterator[Frame]:
        return (self[frame_idx] for frame_idx in range(len(self)))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "DecodedFrames":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _open_image(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except (OSError, SyntaxError) as error:
        raise FrameError(f"{file}: cannot be read as an image: {error}") from None


def _read_image(file: Path) -> Frame:
    with _open_image(file) as image:
        try:
            return np.array(image.convert("RGB"))  # (H, W, 3)
        except (OSError, SyntaxError) as error:
            raise FrameError(f"{file}: cannot be decoded: {error}") from None


def _open_video(path: Path) -> Any:
    try:
        import av
    except ImportError:
        raise InputError(
            f"{path}: reading a video file needs PyAV: pip install 'rvos[models]'"
        ) from None
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise FrameError(f"{path}: cannot be opened as a video: {error}") from None
    if not container.streams.video:
        container.close()
        raise FrameError(f"{path}: has no video stream")
    return container


def _check_size(frame: Frame, size: tuple[int, int], where: str) -> None:
    if frame.shape[:2] != size:
        raise FrameError(
            f"{where}: expected {size[0]} x {size[1]} pixels (height x width) as in "
            f"the first frame, got {frame.shape[0]} x {frame.shape[1]}"
        )


def fingerprint(path: Path) -> str:
    """SHA-256 that tells two videos apart: of a file's bytes, of a folder's names and sizes."""
    if path.is_file():
        return file_sha256(path)
    lines = [f"{p.name} {p.stat().st_size}" for p in sorted(path.iterdir())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
