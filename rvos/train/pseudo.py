"""One picture -> the frames of a clip: the picture and transformed copies of it, in random order.

What is drawn, and from what range, follows MUTR's training on pictures (OpenGVLab/MUTR,
datasets/refexp2seq.py and image_to_seq_augmenter.py, which uses imgaug seeded from the clock). Here
a pseudo-clip is a pure function of the generator that it is drawn with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from rvos.data.frames import Size
from rvos.settings import Count, Real, Share, Whole, checked

FARTHEST = 0.3  # share of a side: a quadrangle whose corners stray no further is convex


@dataclass(frozen=True)
class Copy:
    """How one frame differs from its picture; without arguments not at all.

    `matrix` takes pixels of the picture to pixels of the frame, for colours and mask alike. What
    comes from outside of the picture is black and no target.
    """

    matrix: NDArray[np.float64] | None = None  # (3, 3)
    brightness: int = 0  # added to R, G, B
    hue_saturation: int = 0  # of 255, added to both
    blur: NDArray[np.float32] | None = None  # (k, k), sums to 1

    def picture(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB -> the same of this frame: colours, then place, then blur."""
        levels = np.arange(256)
        if self.brightness:
            pixels = cv2.LUT(pixels, (levels + self.brightness).clip(0, 255).astype(np.uint8))
        if self.hue_saturation:
            hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)  # hue 0..255 is the whole circle
            moved = levels + self.hue_saturation
            table = np.stack([moved % 256, moved.clip(0, 255), levels], 1)  # (256, 3)
            hsv = cv2.LUT(hsv, table.astype(np.uint8)[None])
            pixels = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
        pixels = self._place(pixels, cv2.INTER_LINEAR)
        return pixels if self.blur is None else cv2.filter2D(pixels, -1, self.blur)

    def mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) uint8 -> the same of this frame, by nearest neighbour."""
        return self._place(mask, cv2.INTER_NEAREST)

    def _place(self, pixels: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
        if self.matrix is None:
            return pixels
        height, width = pixels.shape[:2]
        return cv2.warpPerspective(pixels, self.matrix, (width, height), flags=interpolation)


Byte = Annotated[Whole, Field(le=255)]


@checked
class PseudoClip:
    """How the copies of a picture are drawn: the keys `data.clip.pseudo_clip` of conf/data.

    Every copy has another brightness, another hue and saturation, or both. Then it is seen in
    perspective, turned about its centre and moved; some copies are blurred along a line. Raises
    SettingsError listing every value that makes no sense.
    """

    brightness: Byte  # -b..b of 255, added
    hue_saturation: Byte  # -h..h of 255: one number, added to both
    perspective: Share  # standard deviation of the corners' way inwards, share of the side
    translation: Share  # -t..t: one share of the width and of the height
    rotation: Annotated[Real, Field(ge=0, le=180)]  # -r..r degrees
    blur_probability: Share
    blur_sizes: Annotated[Sequence[Count], Field(min_length=1)]  # pixels; one is drawn

    def draw(self, rng: Generator, size: Size, num_frames: int) -> list[Copy]:
        """The frames of one clip, of which one is the picture itself; `size`: height, width."""
        copies = [Copy(), *(self._copy(rng, size) for _ in range(num_frames - 1))]
        return [copies[i] for i in rng.permutation(num_frames)]

    def _copy(self, rng: Generator, size: Size) -> Copy:
        # All numbers are drawn at once, so that one setting does not change what the others draw.
        brightness = int(rng.integers(-self.brightness, self.brightness, endpoint=True))
        hue = int(rng.integers(-self.hue_saturation, self.hue_saturation, endpoint=True))
        both, first = rng.random(2) < 0.5  # one or both; if one, which
        corners = np.abs(rng.normal(0, 1, (4, 2))) * self.perspective
        angle, shift = rng.uniform(-1, 1, 2) * (self.rotation, self.translation)
        blurred = rng.random() < self.blur_probability
        length = int(rng.choice(self.blur_sizes))
        blur = motion_blur(length, rng.uniform(0, 360), rng.random())
        return Copy(
            matrix=placement(size, corners, angle, shift),
            brightness=brightness if both or first else 0,
            hue_saturation=hue if both or not first else 0,
            blur=blur if blurred else None,
        )


def placement(
    size: Size, corners: NDArray[np.float64], angle: float, shift: float
) -> NDArray[np.float64]:
    """(3, 3): pixels of a picture of `size` (height, width) to those of its copy, of the same size.

    `corners` (4, 2): shares of width, height by which the corners of what is seen lie inside of the
    picture; top left, top right, bottom right, bottom left. That fills the frame, is turned by
    `angle` degrees counter-clockwise about the centre and moved by `shift` of width and height.
    """
    height, width = size
    last = np.array([width - 1, height - 1])
    full = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    inside = np.abs(full - corners.clip(0, FARTHEST))
    seen, frame = ((c * last).astype(np.float32) for c in (inside, full))
    turn = np.eye(3)
    turn[:2] = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    turn[:2, 2] += shift * width, shift * height
    return turn @ cv2.getPerspectiveTransform(seen, frame)


def motion_blur(length: int, angle: float, start: float) -> NDArray[np.float32]:
    """(length, length) kernel: a line through the centre, turned by `angle` degrees.

    Weights go evenly from `start` (0..1) at one end to 1 - `start` at the other.
    """
    kernel = np.zeros((length, length), np.float32)
    kernel[:, length // 2] = np.linspace(start, 1 - start, length)
    centre = (length // 2, length // 2)
    turn = cv2.getRotationMatrix2D(centre, angle, 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length), flags=cv2.INTER_LINEAR)
    return kernel / kernel.sum()
