"""Moving objects -> masklets, with OpenCV alone: no weights, any video.

1. Dense optical flow between neighbouring frames, both ways (DIS, preset ultrafast).
2. The camera's motion is the similarity most flow vectors agree on; frames over which the camera
   stays in place share a median background.
3. An object is what differs from that background and does not move as the camera does; the
   connected components of it are the detections of a frame.
4. Masks are carried forward by the flow and matched to detections by IoU (Hungarian); a detection
   into which several objects have run is divided among them. What no track explains starts one;
   one not seen any more ends; a new one that looks like an ended one continues it. Then every
   track is carried backward from its first frame.

It cannot see objects that never move, and it cannot tell what they are: every noun of a video gets
the same masklets. Look-alikes that cross may swap, and fast motion drifts (good for 30 frames,
doubtful beyond 60).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from rvos.masklets.motion import Image, Motion, Pixels, background_differences
from rvos.masks import Mask, Track, encode

HISTOGRAM_BINS = 6  # per colour channel
GAP = 0.03  # share of the longer side: parts this near are one object
INSIDE = 0.3  # share of a carried mask in a detection, above which the detection shows it too


@dataclass(eq=False)
class Instance:
    """One object while it is tracked; masks at working size by frame_idx, where it is visible."""

    state: Pixels  # where it is, or would be, in the frame reached so far
    colors: NDArray[np.float32]  # colour histogram when it was found
    masks: dict[int, Pixels] = field(default_factory=dict)
    unseen: int = 0  # frames since something last supported it

    @property
    def area(self) -> float:
        return float(np.median([mask.sum() for mask in self.masks.values()]))


@dataclass(frozen=True)
class FlowTracker:
    """Settings of the weight-free tracker; conf/masklets gives all of them.

    size: longer side in pixels at which motion is computed.
    difference: colour difference from the background, 0..255, that counts.
    motion: pixels per frame, relative to the camera, above which a pixel moves.
    min_area: smallest object, share of the frame.
    match_iou: least IoU of a carried mask and the detection that confirms it.
    similarity: least histogram intersection, 0..1, at which colours count as the same object's.
    max_unseen: frames without support after which a track ends.
    min_travel: least way of an object relative to the camera, share of the longer side.
    """

    size: int
    difference: float
    motion: float
    min_area: float
    match_iou: float
    similarity: float
    max_unseen: int
    min_travel: float

    def track(self, frames: Iterable[NDArray[np.uint8]], size: tuple[int, int]) -> list[Track]:
        """(H, W, 3) uint8 RGB frames of `size` (H, W) -> one track per moving object."""
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
        kept = [i for i in run.instances if run.moves(i)]
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
        self.first: dict[int, int] = {}  # index of an instance -> frame of its birth

    def _foreground(self) -> list[Pixels]:
        """Per frame the pixels that differ from the background and move by themselves."""
        near = np.ones((5, 5), np.uint8)
        gap = max(5, round(GAP * max(self.images[0].shape[:2])))
        found = []
        for difference, speed in zip(background_differences(self.images, self.motion),
                                     self.motion.residual, strict=True):
            moving = cv2.dilate((speed > self.settings.motion).astype(np.uint8), near)
            pixels = ((difference > self.settings.difference) & (moving > 0)).astype(np.uint8)
            closed = cv2.morphologyEx(pixels, cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8))
            found.append(cv2.morphologyEx(closed, cv2.MORPH_OPEN, near[:3, :3]) > 0)
        return found

    def moves(self, instance: Instance) -> bool:
        """Whether it gets anywhere, relative to the camera; not what only looked like motion."""
        centres = {t: np.argwhere(mask).mean(0)[::-1] for t, mask in instance.masks.items()}
        least = self.settings.min_travel * max(self.images[0].shape)
        return len(centres) > 2 and self.motion.travel(centres) > least

    # ----------------------------------------------------------------------------- passes

    def forward(self) -> None:
        active: list[Instance] = []
        for t in range(len(self.images)):
            for instance in active:
                instance.state = self.motion.carry(instance.state, self.motion.backward[t])
            self._update(t, active, self.foreground[t])
            active = [i for i in active if i.unseen <= self.settings.max_unseen]
            for region in self._unexplained(t, active):
                instance = self._found_again(t, region, active) or self._born(t, region)
                active.append(instance)

    def backward(self) -> None:
        """Carry every instance back from its birth until nothing supports it."""
        active: list[Instance] = []
        for instance in self.instances:
            instance.unseen = 0
        for t in range(len(self.images) - 2, -1, -1):
            for i, instance in enumerate(self.instances):
                if self.first[i] == t + 1:
                    instance.state = instance.masks[t + 1]
                    active.append(instance)
            for instance in active:
                instance.state = self.motion.carry(instance.state, self.motion.forward[t])
            taken = _union([i.masks[t] for i in self.instances if t in i.masks],
                           self.foreground[t])
            self._update(t, active, self.foreground[t] & ~taken, taken)
            active = [i for i in active if i.unseen <= self.settings.max_unseen]

    # ------------------------------------------------------------------------ one frame

    def _update(self, t: int, active: list[Instance], foreground: Pixels,
                taken: Pixels | None = None) -> None:
        """Confirm, correct or give up the carried masks of frame t."""
        labels, areas = _components(foreground, self.min_pixels)
        owners = self._owners(active, labels, areas)
        for i, instance in enumerate(active):
            mine = [label for label, who in owners.items() if i in who]
            pixels = np.zeros_like(foreground)
            for label in mine:
                pixels |= _share(labels == label, i, [(k, active[k].state) for k in owners[label]])
            if mine and pixels.sum() >= self.min_pixels:
                instance.state = pixels
            else:
                visible = instance.state if taken is None else instance.state & ~taken
                if not self._looks_like(t, instance, visible):
                    instance.unseen += 1
                    continue
                instance.state = visible
            instance.unseen = 0
            instance.masks[t] = instance.state

    def _owners(self, active: list[Instance], labels: NDArray[np.int32],
                areas: dict[int, int]) -> dict[int, list[int]]:
        """Detection -> the instances it shows: matched by IoU, or lying in it for a good part."""
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
        matched = {(i, j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
                   if ious[i, j] >= self.settings.match_iou}
        inside = {(i, j) for i, j in np.argwhere(overlaps > INSIDE).tolist()}
        for i, j in sorted(matched | inside):
            owners[names[j]].append(i)
        return owners

    def _looks_like(self, t: int, instance: Instance, pixels: Pixels) -> bool:
        if pixels.sum() < self.min_pixels:
            return False
        colors = _histogram(self.images[t], pixels)
        return float(np.minimum(colors, instance.colors).sum()) >= self.settings.similarity

    def _unexplained(self, t: int, active: list[Instance]) -> list[Pixels]:
        """Detections of frame t, without what active instances cover."""
        covered = _union([i.state for i in active], self.foreground[t]).astype(np.uint8)
        near = cv2.dilate(covered, np.ones((7, 7), np.uint8)) > 0
        labels, areas = _components(self.foreground[t] & ~near, self.min_pixels)
        return [labels == label for label in areas]

    def _found_again(self, t: int, region: Pixels, active: list[Instance]) -> Instance | None:
        """The ended or hidden instance that the region looks most like, if any."""
        colors, best, chosen = _histogram(self.images[t], region), self.settings.similarity, None
        for instance in self.instances:
            lost = instance.unseen > 0 and t not in instance.masks
            if not lost or not 0.4 < region.sum() / instance.area < 2.5:
                continue
            similarity = float(np.minimum(colors, instance.colors).sum())
            if similarity > best:
                best, chosen = similarity, instance
        if chosen is not None:
            chosen.state, chosen.unseen, chosen.masks[t] = region, 0, region
            if chosen in active:
                active.remove(chosen)
        return chosen

    def _born(self, t: int, region: Pixels) -> Instance:
        instance = Instance(region, _histogram(self.images[t], region), {t: region})
        self.first[len(self.instances)] = t
        self.instances.append(instance)
        return instance


# --------------------------------------------------------------------------------- pixels


def _components(pixels: Pixels, min_pixels: float) -> tuple[NDArray[np.int32], dict[int, int]]:
    """Labelled 8-connected components (h, w) int32, and the area of those large enough."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pixels.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].tolist()
    large = {i: areas[i] for i in range(1, count) if areas[i] >= min_pixels}
    return np.asarray(labels, np.int32), large


def _share(region: Pixels, mine: int, states: Sequence[tuple[int, Pixels]]) -> Pixels:
    """The part of a detection nearer to one instance's carried mask than to any other's."""
    if len(states) == 1:
        return region
    distances = {
        i: cv2.distanceTransform((~state).astype(np.uint8), cv2.DIST_L2, 3) for i, state in states
    }
    others = np.min([d for i, d in distances.items() if i != mine], axis=0)
    return region & (distances[mine] <= others)


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
