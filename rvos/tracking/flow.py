"""Moving objects -> masklets, with OpenCV alone: no weights, any video.

1. Optical flow: dense, between neighbouring frames, in both directions (DIS, preset ultrafast).
2. Camera motion and background: the camera's motion is the transform on which most flow vectors
   agree. Frames over which the camera stays in place share a background (a median).
3. Detections: the connected components of the pixels that differ from the background and do not
   move with the camera.
4. Forward pass: the flow warps the masks into the next frame, where they are matched to detections
   by IoU (Hungarian algorithm). Objects that run into one detection divide it among them; parts of
   a mask that move apart become different objects; an unmatched detection starts an instance.
5. Backward pass: every instance is warped backward from its first frame, and takes its part of
   the masks that contained it before it moved apart.
6. Merging: instances that touch and move together are one object, and so are instances that look
   alike and are never visible together.

It does not detect objects that never move, and it does not know what an object is: every noun of a
video gets the same masklets. Objects that look alike may swap when they cross, and masks drift with
fast motion (good for 30 frames, doubtful beyond 60).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from rvos.masks import Mask, Track, encode
from rvos.settings import Amount, Count, Real, Share, Whole, checked, preset
from rvos.tracking.motion import Image, Motion, Pixels, background_differences

HISTOGRAM_BINS = 6  # per colour channel
EDGE = 0.4  # share of the largest difference nearby: below it lies an object's blurred edge
GAP = 0.01  # share of the longer side: parts this close are one object
INSIDE = 0.3  # share of a warped mask inside a detection, above which it shows the object too
PARTING = 0.5  # pixels per frame, or share of the speed: parts that differ more are two objects
TOGETHER = 0.4  # pixels per frame: parts of one object differ less


@dataclass(eq=False)
class Instance:
    """One object while it is tracked; its masks have the working size."""

    state: Pixels  # its mask, or the warped mask, in the current frame
    colors: NDArray[np.float32]  # colour histogram when it was found
    first: int  # frame in which it was found
    masks: dict[int, Pixels] = field(default_factory=dict)  # {frame_idx: mask} where visible
    unseen: int = 0  # frames since a detection or its colours last confirmed it

    @property
    def size(self) -> int:
        """Number of pixels over all frames."""
        return sum(int(mask.sum()) for mask in self.masks.values())

    @property
    def area(self) -> float:
        """Median number of pixels where it is visible."""
        return float(np.median([mask.sum() for mask in self.masks.values()]))


@checked
class FlowTracker:
    """Settings of the weight-free tracker; conf/masklets gives all of them.

    size: longer side in pixels at which motion is computed.
    difference: lowest colour difference from the background, 0..255, of a moving object.
    motion: pixels per frame, relative to the camera, above which a pixel moves.
    min_area: smallest area of an object, share of the frame.
    match_iou: lowest IoU of a warped mask and the detection that confirms it.
    similarity: lowest histogram intersection, 0..1, of the colours of one object.
    max_unseen: frames without confirmation after which an instance ends.
    min_travel: lowest extent of an object's path, camera motion removed, share of the longer side.
    max_instances: the largest and longest visible objects of a video that become masklets.
    """

    size: Annotated[Whole, Field(ge=16)]
    difference: Annotated[Real, Field(ge=0, le=255)]
    motion: Amount
    min_area: Share
    match_iou: Share
    similarity: Share
    max_unseen: Whole
    min_travel: Share
    max_instances: Count

    @classmethod
    def preset(cls, name: str = "flow", **changes: Any) -> "FlowTracker":
        """The settings `flow` of conf/masklets/<name>.yaml, with `changes`."""
        settings = {k: v for k, v in preset("masklets", name)["flow"].items() if k != "_target_"}
        return cls(**settings | changes)

    def track(self, frames: Iterable[NDArray[np.uint8]], size: tuple[int, int]) -> list[Track]:
        """One track per moving object of (H, W, 3) uint8 RGB frames; `size`: (H, W)."""
        scale = min(1.0, self.size / max(size))
        small = (max(16, round(size[1] * scale)), max(16, round(size[0] * scale)))
        images: list[Image] = [
            np.asarray(cv2.resize(frame, small, interpolation=cv2.INTER_AREA), np.uint8)
            for frame in frames
        ]
        if len(images) < 2:
            return []
        run = _Run(self, images)
        run.forward()
        run.backward()
        run.merge()
        moving = [i for i in run.instances if run.moves(i)]
        sizes = sorted((i.size for i in moving), reverse=True)
        least = sizes[: self.max_instances][-1] if sizes else 0
        kept = [i for i in moving if i.size >= least]
        return [[_full_size(i.masks.get(t), size) for t in range(len(images))] for i in kept]


class _Run:
    """The tracking of one video."""

    def __init__(self, settings: FlowTracker, images: Sequence[Image]):
        self.settings = settings
        self.images = images
        self.min_pixels = max(12, settings.min_area * images[0].shape[0] * images[0].shape[1])
        self.motion = Motion(images)
        self.foreground = self._foreground()
        self.instances: list[Instance] = []

    def _foreground(self) -> list[Pixels]:
        """Per frame the pixels that differ from the background and move relative to it."""
        near = np.ones((5, 5), np.uint8)
        gap = max(3, round(GAP * max(self.images[0].shape[:2])))
        foregrounds = []
        differences = background_differences(self.images, self.motion, self.settings.motion)
        for t, difference in enumerate(differences):
            faster = (self.motion.speed(t) > self.settings.motion).astype(np.uint8)
            moving = cv2.dilate(faster, near) > 0
            clear = difference > EDGE * cv2.dilate(difference, near).astype(np.float32)
            pixels = (moving & clear & (difference > self.settings.difference)).astype(np.uint8)
            closed = cv2.morphologyEx(pixels, cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8))
            foregrounds.append(cv2.morphologyEx(closed, cv2.MORPH_OPEN, near[:3, :3]) > 0)
        return foregrounds

    def moves(self, instance: Instance) -> bool:
        """Whether an instance travels far enough, relative to the camera, to be a moving object."""
        centres = {t: np.argwhere(mask).mean(0)[::-1] for t, mask in instance.masks.items()}
        least = self.settings.min_travel * max(self.images[0].shape)
        return len(centres) > 2 and self.motion.travel(centres) > least

    # ----------------------------------------------------------------------------- passes

    def forward(self) -> None:
        """Track all instances from the first frame to the last; start new ones."""
        active: list[Instance] = []
        for t in range(len(self.images)):
            for instance in active:
                instance.state = self.motion.warp(instance.state, self.motion.backward[t])
            unmatched = self._update(t, active)
            active = [i for i in active if i.unseen <= self.settings.max_unseen]
            for region in unmatched:
                active.append(self._start(t, region))

    def _update(self, t: int, active: list[Instance]) -> list[Pixels]:
        """Match the warped masks with the detections of frame t; returns unmatched detections."""
        labels, areas = _components(self.foreground[t], self.min_pixels)
        owners = self._owners(t, active, labels, areas)
        for i, instance in enumerate(active):
            pixels = np.zeros_like(self.foreground[t])
            for label, who in owners.items():
                if i in who:
                    others = [active[k].state for k in who if k != i]
                    pixels |= _share(labels == label, instance.state, others)
            self._confirm(t, instance, pixels if pixels.sum() >= self.min_pixels else None)
        return [labels == label for label, who in owners.items() if not who]

    def _confirm(self, t: int, instance: Instance, detected: Pixels | None) -> None:
        """Set the mask of frame t: the detection, or else the warped mask if its colours fit."""
        if detected is None and not self._looks_like(t, instance, instance.state):
            instance.unseen += 1
            return
        if detected is not None:
            instance.state = detected
        instance.unseen = 0
        instance.masks[t] = instance.state

    def backward(self) -> None:
        """Track every instance backward from its first frame until nothing confirms it."""
        for instance in self.instances:
            instance.unseen = 0
        for t in range(len(self.images) - 2, -1, -1):
            present = [i for i in self.instances if t in i.masks]
            for instance in self.instances:
                if t + 1 in instance.masks or t + 1 < instance.first:
                    state = instance.masks.get(t + 1, instance.state)
                    instance.state = self.motion.warp(state, self.motion.forward[t])
            for instance in self.instances:
                if t < instance.first and instance.unseen <= self.settings.max_unseen:
                    self._confirm_earlier(t, instance, present)

    def _confirm_earlier(self, t: int, instance: Instance, present: list[Instance]) -> None:
        """Set the mask of a frame before `instance.first`, if its colours fit.

        The mask consists of unmatched detections and of the instance's part of the masks that
        contain it. `present`: the instances that already had a mask in frame t.
        """
        mine = instance.state
        holders = [
            i for i in present if t in i.masks and (i.masks[t] & mine).sum() > INSIDE * mine.sum()
        ]
        taken = _union([i.masks[t] for i in present if t in i.masks], mine)
        labels, areas = _components(self.foreground[t] & ~taken, self.min_pixels)
        pixels = _union([labels == label for label in areas if label in labels[mine]], mine)
        for holder in holders:
            theirs = holder.state if t + 1 in holder.masks else holder.masks[t] & ~mine
            pixels |= _share(holder.masks[t], mine, [theirs])
        if not self._looks_like(t, instance, pixels):
            instance.unseen += 1
            return
        instance.unseen = 0
        instance.masks[t] = pixels
        for holder in holders:
            rest = holder.masks.pop(t) & ~pixels
            if rest.sum() >= self.min_pixels:
                holder.masks[t] = rest

    def merge(self) -> None:
        """Merge parts that touch and move together, and objects that leave and come back."""
        whole: list[Instance] = []
        for part in sorted(self.instances, key=lambda i: -i.size):
            part.colors = self._usual_colors(part)
            same = (i for i in whole if self._are_parts(i, part) or self._follow(i, part))
            if known := next(same, None):
                for t, mask in part.masks.items():
                    known.masks[t] = known.masks[t] | mask if t in known.masks else mask
            elif part.masks:
                whole.append(part)
        self.instances = whole

    def _usual_colors(self, instance: Instance) -> NDArray[np.float32]:
        """Mean colour histogram of an instance over the larger half of its masks."""
        large = sorted(instance.masks, key=lambda t: -instance.masks[t].sum())
        large = large[: (len(large) + 1) // 2]
        return np.mean([_histogram(self.images[t], instance.masks[t]) for t in large], axis=0)

    def _are_parts(self, a: Instance, b: Instance) -> bool:
        """Whether two instances are visible together, touch and have the same velocity."""
        shared = a.masks.keys() & b.masks.keys()
        if len(shared) < len(b.masks) / 2 or not shared:
            return False
        velocity = self.motion.velocity
        difference = [velocity(t, a.masks[t]) - velocity(t, b.masks[t]) for t in shared]
        if np.linalg.norm(difference, axis=1).mean() > TOGETHER:
            return False
        near = np.ones((7, 7), np.uint8)
        touching = [
            (cv2.dilate(b.masks[t].astype(np.uint8), near) > 0)[a.masks[t]].any() for t in shared
        ]
        return float(np.mean(touching)) > 0.8

    def _follow(self, a: Instance, b: Instance) -> bool:
        """Whether two instances look alike, have similar sizes and are never visible together."""
        if a.masks.keys() & b.masks.keys() or not 0.4 < a.area / b.area < 2.5:
            return False
        return float(np.minimum(a.colors, b.colors).sum()) >= self.settings.similarity

    def _owners(
        self, t: int, active: list[Instance], labels: NDArray[np.int32], areas: dict[int, int]
    ) -> dict[int, list[int]]:
        """{detection: the instances it shows}: matched by IoU, or to a good part inside it.

        An instance is shown by several detections only if these move together.
        """
        owners: dict[int, list[int]] = {label: [] for label in areas}
        names = list(areas)
        overlaps = np.zeros((len(active), len(names)))
        ious = np.zeros_like(overlaps)
        for i, instance in enumerate(active):
            counts = np.bincount(labels[instance.state], minlength=max(names, default=0) + 1)
            area = instance.state.sum()
            for j, label in enumerate(names):
                overlaps[i, j] = counts[label] / max(area, 1)
                ious[i, j] = counts[label] / max(area + areas[label] - counts[label], 1)
        rows, columns = linear_sum_assignment(-ious)
        matched = {
            (i, j)
            for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
            if ious[i, j] >= self.settings.match_iou
        }
        inside = {(i, j) for i, j in np.argwhere(overlaps > INSIDE).tolist()}
        velocity = {j: self.motion.velocity(t, labels == names[j]) for _, j in matched | inside}
        for i in range(len(active)):
            mine = sorted((j for k, j in matched | inside if k == i), key=lambda j: -ious[i, j])
            for j in mine:
                apart = np.linalg.norm(velocity[j] - velocity[mine[0]])
                if apart <= PARTING * max(1.0, float(np.linalg.norm(velocity[mine[0]]))):
                    owners[names[j]].append(i)
        return owners

    def _looks_like(self, t: int, instance: Instance, pixels: Pixels) -> bool:
        """Whether pixels of frame t are enough, and have the colours of the instance."""
        if pixels.sum() < self.min_pixels:
            return False
        colors = _histogram(self.images[t], pixels)
        return float(np.minimum(colors, instance.colors).sum()) >= self.settings.similarity

    def _start(self, t: int, region: Pixels) -> Instance:
        instance = Instance(region, _histogram(self.images[t], region), t, {t: region})
        self.instances.append(instance)
        return instance


# --------------------------------------------------------------------------------- pixels


def _components(pixels: Pixels, min_pixels: float) -> tuple[NDArray[np.int32], dict[int, int]]:
    """Labels (h, w) int32 of the 8-connected components, and {label: area} of the large ones."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pixels.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].tolist()
    large = {i: areas[i] for i in range(1, count) if areas[i] >= min_pixels}
    return np.asarray(labels, np.int32), large


