"""Boxes of all frames -> one track of boxes per instance, by a box tracker.

The surest box that no track explains yet starts one. The tracker follows it forward and backward;
a detection of the frame that overlaps the followed box takes its place. Where neither the tracker
nor a detection is sure, the object is lost until a detection near its last place restarts it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rvos.data.frames import Frame, FrameCache
from rvos.settings import Count, Share, Whole, checked
from rvos.tracking.small_networks import BoxXyxy, Detections, suppressed

REACH = 0.25  # of its diagonal per frame: how far from its last place a lost object may be
GROWTH = 2.0  # times its last area, or a part of it, that a lost object may have


@checked
class Following:
    """Settings of the tracks; conf/masklets/small.yaml gives all of them.

    least_score: of a detection that may continue a track.
    start_score: of a detection that may start one.
    nms_iou: of two detections of a frame that overlap more, the less sure goes.
    match_iou: overlap from which a detection is the followed object.
    tracker_score: of the box tracker, below which its box is not believed.
    max_unseen: frames without a detection that the box tracker bridges.
    min_share: of a track's frames that have a detection; with fewer it goes.
    inside: share of its boxes' area inside a surer track, from which a track is a part of it.
    max_instances: tracks per noun.
    """

    least_score: Share
    start_score: Share
    nms_iou: Share
    match_iou: Share
    tracker_score: Share
    max_unseen: Whole
    min_share: Share
    inside: Share
    max_instances: Count


@dataclass(eq=False)
class BoxTrack:
    """One instance: its box in every frame, and the score of the detection that confirmed it."""

    boxes: list[BoxXyxy | None]
    scores: list[float] = field(default_factory=list)  # 0 where no detection confirmed the box

    @property
    def score(self) -> float:
        """The mean of the detections' scores over the frames that have a box."""
        shown = [s for s, box in zip(self.scores, self.boxes, strict=True) if box is not None]
        return float(np.mean(shown)) if shown else 0.0


@dataclass
class _OfFrame:
    """The detections of one class set in one frame; those that no track explains are free."""

    xyxy: NDArray[np.float32]  # (O, 4)
    scores: NDArray[np.float32]  # (O,)
    free: NDArray[np.bool_]  # (O,)


def tracks_of(
    frames: Sequence[Frame] | FrameCache,
    detections: Sequence[Detections],
    classes: Sequence[int],
    tracker: Callable[[], Any],
    settings: Following,
) -> list[BoxTrack]:
    """The instances of the classes (positions in COCO's list), the surest first.

    `tracker` makes a `BoxTracker`.
    """
    candidates = [_of_classes(in_frame, classes, settings) for in_frame in detections]
    tracks: list[BoxTrack] = []
    for _ in range(2 * settings.max_instances):
        seed = _surest(candidates, settings.start_score)
        if seed is None or len(tracks) == settings.max_instances:
            break
        track = _follow_both_ways(frames, candidates, *seed, tracker, settings)
        if _is_new(track, tracks, settings):
            tracks.append(track)
    return sorted(tracks, key=lambda track: -track.score)


def _of_classes(detections: Detections, classes: Sequence[int], settings: Following) -> _OfFrame:
    scores = detections.scores[:, list(classes)].max(1, initial=0)
    sure = scores >= settings.least_score
    xyxy, scores = detections.xyxy[sure], scores[sure]
    kept = suppressed(xyxy, scores.tolist(), settings.nms_iou)
    return _OfFrame(xyxy[kept], scores[kept], np.ones(len(kept), bool))


def _surest(candidates: Sequence[_OfFrame], least: float) -> tuple[int, int] | None:
    """Frame and position of the surest free detection; None where none reaches `least`."""
    best, where = -1.0, None
    for t, frame in enumerate(candidates):
        scores = np.where(frame.free, frame.scores, -1)
        if scores.max(initial=-1) > best:
            best, where = float(scores.max()), (t, int(scores.argmax()))
    return where if best >= least else None


def _follow_both_ways(
    frames: Sequence[Frame] | FrameCache,
    candidates: Sequence[_OfFrame],
    start: int,
    position: int,
    tracker: Callable[[], Any],
    settings: Following,
) -> BoxTrack:
    """From the detection to both ends of the video; its detections are no longer free."""
    track = BoxTrack([None] * len(frames), [0.0] * len(frames))
    orders = range(start, len(frames)), range(start, -1, -1)
    chains = [_chains(candidates, order, settings.match_iou) for order in orders]
    for order, chain in zip(orders, chains, strict=True):
        _follow(track, frames, candidates, order, position, chain, tracker, settings)
    for frame, box in zip(candidates, track.boxes, strict=True):
        if box is not None:
            frame.free &= ious(frame.xyxy, box) < settings.match_iou
    return track


