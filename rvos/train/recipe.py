"""How training clips are drawn and augmented: the keys `data.clip`; torch is not imported.

Numbers and order follow the fine-tuning code of MUTR for MeViS (datasets/mevis.py and
transforms_video.py of FudanCVLab's track solution); where we differ by default, docs/data.md says
so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from rvos.data.frames import Size, fit
from rvos.settings import Amount, Count, Flag, LeastMost, Real, Share, Whole, checked
from rvos.train.pseudo import Copy, PseudoClip

if TYPE_CHECKING:
    from torch import Tensor

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
        import torch  # here, so that wrong values are named before it is there

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


def draw_frames(
    rng: Generator, anchor: int, video_length: int, num_frames: int, local_offsets: Sequence[int]
) -> list[int]:
    """Sorted frame positions of a clip (datasets/mevis.py of the track solution).

    The anchor; one frame at most `local_offsets[1]` before and one after it, clamped to the video;
    the rest drawn without replacement from all frames before the first and from the last on (which
    may so occur twice), or from the whole video where these are too few. A clip of one frame is
    the anchor; a video with fewer frames than are still to be drawn gives some of them twice.
    """
    if num_frames == 1:
        return [anchor]
    least, most = local_offsets
    before, after = rng.integers(least, most + 1, 2).tolist()
    chosen = [anchor, max(0, anchor - before), min(video_length - 1, anchor + after)][:num_frames]
    wanted = num_frames - len(chosen)
    candidates = [*range(min(chosen)), *range(max(chosen), video_length)]
    if len(candidates) <= wanted:
        candidates = list(range(video_length))
    if wanted > 0:
        few = len(candidates) < wanted
        chosen += rng.choice(candidates, wanted, replace=few).tolist()
    return sorted(chosen)


def mirror_words(text: str, how: Literal["whole", "substring"]) -> str:
    """Swap left and right: whole words (any case), or everywhere as upstream ("brightly")."""
    pattern = r"\b(left|right)\b" if how == "whole" else r"(left|right)"
    flags = re.IGNORECASE if how == "whole" else 0
    return re.sub(pattern, lambda word: _opposite(word[0]), text, flags=flags)


def _opposite(word: str) -> str:
    other = "right" if word.lower() == "left" else "left"
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other


@checked
class ClipRecipe:
    """How clips are drawn: the keys `data.clip` of conf/data.

    `recipe`: `upstream`, or `plain` for the same frames without any augmentation, at
    `plain_short_side`. Raises SettingsError listing every value that makes no sense.
    """

    recipe: Literal["upstream", "plain"]
    num_frames: Count
    frames: Literal["local", "strided"]  # as upstream trains, or as it cuts videos in inference
    local_offsets: LeastMost[Whole]  # frames: distance of the local frames
    no_target: Literal["resample", "keep"]  # clips without any frame with the target
    boxes: Literal["tight", "inclusive"]  # around the mask, or upstream's, one pixel narrower
    flip_words: Literal["whole", "substring"]
    lower_case: Flag  # of expressions, in training alone as upstream
    reduced_decode: Flag
    resizing: Resizing
    photometric: Photometric
    plain_short_side: Count  # pixels, with resizing.max_long_side
    pad_to: Count  # heights and widths of batches are multiples of this
    pseudo_clip: PseudoClip | None  # clips from pictures; None repeats them, as `plain` does

    def anchors(self, video_length: int) -> range:
        """The anchor frames of a video of so many frames, one clip each."""
        return range(0, video_length, self.num_frames)

    def frame_idx(self, rng: Generator, anchor: int, video_length: int) -> list[int]:
        """Sorted frame positions of the clip of an anchor; `strided`: of the sub-clip it is in.

        The frames of a strided clip that lack at the end of a video are its last one.
        """
        if self.frames == "local":
            return draw_frames(rng, anchor, video_length, self.num_frames, self.local_offsets)
        stride = -(-video_length // self.num_frames)
        start = anchor // self.num_frames
        return [min(start + i * stride, video_length - 1) for i in range(self.num_frames)]

    def geometry(self, rng: Generator, original: tuple[int, int]) -> Geometry:
        """The geometry of one clip; `original`: height, width of its frames in pixels."""
        if self.recipe == "upstream":
            return self.resizing.draw(rng, original)
        size = fit(original, self.plain_short_side, self.resizing.max_long_side)
        return Geometry((0, 0, *original), size, flip=False)

    def copies(
        self, rng: Generator, video_length: int, original: tuple[int, int]
    ) -> list[Copy] | None:
        """The frames of a clip from one picture; None where frames are shown as they are."""
        if self.recipe == "plain" or self.pseudo_clip is None:
            return None
        if video_length > 1 or self.num_frames == 1:
            return None
        return self.pseudo_clip.draw(rng, original, self.num_frames)

    def expression(self, text: str, flip: bool) -> str:
        """The text as the model reads it; `flip`: its clip is mirrored."""
        text = " ".join(text.lower().split() if self.lower_case else text.split())
        return mirror_words(text, self.flip_words) if flip else text