def _share(region: Pixels, mine: Pixels, others: Sequence[Pixels]) -> Pixels:
    """The part of a detection that is closer to one instance's warped mask than to the others'."""
    if not others:
        return region
    distance, *distances = [
        cv2.distanceTransform((~state).astype(np.uint8), cv2.DIST_L2, 3)
        for state in (mine, *others)
    ]
    return region & (distance <= np.min(distances, axis=0))


def _union(masks: Sequence[Pixels], like: Pixels) -> Pixels:
    result = np.zeros_like(like)
    for mask in masks:
        result |= mask
    return result


def _histogram(image: Image, pixels: Pixels) -> NDArray[np.float32]:
    """Normalised joint colour histogram of some pixels, (bins^3,)."""
    levels = image[pixels].astype(np.int32) * HISTOGRAM_BINS // 256  # (P, 3)
    joint = (levels[:, 0] * HISTOGRAM_BINS + levels[:, 1]) * HISTOGRAM_BINS + levels[:, 2]
    counts = np.bincount(joint, minlength=HISTOGRAM_BINS**3).astype(np.float32)
    return counts / max(counts.sum(), 1)


def _full_size(pixels: Pixels | None, size: tuple[int, int]) -> Mask:
    if pixels is None:
        return None
    soft = cv2.resize(pixels.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    full = soft > 0.5
    return encode(full) if full.any() else None
