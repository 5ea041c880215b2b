"""A track of boxes -> its masks, by the salient-object network in the box and a margin around it.

The network (U2-Net-p) is asked for every frame, and each answer is smoothed by those of its
neighbours; or it is asked for every `every`-th frame, and frames between two of these take the mean
of both answers. Answers move between frames by the boxes and the optical flow within them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from rvos.data.frames import Frame, FrameCache
from rvos.masks import Mask, Track, encode
from rvos.settings import Count, Share, checked
from rvos.tracking.small_networks import BoxXyxy

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

    @cached_property
    def corners(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 in the frame."""
        return around(self.box, self.margin, self.frame.shape[:2])

    @property
    def pixels(self) -> Frame:
        x0, y0, x1, y1 = self.corners
        return np.ascontiguousarray(self.frame[y0:y1, x0:x1])

    @cached_property
    def small_grey(self) -> NDArray[np.uint8]:
        """(FLOW_SIDE, FLOW_SIDE), the same for crops of any size."""
        small = cv2.resize(self.pixels, (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)

    def full_size(self, answer: Probability) -> Probability:
        """An answer at the size at which it is moved, for the crop's pixels."""
        x0, y0, x1, y1 = self.corners
        return np.asarray(cv2.resize(answer, (x1 - x0, y1 - y0)), np.float32)


def masks_of(
    frames: Sequence[Frame] | FrameCache,
    boxes: Sequence[BoxXyxy | None],
    salient: Callable[[Frame], Probability],
    settings: Masking,
) -> Track:
    """One mask per frame; None where there is no box or nothing salient in it."""
    track: Track = [None] * len(frames)
    shown = [(t, box) for t, box in enumerate(boxes) if box is not None]
    answered = _every_frame if settings.every == 1 else partial(_some_frames, every=settings.every)
    crops = ((t, _Crop(frames[t], box, settings.margin)) for t, box in shown)
    for t, crop, answer in answered(crops, len(shown), salient):
        track[t] = _mask(crop, answer, settings)
    return track


_Crops = Iterable[tuple[int, _Crop]]
_Answers = Iterator[tuple[int, _Crop, Probability]]


def _every_frame(crops: _Crops, count: int, salient: Callable[[Frame], Probability]) -> _Answers:
    """The network's answer for each crop, smoothed: half of it, a quarter of each neighbour's.

    A crop at the end of the track takes a third of its only neighbour's.
    """
    seen: list[tuple[int, _Crop, Probability]] = []  # up to three neighbours
    for i, (t, crop) in enumerate(crops):
        seen = [*seen[-2:], (t, crop, salient(crop.pixels))]
        if i > 0:
            yield _smoothed(seen, len(seen) - 2)
        if i == count - 1:
            yield _smoothed(seen, len(seen) - 1)


def _smoothed(
    seen: Sequence[tuple[int, _Crop, Probability]], place: int
) -> tuple[int, _Crop, Probability]:
    """One of them with the weighted mean of its own answer and of its neighbours', moved to it."""
    t, crop, answer = seen[place]
    total, weight = 2 * answer, 2
    for beside in (place - 1, place + 1):
        if 0 <= beside < len(seen) and abs(seen[beside][0] - t) == 1:
            _, other, other_answer = seen[beside]
            total += crop.full_size(_moved(crop.small_grey, other.small_grey, small(other_answer)))
            weight += 1
    return t, crop, np.asarray(total / weight, np.float32)


def _some_frames(
    crops: _Crops, count: int, salient: Callable[[Frame], Probability], every: int
) -> _Answers:
    """The network's answer for every `every`-th crop; between two of them their mean, moved."""
    stretch: list[tuple[int, _Crop]] = []  # from one answer of the network to the next
    first: Probability | None = None
    for i, (t, crop) in enumerate(crops):
        stretch.append((t, crop))
        if i % every and i < count - 1:
            continue
        last = salient(crop.pixels)
        if first is not None:
            greys = [crop.small_grey for _, crop in stretch]
            forward = _chain(greys, first)
            backward = _chain(greys[::-1], last)[::-1]
            for k, (before, after) in enumerate(zip(forward, backward, strict=True), 1):
                share = k / (len(stretch) - 1)  # of the way to the last
                between, moved = stretch[k]
                yield between, moved, moved.full_size((1 - share) * before + share * after)
        yield t, crop, last
        first, stretch = last, stretch[-1:]


def _chain(greys: Sequence[NDArray[np.uint8]], answer: Probability) -> list[Probability]:
    """The first picture's answer moved from picture to picture; without the first and last one.

    Steps between neighbours follow fast limbs, which one flow over all of them loses.
    """
    moved, chain = small(answer), []
    for before, grey in zip(greys[:-2], greys[1:-1], strict=True):
        moved = _moved(grey, before, moved)
        chain.append(moved)
    return chain


def _moved(grey: NDArray[np.uint8], other: NDArray[np.uint8], answer: Probability) -> Probability:
    """The answer for the other picture, where its pixels are in this one; all FLOW_SIDE wide."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    came = flow.calc(grey, other, None)  # (side, side, 2): where each pixel is in the other one
    y, x = np.mgrid[:FLOW_SIDE, :FLOW_SIDE].astype(np.float32)
    moved = cv2.remap(answer, x + came[..., 0], y + came[..., 1], cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32)


def small(answer: Probability) -> Probability:
    """The answer for a crop at the size at which it is moved."""
    reduced = cv2.resize(answer, (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(reduced, np.float32)


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
    return max(0, min(left, right - 2)), max(0, min(top, bottom - 2)), right, bottom
