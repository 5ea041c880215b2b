"""Frames -> network input: each decoded and resized once, read back clip by clip.

The transform is that of the method's inference script: short side `short_side`, long side
truncated to whole pixels, no limit on it, Pillow's bilinear filter, ImageNet mean and deviation.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from rvos.data.frames import FrameCache, Frames, fit, normalise


class NetworkFrames(FrameCache):
    """A video's frames at network size, in any order, at constant memory.

    They are kept as raw pixels (about 1 MB per frame at 432 x 768). Raises as `FrameCache`.
    """

    def __init__(self, source: Frames, short_side: int):
        super().__init__(source, fit(source.size, short_side))

    def clip(self, frame_idx: Sequence[int], device: torch.device) -> Tensor:
        """Those frames (T, 3, h, w) float32, ImageNet-normalised."""
        pixels = torch.from_numpy(self.read(frame_idx)).to(device)
        return normalise(rearrange(pixels, "t h w c -> t c h w")).contiguous()