def _chains(
    candidates: Sequence[_OfFrame], order: range, least: float
) -> dict[tuple[int, int], int | None]:
    """{(frame, free detection): which detection of the next frame follows it, None for none}.

    `order` is the frames in the direction of the walk. The followers make the sum of scores and
    overlaps along the rest of the walk the largest (Seq-NMS, Han et al. 2016, with overlaps).
    """
    follows: dict[tuple[int, int], int | None] = {}
    ahead = np.zeros(0)  # of each detection of the frame after t
    for t, after in zip(order[::-1], [None, *order[:0:-1]], strict=True):
        frame = candidates[t]
        values = np.array(frame.scores, np.float64)
        for i in range(len(values)):
            follows[t, i] = None
            if after is None or not len(ahead):
                continue
            overlaps = ious(candidates[after].xyxy, frame.xyxy[i])
            linked = candidates[after].free & (overlaps >= least)
            gains = np.where(linked, overlaps + ahead, 0)
            if gains.max() > 0:
                follows[t, i] = int(gains.argmax())
                values[i] += gains.max()
        ahead = values
    return follows


def _follow(
    track: BoxTrack,
    frames: Sequence[Frame] | FrameCache,
    candidates: Sequence[_OfFrame],
    order: range,
    position: int,
    chain: dict[tuple[int, int], int | None],
    tracker: Callable[[], Any],
    settings: Following,
) -> None:
    """One direction: along chains of detections, and over the gaps between them by the tracker."""
    follower, last, unseen, lost = tracker(), candidates[order[0]].xyxy[position], 0, False
    match: int | None = position
    for before, t in zip([None, *order[:-1]], order, strict=True):
        if before is not None:
            match = None if match is None else chain[before, match]
            if match is None and not lost:
                if not unseen:
                    follower.start(frames[before], last)
                followed, sure = follower.follow(frames[t])
                lost = sure < settings.tracker_score or unseen >= settings.max_unseen
                match = None if lost else _match(candidates[t], followed, settings.match_iou)
            unseen += 1
            if match is None and lost:
                match = _restart(candidates[t], last, unseen, settings)
            if match is None and lost:
                continue
        if match is None:
            last = followed
        else:
            last, unseen, lost = candidates[t].xyxy[match], 0, False
            track.scores[t] = float(candidates[t].scores[match])
        track.boxes[t] = last


def _match(frame: _OfFrame, box: BoxXyxy, least: float) -> int | None:
    """The free detection that overlaps the box most, if by at least `least`."""
    overlaps = np.where(frame.free, ious(frame.xyxy, box), 0)
    return int(overlaps.argmax()) if overlaps.max(initial=0) >= least else None


def _restart(frame: _OfFrame, last: BoxXyxy, gap: int, settings: Following) -> int | None:
    """The surest free detection that a lost object may be, by its place and size."""
    if not len(frame.xyxy):
        return None
    middles = (frame.xyxy[:, :2] + frame.xyxy[:, 2:]) / 2
    far = np.linalg.norm(middles - (last[:2] + last[2:]) / 2, axis=1)
    diagonal = float(np.linalg.norm(last[2:] - last[:2]))
    growth = areas(frame.xyxy) / max(float(areas(last[None])[0]), 1.0)
    fits = (far <= REACH * diagonal * min(gap, 4)) & (growth <= GROWTH) & (growth >= 1 / GROWTH)
    scores = np.where(frame.free & fits, frame.scores, -1)
    return int(scores.argmax()) if scores.max() >= settings.start_score else None


def _is_new(track: BoxTrack, others: Sequence[BoxTrack], settings: Following) -> bool:
    """Whether detections carry the track, and it does not lie in the surer one of another object.

    A part of an object gives boxes inside it, less sure than its own.
    """
    shown = [t for t, box in enumerate(track.boxes) if box is not None]
    if sum(track.scores[t] > 0 for t in shown) < settings.min_share * len(shown):
        return False
    return not any(
        track.score < other.score
        and np.mean([share_inside(a, b) >= settings.inside for a, b in pairs(track, other)]) > 0.5
        for other in others
    )


def pairs(track: BoxTrack, other: BoxTrack) -> list[tuple[BoxXyxy, BoxXyxy | None]]:
    """The boxes of a track, each with the other track's box in the same frame."""
    both = zip(track.boxes, other.boxes, strict=True)
    return [(box, other_box) for box, other_box in both if box is not None]


def share_inside(box: BoxXyxy, other: BoxXyxy | None) -> float:
    """The share of a box that lies in the other one."""
    if other is None:
        return 0.0
    return float(_shared(box[None], other)[0] / max(float(areas(box[None])[0]), 1e-6))


def areas(xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes (O, 4) -> (O,) pixels."""
    return (xyxy[:, 2:] - xyxy[:, :2]).clip(0).prod(1)


def ious(xyxy: NDArray[np.float32], box: BoxXyxy) -> NDArray[np.float32]:
    """Overlap of boxes (O, 4) with one box (4,): (O,) in 0..1."""
    shared = _shared(xyxy, box)
    return shared / np.maximum(areas(xyxy) + areas(box[None]) - shared, 1e-6)


def _shared(xyxy: NDArray[np.float32], box: BoxXyxy) -> NDArray[np.float32]:
    low, high = np.maximum(xyxy[:, :2], box[:2]), np.minimum(xyxy[:, 2:], box[2:])
    return (high - low).clip(0).prod(1)
