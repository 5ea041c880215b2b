"""A track of boxes -> its masks, by the salient-object network in the box and a margin around it.

The network (U2-Net-p) is asked for every `every`-th frame. Frames between two of these take the
mean of both answers, each moved there by the boxes and by the optical flow within them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from rvos.masks import Mask, Track, encode
from rvos.settings import Count, Share, checked
from rvos.tracking.small_networks import BoxXyxy, Frame

Probability = NDArray[np.float32]  # (h, w) in 0..1

FLOW_SIDE = 192  # pixels: the crops between which masks are carried


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
    shown = [t for t, box in enumerate(boxes) if box is not None]
    keys = [t for i, t in enumerate(shown) if i % settings.every == 0 or i == len(shown) - 1]
    answers: dict[int, Probability] = {}
    crops: dict[int, _Crop] = {}

    def crop(t: int) -> _Crop:
        box = boxes[t]
        assert box is not None
        return _Crop(frames[t], box, settings.margin)

    for before, after in zip(keys, [*keys[1:], None], strict=True):
        for key in [before] + ([after] if after is not None else []):
            if key not in answers:
                crops[key] = crop(key)
                answers[key] = salient(crops[key].pixels)
        track[before] = _mask(crops[before], answers[before], settings)
        for t in (t for t in shown if before < t < (before if after is None else after)):
            assert after is not None
            here = crop(t)
            near = {before: (after - t) / (after - before), after: (t - before) / (after - before)}
            carried = _carried(here, crops, answers, near)
            track[t] = _mask(here, carried, settings)
        del answers[before], crops[before]  # memory does not grow with the video
    return track


def _carried(
    here: _Crop,
    crops: Mapping[int, _Crop],
    answers: Mapping[int, Probability],
    weights: Mapping[int, float],
) -> Probability:
    """The weighted mean of answers of other frames, moved to this one."""
    total = np.zeros((FLOW_SIDE, FLOW_SIDE), np.float32)
    y, x = np.mgrid[:FLOW_SIDE, :FLOW_SIDE].astype(np.float32)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    grey = here.small_grey
    for key, weight in weights.items():
        small = cv2.resize(answers[key], (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_AREA)
        moved = flow.calc(grey, crops[key].small_grey, None)  # where each pixel was, or will be
        total += weight * cv2.remap(
            small, x + moved[..., 0], y + moved[..., 1], cv2.INTER_LINEAR, borderValue=0
        )
    x0, y0, x1, y1 = here.corners
    return np.asarray(
        cv2.resize(total, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR), np.float32
    )


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

