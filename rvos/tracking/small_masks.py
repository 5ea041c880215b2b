"""A track of boxes -> its masks, by the salient-object network in the box and a margin around it.

The network (U2-Net-p) is asked for every `every`-th frame. Frames between two of these take the
mean of both answers, each moved there by the boxes, and by the optical flow within them from frame
to frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from rvos.masks import Mask, Track, encode
from rvos.settings import Count, Share, checked
from rvos.tracking.small_networks import BoxXyxy, Frame

Probability = NDArray[np.float32]  # (h, w) in 0..1

FLOW_SIDE = 256  # pixels: the crops between which masks are carried


@checked
class Masking:
    """Settings of the masks; conf/masklets/small.yaml gives all of them.

    margin: around the box that the network sees, share of the box's sides.
    grow: around the box in which the mask may be, share of the box's sides.
    threshold: of the network's answer, which is scaled to 0..1.
    every: frames; 1 asks the network for every frame, n for every n-th of a track.
    """

    margin: Share
    grow: Share
    threshold: Share
    every: Count


@dataclass
class _Crop:
    """The part of a frame around a box."""

    frame: Frame
    box: BoxXyxy
    margin: float
    corners: tuple[int, int, int, int] = field(init=False)  # x0, y0, x1, y1 in the frame

    def __post_init__(self) -> None:
        self.corners = around(self.box, self.margin, self.frame.shape[:2])

    @property
    def pixels(self) -> Frame:
        x0, y0, x1, y1 = self.corners
        return np.ascontiguousarray(self.frame[y0:y1, x0:x1])

    @property
    def small_grey(self) -> NDArray[np.uint8]:
        """(FLOW_SIDE, FLOW_SIDE), the same for crops of any size."""
        small = cv2.resize(self.pixels, (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def masks_of(
    frames: Sequence[Frame],
    boxes: Sequence[BoxXyxy | None],
    salient: Callable[[Frame], Probability],
    settings: Masking,
) -> Track:
    """One mask per frame; None where there is no box or nothing salient in it."""
    track: Track = [None] * len(frames)
    shown = [(t, box) for t, box in enumerate(boxes) if box is not None]
    stretch: list[tuple[int, _Crop]] = []  # from one answer of the network to the next
    first: Probability | None = None
    for i, (t, box) in enumerate(shown):
        stretch.append((t, _Crop(frames[t], box, settings.margin)))
        if i % settings.every and i < len(shown) - 1:
            continue
        last = salient(stretch[-1][1].pixels)
        if first is not None and len(stretch) > 2:
            for (between, crop), answer in zip(
                stretch[1:-1], _carried([crop for _, crop in stretch], first, last), strict=True
            ):
                track[between] = _mask(crop, answer, settings)
        track[t] = _mask(stretch[-1][1], last, settings)
        first, stretch = last, stretch[-1:]
    return track


def _carried(crops: Sequence[_Crop], first: Probability, last: Probability) -> list[Probability]:
    """The answers for all crops but the first and the last, for which the network's are given."""
    greys = [crop.small_grey for crop in crops]
    forward = _chain(greys, first)
    backward = _chain(greys[::-1], last)[::-1]
    answers = []
    for i, (before, after) in enumerate(zip(forward, backward, strict=True), 1):
        share = i / (len(crops) - 1)  # of the way to the last
        x0, y0, x1, y1 = crops[i].corners
        mean = (1 - share) * before + share * after
        answers.append(np.float32(cv2.resize(mean, (x1 - x0, y1 - y0))))
    return answers


def _chain(greys: Sequence[NDArray[np.uint8]], answer: Probability) -> list[Probability]:
    """The first picture's answer moved from picture to picture; without the first and last one.

    Steps between neighbours follow fast limbs, which one flow over all of them loses.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    y, x = np.mgrid[:FLOW_SIDE, :FLOW_SIDE].astype(np.float32)
    moved = cv2.resize(answer, (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_AREA)
    chain = []
    for before, grey in zip(greys[:-2], greys[1:-1], strict=True):
        came = flow.calc(grey, before, None)  # (side, side, 2): where each pixel was
        moved = cv2.remap(moved, x + came[..., 0], y + came[..., 1], cv2.INTER_LINEAR)
        chain.append(np.float32(moved))
    return chain


def _mask(crop: _Crop, answer: Probability, settings: Masking) -> Mask:
    """The answer for a crop, in the frame, within the box."""
    x0, y0, x1, y1 = crop.corners
    mask = np.zeros(crop.frame.shape[:2], bool)
    mask[y0:y1, x0:x1] = answer > settings.threshold
    inside = np.zeros_like(mask)
    x0, y0, x1, y1 = around(crop.box, settings.grow, mask.shape)
    inside[y0:y1, x0:x1] = True
    mask &= inside
    return encode(mask) if mask.any() else None


def around(box: BoxXyxy, margin: float, size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Whole pixels of a box with a margin (share of its sides) in a frame of `size` (H, W)."""
    x0, y0, x1, y1 = (float(value) for value in box)
    wide, high = margin * (x1 - x0), margin * (y1 - y0)
    left, top = max(0, int(x0 - wide)), max(0, int(y0 - high))
    right, bottom = min(size[1], int(np.ceil(x1 + wide))), min(size[0], int(np.ceil(y1 + high)))
    return min(left, right - 2), min(top, bottom - 2), right, bottom
