"""Frames of a video -> input of SAM 2, one by one: memory does not grow with the video's length."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from rvos.data.frames import Frame, normalise


class FrameSource(Protocol):
    """Random access to the frames of a video, such as `FrameCache` gives it."""

    size: tuple[int, int]  # height, width in pixels

    def __len__(self) -> int: ...

    def __getitem__(self, frame_idx: int) -> Frame: ...


class ModelFrames:
    """Frames as SAM 2 expects them, prepared on demand: (3, S, S) float32, normalised.

    Pillow's bicubic filter resizes them without keeping the aspect ratio, as Meta's loader does.
    While the model works on one frame, a thread prepares the next in the same direction.
    """

    def __init__(self, frames: FrameSource, image_size: int):
        self.frames = frames
        self.image_size = image_size
        self._thread = ThreadPoolExecutor(1)  # the only reader of `frames`
        self._ready: dict[int, Future[Tensor]] = {}
        self._last = -1

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, frame_idx: int) -> Tensor:
        if frame_idx == self._last:
            return self._ready[frame_idx].result()
        step = -1 if frame_idx < self._last else 1
        wanted = [i for i in (frame_idx, frame_idx + step) if 0 <= i < len(self)]
        self._ready = {
            i: self._ready.get(i) or self._thread.submit(self._prepare, i) for i in wanted
        }
        self._last = frame_idx
        return self._ready[frame_idx].result()

    def close(self) -> None:
        self._thread.shutdown()

    def _prepare(self, frame_idx: int) -> Tensor:
        size = (self.image_size, self.image_size)
        image = Image.fromarray(self.frames[frame_idx]).resize(size)
        return normalise(rearrange(torch.from_numpy(np.array(image)), "h w c -> c h w"))
