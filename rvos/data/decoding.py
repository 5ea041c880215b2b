"""Image and video files -> RGB pixels of 8 bits, the right way up; what decodes of a damaged file.

Every function raises FrameError for a file that cannot be read.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress

from rvos.data.archive import FilePath
from rvos.errors import InputError
from rvos.masks.files import IMAGE_ERRORS, check_single, pointer

Frame = NDArray[np.uint8]  # (H, W, 3) RGB
Size = tuple[int, int]  # height, width in pixels
AnyFile = TypeVar("AnyFile", bound=FilePath)
T = TypeVar("T")
Stamp = tuple[AnyFile, int, int]  # file, time of change, bytes: what a file held then

# (a, b, c, d): the pixel at (x, y) is shown at (a x + c y, b x + d y); x is right, y is down.
Turn = tuple[float, float, float, float]
ORIENTATION = 0x0112  # Exif 2.32 (CIPA DC-008), 4.6.4
EXIF_TURNS: dict[int, Turn] = {
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
UPRIGHT: Turn = (1, 0, 0, 1)
LONG = 2000  # frames: a film of more gets a progress bar
THREADS = 4  # of a decoder: how many frames it loses at damage follows from it, on any machine

log = logging.getLogger(__name__)


class FrameError(InputError):
    """A video or frame that is missing or cannot be decoded; the message names file and frame."""


def turn(pixels: Frame, shown: Turn) -> Frame:
    """Pixels as they are shown, to the nearest of the eight ways to turn and mirror a picture."""
    a, b, c, d = shown
    across, down = a, d
    if abs(b) > abs(a):
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


def stamp(file: AnyFile) -> Stamp[AnyFile]:
    """What is different once the file has changed."""
    stat = file.stat()
    return file, stat.st_mtime_ns, stat.st_size


# -------------------------------------------------------------------------------------- images


def read_image(file: FilePath, *, at_least: Size | None = None, upright: bool = False) -> Frame:
    """(H, W, 3) uint8 RGB of an image file; transparency is left out.

    `at_least` (height, width): a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size where that is
    still as large. `upright` applies the EXIF orientation. Raises FrameError.
    """
    with _open_image(file) as image:
        try:
            if at_least is not None:
                image.draft("RGB", at_least[::-1])
            pixels = np.array(image.convert("RGB"))
            return turn(pixels, _shown(image)) if upright else pixels
        except IMAGE_ERRORS as error:
            raise FrameError(f"{file}: cannot be decoded: {error}") from None


def image_size(file: FilePath, *, upright: bool = False) -> Size:
    """(height, width) in pixels of an image file, from its header. Raises FrameError."""
    with _open_image(file) as image:
        size = image.height, image.width
        try:
            return size[::-1] if upright and not _shown(image)[0] else size
        except IMAGE_ERRORS as error:
            raise FrameError(f"{file}: cannot be decoded: {error}") from None


def _shown(image: Image.Image) -> Turn:
    return EXIF_TURNS.get(image.getexif().get(ORIENTATION, 1), UPRIGHT)


def _open_image(file: FilePath) -> Image.Image:
    try:
        image = Image.open(file if isinstance(file, Path) else file.open("rb"))
        check_single(image)
    except IMAGE_ERRORS as error:
        raise FrameError(
            f"{file}: {pointer(file) or f'cannot be read as an image: {error}'}"
        ) from None
    is_16 = bool(image.tile) and ";16" in str(image.tile[0][3])  # the raw mode: I;16B, RGB;16B, ...
    if is_16 or image.mode in ("I", "F"):
        bits = 16 if is_16 else 32
        raise FrameError(
            f"{file}: has {bits} bits per channel; rvos reads 8: mogrify -depth 8 *.png"
        )
    return image


# ------------------------------------------------------------------------------------- videos


@dataclass(frozen=True)
class VideoContents:
    """What decodes of a video file, and how."""

    num_frames: int
    size: Size  # as shown
    fps: float | None
    stream: int


def video_contents(path: Path, at_most: int | None = None) -> VideoContents:
    """What decodes of the file; a warning says what does not. Raises FrameError if nothing does.

    A process decodes the file once for this, or its first `at_most` frames: neither the header nor
    the number of packets tells how many frames the decoder gives.
    """
    return _contents(stamp(path), at_most)


def decode_video(path: Path, contents: VideoContents) -> Iterator[Frame]:
    """The frames that `contents` counts, as they are shown."""
    with _open_video(path) as container:
        stream = container.streams[contents.stream]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = THREADS
        for _, frames in _decode(_packets(container, stream), stream):
            for frame in frames or ():
                yield turn(frame.to_ndarray(format="rgb24"), _display(frame))


@lru_cache(maxsize=64)
def _contents(stamp: Stamp[Path], at_most: int | None) -> VideoContents:
    path = stamp[0]
    stream = _main_stream(path)
    scan = _scan(path, stream, at_most)
    if scan.num_frames < 2:  # FFmpeg reads the first picture of a TIFF stack, none of a WebP film
        _check_single(path)
    if not scan.num_frames:
        raise FrameError(f"{path}: no frame can be decoded")
    if losses := scan.losses():
        log.warning("%s: %d frames are read; %s", path, scan.num_frames, "; ".join(losses))
    return VideoContents(scan.num_frames, scan.size, scan.fps(), stream)


@dataclass
class _Scan:
    """What one pass through a video file finds. Times are in seconds."""

    num_frames: int = 0
    num_damaged: int = 0  # frames that the decoder completed from others
    num_lost: int = 0  # packets before the first key packet, and those that are refused
    size: Size = (0, 0)
    frames: list[float] = field(default_factory=list)  # times, where the container has them
    end: float = 0  # of the last packet of any stream
    announced_end: float | None = None
    announced_fps: float | None = None
    tick: float = 0  # of the stream's clock
    cut: bool = False  # all frames that are asked for were there, and no more were looked at

    @property
    def step(self) -> float:
        """The usual time from frame to frame, 0 where unknown."""
        steps = np.diff(self.frames)
        return float(np.median(steps[steps > 0])) if (steps > 0).any() else 0

    def fps(self) -> float | None:
        """The announced rate where time stamps agree, else theirs without pauses and jumps."""
        announced, step = self.announced_fps, self.step
        if not step or (announced and abs(1 / announced - step) <= 0.5 * self.tick + 0.02 * step):
            return announced
        steps = np.diff(self.frames)
        return float(1 / steps[(steps > 0) & (steps < 10 * step)].mean())

    def losses(self) -> list[str]:
        """What is missing."""
        losses = []
        if self.num_lost:
            losses.append(f"packets that do not decode: {self.num_lost}")
        if self.num_damaged:
            losses.append(f"frames that decode with damage: {self.num_damaged}")
        if self.announced_end and self.frames and not self.cut:
            if abs(self.announced_end - self.end) > max(2 * self.step, 0.1):
                losses.append(
                    f"the file announces {self.announced_end:.2f} s and ends at {self.end:.2f} s"
                )
        return losses


def _scan(path: Path, index: int, at_most: int | None) -> _Scan:
    scan = _Scan()
    with _open_video(path) as container:
        stream = container.streams[index]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = THREADS
        scan.tick = float(stream.time_base)
        scan.announced_fps = float(stream.average_rate) if stream.average_rate else None
        if container.duration:
            scan.announced_end = ((container.start_time or 0) + container.duration) / 1e6
        steps = _with_progress(_decode(_packets(container), stream), path, scan, at_most)
        for packet, frames in steps:
            time = None if packet.pts is None else float(packet.pts * packet.time_base)
            if packet.size and not packet.is_discard and time is not None:
                scan.end = max(scan.end, time + float((packet.duration or 0) * packet.time_base))
            scan.num_lost += frames is None
            for frame in (frames or ())[: None if at_most is None else at_most - scan.num_frames]:
                if not scan.num_frames:
                    a, b, _, _ = _display(frame)
                    size = frame.height, frame.width
                    scan.size = size[::-1] if abs(b) > abs(a) else size
                scan.num_frames += 1
                scan.num_damaged += frame.is_corrupt
                scan.frames += [] if frame.pts is None else [float(frame.pts * frame.time_base)]
            if scan.num_frames == at_most:
                scan.cut = True
                break
    return scan


def _with_progress(steps: Iterator[T], path: Path, scan: _Scan, at_most: int | None) -> Iterator[T]:
    """The same, with a progress bar where that takes long."""
    seconds = scan.announced_end or 0
    total = at_most or int(seconds * (scan.announced_fps or 0)) or None
    if total is not None and total < LONG:
        yield from steps
        return
    with Progress(transient=True) as progress:
        task = progress.add_task(f"Reading {path.name}", total=total)
        for step in steps:
            yield step
            progress.update(task, completed=scan.num_frames)


def _packets(container: Any, *streams: Any) -> Iterator[Any]:
    """The packets of these streams, or of all, up to where the file ends or breaks off."""
    import av

    with suppress(av.error.FFmpegError):
        yield from container.demux(*streams)


def _decode(packets: Iterator[Any], stream: Any) -> Iterator[tuple[Any, list[Any] | None]]:
    """Each packet with the frames that the decoder gives for it; None for a packet that is lost.

    What comes before the first key packet is not decoded: some codecs would make frames of it by
    guessing.
    """
    import av

    started = False
    for packet in packets:
        frames: list[Any] | None = []
        if packet.stream is stream:
            started = started or packet.is_keyframe
            try:
                frames = packet.decode() if started else None
            except av.error.FFmpegError:
                frames = None
        yield packet, frames


def _display(frame: Any) -> Turn:
    """How a decoded frame is shown: the 2 x 2 part of its display matrix (libavutil/display.h)."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # other side data is newer than this PyAV, which then gives the angle only
        turned = np.exp(1j * np.deg2rad(frame.rotation))  # counterclockwise
        return turned.real, -turned.imag, turned.imag, turned.real
    if data is None:
        return UPRIGHT
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    return a, b, c, d


