"""Frames of one video with the numbered outlines of its masklets, as JPEG."""

from collections.abc import Collection, Sequence
from functools import cached_property

from rvos.data.archive import FilePath
from rvos.data.frames import FrameCache
from rvos.data.split import OwnSplit, Split, Video
from rvos.errors import InputError
from rvos.masks import Track, area, bounding_box
from rvos.masks.draw import draw_numbered
from rvos.report.strips import Pixels, background, encoded, frame_size, resized, spread

_JPEG_QUALITY = 90
_MARGIN = 0.5  # of an enlarged masklet's box, on each side


class Gallery:
    """Pictures of one video, `width` pixels wide, on which `tracks` are drawn.

    With `need_images`, raises InputError where a frame has no image; else such frames are grey.
    """

    def __init__(
        self,
        split: Split,
        video: Video,
        tracks: Sequence[Track],
        *,
        width: int,
        need_images: bool = False,
    ):
        self.video, self.tracks, self.width = video, tracks, width
        self._split, self._need_images = split, need_images
        # The frames of one's own video may be no files of their own.
        own = isinstance(split, OwnSplit)
        self._frames = FrameCache(split.open_frames(video)).fill() if own else None
        self._done: dict[tuple[int, frozenset[int]], bytes] = {}

    def image(self, t: int) -> FilePath | None:
        """The image file of a frame; None without one."""
        path = self._split.frame_path(self.video.name, self.video.frames[t])
        if path.is_file():
            return path
        if self._need_images:
            raise InputError(f"{path}: no such image; a model cannot answer from grey frames")
        return None

    @cached_property
    def full_size(self) -> tuple[int, int]:
        """(height, width) of the video."""
        return self._frames.size if self._frames else frame_size(self.tracks, [self.image(0)])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a picture."""
        height, width = self.full_size
        return max(1, round(self.width * height / width)), self.width

    def picture(self, t: int, numbers: Collection[int]) -> bytes:
        """Frame t with the outlines of these masklets."""
        key = t, frozenset(numbers)
        if key not in self._done:
            self._done[key] = encoded(self._drawn(t, numbers, self.size), ".jpg", _JPEG_QUALITY)
        return self._done[key]

    def enlarged(self, number: int) -> tuple[int, bytes]:
        """The frame in which a masklet is largest, and what is around it there, alone outlined."""
        track = self.tracks[number]
        t = max(range(len(track)), key=lambda i: area(track[i]))
        box = bounding_box(track[t])
        if box is None:
            return t, self.picture(t, [number])
        height, width = self.full_size
        x0, y0, x1, y1 = box
        dx, dy = _MARGIN * (x1 - x0), _MARGIN * (y1 - y0)
        left, right = max(0, int(x0 - dx)), min(width, int(x1 + dx) + 1)
        top, bottom = max(0, int(y0 - dy)), min(height, int(y1 + dy) + 1)
        zoom = min(self.size[1] / (right - left), self.size[0] / (bottom - top))
        size = max(1, round(zoom * height)), max(1, round(zoom * width))
        scale = min(1.0, 4 * max(self.full_size) / max(size))  # no need of more pixels than that
        size = round(size[0] * scale), round(size[1] * scale)
        drawn = self._drawn(t, [number], size)
        rows, columns = (size[0] / height, size[1] / width)
        part = drawn[
            int(top * rows) : max(int(top * rows) + 1, int(bottom * rows)),
            int(left * columns) : max(int(left * columns) + 1, int(right * columns)),
        ]
        return t, encoded(part, ".jpg", _JPEG_QUALITY)

    def _drawn(self, t: int, numbers: Collection[int], size: tuple[int, int]) -> Pixels:
        masks = [track[t] if i in numbers else None for i, track in enumerate(self.tracks)]
        if self._frames is None:
            return draw_numbered(background(self.image(t), size), masks)
        return draw_numbered(resized(self._frames[t], size), masks)


def frames_of_round(
    tracks: Sequence[Track], num_frames: int, count: int, *, shown: Collection[int] = ()
) -> list[int]:
    """At most `count` evenly spaced frames of the span in which any of the tracks is visible.

    Frames that were `shown` are left out as long as there are others.
    """
    visible = [t for t in range(num_frames) if any(track[t] is not None for track in tracks)]
    span = range(visible[0], visible[-1] + 1) if shown and visible else range(num_frames)
    new = [t for t in span if t not in shown] or list(span)
    return [new[i] for i in spread(len(new), count)]
