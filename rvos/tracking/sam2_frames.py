"""Frames of a video -> input of a tracker, one by one: memory does not grow with the video."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from rvos.data.frames import IMAGENET_MEAN, IMAGENET_STD, Frame, FrameCache, normalise

Pixels = Callable[[Frame, int], Tensor]  # frame (H, W, 3) uint8, S -> (3, S, S) float32, normalised


class ModelFrames:
    """Frames as a tracker expects them, prepared on demand: (3, S, S) float32, normalised.

    `pixels` prepares them; a tracker may set another before it reads the first. While the model
    works on one frame, a thread prepares the next in the same direction.
    """

    def __init__(self, frames: FrameCache, image_size: int, pixels: Pixels | None = None):
        self.frames = frames
        self.image_size = image_size
        self.pixels = pixels or sam2_pixels
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
        return self.pixels(self.frames[frame_idx], self.image_size)


def open_session(
    session_class: Any, frames: ModelFrames, device: torch.device, **settings: Any
) -> Any:
    """A session of transformers' video models that reads frames one by one."""
    height, width = frames.frames.size
    session = session_class(
        video_height=height,
        video_width=width,
        inference_device=device,
        inference_state_device=device,
        video_storage_device="cpu",
        dtype=torch.float32,
        **settings,
    )
    session.processed_frames = frames
    return session


def sam2_pixels(frame: Frame, image_size: int) -> Tensor:
    """As Meta's loader of SAM 2: Pillow's bicubic filter, aspect ratio not kept."""
    image = Image.fromarray(frame).resize((image_size, image_size))
    return normalise(rearrange(torch.from_numpy(np.array(image)), "h w c -> c h w"))


def processor_pixels(
    frame: Frame,
    image_size: int,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Tensor:
    """As transformers' video processors: torchvision's bilinear filter, aspect ratio not kept."""
    from torchvision.transforms.v2 import functional

    image = rearrange(torch.from_numpy(frame), "h w c -> c h w")
    image = functional.resize(image, [image_size, image_size], antialias=True)
    scaled = [torch.tensor(values)[:, None, None] * 255 for values in (mean, std)]
    return (image.float() - scaled[0]) / scaled[1]
