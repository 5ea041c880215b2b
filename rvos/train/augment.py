"""Frames and masks of one clip -> augmented, resized, normalised tensors.

The geometry is drawn before a frame is read, so that only the pixels needed are decoded: a JPEG is
decoded at 1/2, 1/4 or 1/8 where that is still at least the size wanted. Numbers and order follow
the fine-tuning code of MUTR for MeViS (datasets/mevis.py and transforms_video.py of
FudanCVLab's track solution); where we differ by default, docs/data.md says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from rvos.data.archive import FilePath
from rvos.data.frames import Size, fit, read_image
from rvos.settings import Amount, Count, LeastMost, Real, Share, checked
from rvos.train.pseudo import Copy

CHANNEL_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


@dataclass(frozen=True)
class Geometry:
    """Which part of a frame a clip shows, mirrored or not, and at what size.

    `crop`: top, left, height, width in pixels of the original frame. `size`: height, width of the
    result.
    """

    crop: tuple[int, int, int, int]
    size: Size
    flip: bool


@checked
class Resizing:
    """Random size, crop and mirroring of a clip: the keys `data.clip.resizing` of conf/data.

    Raises SettingsError listing every value that makes no sense.
    """

    short_sides: Annotated[Sequence[Count], Field(min_length=1)]  # pixels; one is drawn
    max_long_side: Count | None  # pixels; None: no limit
    crop_probability: Share
    crop_short_sides: Annotated[Sequence[Count], Field(min_length=1)]  # pixels before the crop
    crop_sides: LeastMost[Count]  # pixels of the crop's height and width
    flip_probability: Share

    def draw(self, rng: Generator, original: Size) -> Geometry:
        """The geometry of one clip whose frames have the size `original` (height, width), pixels.

        Upstream's chain of resize, crop, resize is one crop of the original and one resize here.
        """
        flip = bool(rng.random() < self.flip_probability)
        height, width = original
        crop = (0, 0, height, width)
        cropped = original
        if rng.random() < self.crop_probability:
            h, w = fit(original, int(rng.choice(self.crop_short_sides)), None)
            least, most = self.crop_sides
            cropped_w = int(rng.integers(min(least, w), min(w, most) + 1))
            cropped_h = int(rng.integers(min(least, h), min(h, most) + 1))
            top = int(rng.integers(h - cropped_h + 1))
            left = int(rng.integers(w - cropped_w + 1))
            cropped = (cropped_h, cropped_w)
            y0, y1 = round(top * height / h), round((top + cropped_h) * height / h)
            x0, x1 = round(left * width / w), round((left + cropped_w) * width / w)
            crop = (y0, x0, max(y1 - y0, 1), max(x1 - x0, 1))
        size = fit(cropped, int(rng.choice(self.short_sides)), self.max_long_side)
        return Geometry(crop, size, flip)


@checked
class Photometric:
    """Random colours of every frame on its own; each step happens with probability 1/2.

    Brightness, then contrast before or after saturation and hue (of HSV), then a random order of
    the channels. `overflow`: `clip` to 0..255, or `wrap` around as upstream's cast to uint8 does.
    The keys are `data.clip.photometric` of conf/data. Raises SettingsError listing every value that
    makes no sense.
    """

    brightness: Annotated[Real, Field(ge=0, le=255)]  # added: -b..b of 255
    contrast: LeastMost[Amount]  # factor
    saturation: LeastMost[Amount]  # factor
    hue: Annotated[Real, Field(ge=0, le=180)]  # added: -h..h degrees
    channel_order_probability: Share
    overflow: Literal["clip", "wrap"]

    def __call__(self, rng: Generator, frames: Tensor) -> Tensor:
        """(T, 3, h, w) uint8 -> the same, distorted."""
        distorted = [self._frame(rng, frame.permute(1, 2, 0).numpy()) for frame in frames]
        return torch.from_numpy(np.stack(distorted)).permute(0, 3, 1, 2)

    def _frame(self, rng: Generator, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(h, w, 3) RGB."""
        # All numbers are drawn at once, so that one switch does not change what the others draw.
        happens = rng.random(5) < (0.5, 0.5, 0.5, 0.5, self.channel_order_probability)
        contrast_first = rng.random() < 0.5
        brightness = rng.uniform(-self.brightness, self.brightness)
        contrast = rng.uniform(self.contrast[0], self.contrast[1])
        saturation = rng.uniform(self.saturation[0], self.saturation[1])
        hue, order = rng.uniform(-self.hue, self.hue), CHANNEL_ORDERS[rng.integers(6)]
        image: NDArray[Any] = pixels.astype(np.float32)
        if happens[0]:
            image += brightness
        if happens[1] and contrast_first:
            image = image * contrast
        if happens[2] or happens[3]:
            image = self._hsv(image, saturation if happens[2] else 1, hue if happens[3] else 0)
        if happens[1] and not contrast_first:
            image = image * contrast
        if happens[4]:
            image = image[..., order]
        if self.overflow == "wrap":
            return (image.astype(np.int64) & 255).astype(np.uint8)
        return image.clip(0, 255).astype(np.uint8)

    def _hsv(self, image: NDArray[np.float32], saturation: float, hue: float) -> NDArray:
        if self.overflow == "clip":
            image = image.clip(0, 255)
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # hue 0..360, saturation 0..1
        angle = hsv[..., 0] + hue
        hsv[..., 0] = np.where(angle < 0, angle + 360, np.where(angle > 360, angle - 360, angle))
        hsv[..., 1] = hsv[..., 1] * saturation
        if self.overflow == "clip":
            hsv[..., 1] = hsv[..., 1].clip(0, 1)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def read_frames(
    paths: list[FilePath],
    geometry: Geometry,
    original: Size,
    reduced: bool,
    copies: Sequence[Copy] | None = None,
) -> Tensor:
    """JPEG files -> (T, 3, h, w) uint8 RGB with the geometry applied (but for photometrics).

    `reduced`: let the decoder deliver 1/2, 1/4 or 1/8 of the size where that is large enough.
    `copies`: how each frame differs from its file, which is then decoded at full size.
    """
    reduced = reduced and copies is None
    read = {path: _decode(path, geometry, original, reduced) for path in dict.fromkeys(paths)}
    decoded = [read[path] for path in paths]
    if copies is not None:
        changed = [c.picture(frame.numpy()) for c, frame in zip(copies, decoded, strict=True)]
        decoded = [torch.from_numpy(frame) for frame in changed]
    frames = torch.stack(decoded).permute(0, 3, 1, 2)  # (T, 3, H, W)
    top, left, height, width = _scaled(geometry.crop, original, (frames.shape[2], frames.shape[3]))
    frames = frames[..., top : top + height, left : left + width]
    frames = F.resize(frames, list(geometry.size), v2.InterpolationMode.BILINEAR, antialias=True)
    return F.horizontal_flip(frames) if geometry.flip else frames


