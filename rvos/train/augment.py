"""Frames and masks of one clip -> augmented, resized, normalised tensors.

The geometry is drawn before a frame is read, so that only the pixels needed are decoded: a JPEG is
decoded at 1/2, 1/4 or 1/8 where that is still at least the size wanted. Numbers and order follow
the fine-tuning code of MUTR for MeViS (datasets/mevis.py and transforms_video.py of
FudanCVLab's track solution); where we differ by default, docs/data.md says so.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from rvos.data.archive import FilePath
from rvos.data.frames import Size, read_image
from rvos.train.pseudo import Copy
from rvos.train.recipe import Geometry
from rvos.train.recipe import Photometric as Photometric  # its name in conf/
from rvos.train.recipe import Resizing as Resizing


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
