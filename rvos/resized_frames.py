"""Frames -> network input: each resized once, kept on disk, read back clip by clip.

The transform is that of the method's inference script: short side `short_side`, long side
truncated to whole pixels, no limit on it, Pillow's bilinear filter, ImageNet mean and deviation.
"""

import errno
import os
import tempfile
from types import TracebackType

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rvos import InputError
from rvos.frames import Frame, FrameError, Frames

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def resized_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(height, width) -> the same with the short side at `short_side`, the long one truncated."""
    height, width = size
    long_side = int(short_side * max(size) / min(size))
    return (short_side, long_side) if height <= width else (long_side, short_side)


def resize_frame(frame: Frame, size: tuple[int, int]) -> Frame:
    """(H, W, 3) uint8 -> (h, w, 3) uint8, bilinear with Pillow's antialiasing."""
    if frame.shape[:2] == size:
        return frame
    return np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR))


def normalise(frames: Tensor) -> Tensor:
    """(T, h, w, 3) uint8 -> (T, 3, h, w) float32, ImageNet-normalised, on the same device."""
    mean = torch.tensor(IMAGENET_MEAN, device=frames.device)
    std = torch.tensor(IMAGENET_STD, device=frames.device)
    return rearrange((frames.float() / 255 - mean) / std, "t h w c -> t c h w").contiguous()


class ResizedFrames:
    """A video's frames at network size, in any order, at constant memory.

    Making it decodes and resizes every frame once, in order, into an unnamed temporary file of raw
    uint8 pixels in $TMPDIR (about 1 MB per frame at 432 x 768), which `close`, the context manager
    or the end of the process removes. Raises FrameError as the source does, when it has no frames,
    and InputError when the disk is full.
    """

    def __init__(self, source: Frames, short_side: int):
        if not len(source):
            raise FrameError(f"{source.source}: the video has no frames")
        self.source = source.source
        self.original_size = source.size
        self.size = resized_size(source.size, short_side)
        self._num_frames = len(source)
        # Unbuffered: what a full disk did not take is not tried again by `close`.
        self._file = tempfile.TemporaryFile(prefix="rvos-resized-", buffering=0)  # noqa: SIM115
        try:
            for frame in source:
                pixels = np.ascontiguousarray(resize_frame(frame, self.size)).data.cast("B")
                while pixels:
                    pixels = pixels[self._file.write(pixels) :]
        except OSError as error:
            self.close()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(
                f"{self.source}: {os.strerror(error.errno)} while keeping {len(self)} resized "
                f"frames in {tempfile.gettempdir()}; set TMPDIR to a larger disk"
            ) from None
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return self._num_frames

    def clip(self, frame_idx: range, device: torch.device) -> Tensor:
        """Those frames (T, 3, h, w) float32, ImageNet-normalised."""
        return normalise(torch.from_numpy(self.pixels(frame_idx)).to(device))

    def pixels(self, frame_idx: range) -> NDArray[np.uint8]:
        """Those frames (T, h, w, 3) uint8."""
        # Read, not mapped: mapped pages of all clips would count as memory of the process.
        frames = np.empty((len(frame_idx), *self.size, 3), np.uint8)
        for t, frame in zip(frame_idx, frames, strict=True):
            self._file.seek(t * frame.nbytes)
            rest = frame.data.cast("B")
            while rest and (num_bytes := self._file.readinto(rest)):
                rest = rest[num_bytes:]
            assert not rest, f"short read of frame {t}"
        return frames

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "ResizedFrames":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