def _decode(path: FilePath, geometry: Geometry, original: Size, reduced: bool) -> Tensor:
    """(H, W, 3) uint8, the whole frame at full or reduced size. Raises FrameError."""
    scale = max(g / c for g, c in zip(geometry.size, geometry.crop[2:], strict=True))
    height, width = original
    enough = (int(np.ceil(height * scale)), int(np.ceil(width * scale)))
    return torch.from_numpy(read_image(path, at_least=enough if reduced and scale < 1 else None))


def _scaled(crop: tuple[int, int, int, int], original: Size, decoded: Size) -> tuple[int, ...]:
    """A crop of the original frame in pixels of the decoded one."""
    top, left, height, width = crop
    y, x = decoded[0] / original[0], decoded[1] / original[1]
    y0, y1 = round(top * y), min(round((top + height) * y), decoded[0])
    x0, x1 = round(left * x), min(round((left + width) * x), decoded[1])
    return y0, x0, max(y1 - y0, 1), max(x1 - x0, 1)


def place_masks(masks: Tensor, geometry: Geometry) -> Tensor:
    """(T, H, W) uint8 of the original frames -> (T, h, w) bool, by nearest neighbour."""
    top, left, height, width = geometry.crop
    masks = masks[:, top : top + height, left : left + width]
    masks = F.resize(masks[:, None], list(geometry.size), v2.InterpolationMode.NEAREST)[:, 0]
    return (F.horizontal_flip(masks) if geometry.flip else masks) > 0


def place_boxes(boxes_xyxy: Tensor, geometry: Geometry) -> Tensor:
    """(T, 4) float32 pixels of the original frames -> of the result, cut to the crop."""
    top, left, height, width = geometry.crop
    limit = torch.tensor([width, height, width, height], dtype=torch.float32)
    boxes = (boxes_xyxy - torch.tensor([left, top, left, top])).clamp(min=0).minimum(limit)
    boxes = boxes * (torch.tensor(geometry.size).flip(0).repeat(2) / limit)
    if geometry.flip:
        boxes = boxes[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1])
        boxes = boxes + torch.tensor([geometry.size[1], 0, geometry.size[1], 0])
    return boxes