def _check_single(path: Path) -> None:
    """Raise FrameError for an image file of several pictures, of which FFmpeg reads one."""
    try:
        Image.open(path).close()
    except IMAGE_ERRORS:  # a film of one frame
        return
    _open_image(path).close()


def _main_stream(path: Path) -> int:
    """The stream that is the video: no cover, not far shorter than another, default, large, first.

    A cover or a preview may come first, or be larger.
    """
    with _open_video(path) as container:
        from av.stream import Disposition

        covers = Disposition.attached_pic | Disposition.timed_thumbnails
        streams = [s for s in container.streams.video if s.codec_context and s.codec_context.codec]
        streams = [s for s in streams if not s.disposition & covers]
        counts = Counter({stream.index: 0 for stream in streams})
        if len(streams) > 1:
            counts.update(packet.stream_index for packet in _packets(container, streams))
        rank = {
            stream.index: (
                2 * counts[stream.index] >= max(counts.values()),
                bool(stream.disposition & Disposition.default),
                stream.codec_context.width * stream.codec_context.height,
            )
            for stream in streams
        }
    if not rank:
        raise FrameError(f"{path}: has no video stream")
    chosen = max(rank, key=lambda index: rank[index])
    films = [str(index) for index, (is_long, *_) in rank.items() if is_long]
    if len(films) > 1:
        log.warning(
            "%s: has %d videos, the streams %s; %d is read. This makes a file of another one: "
            "ffmpeg -i VIDEO -map 0:NUMBER -c copy ONE.mkv",
            *(path, len(films), ", ".join(films), chosen),
        )
    return chosen


def _open_video(path: Path) -> Any:
    try:
        import av
    except ImportError:
        raise InputError(
            f"{path}: reading a video file needs PyAV: pip install 'rvos[video]'"
        ) from None
    try:
        # A name is no address (10:30.mp4) and no pattern of several pictures (f%03d.png).
        return av.open(f"file:{path}", options={"pattern_type": "none"})
    except (av.error.FFmpegError, OSError) as error:
        told = pointer(path) or f"cannot be opened as a video: {error}"
        raise FrameError(f"{path}: {told}") from None
