"""The masks and the truth of one video -> J and F of its objects or expressions, for `rvos score`.

A protocol says which objects and frames count. The mean goes over all objects (or expressions) of
all videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rvos.errors import InputError
from rvos.masks import MISSING_FRAME, area
from rvos.score.given import frames_of
from rvos.score.measures import Scores, decay, j_and_f_of, recall
from rvos.score.pairs import contour_of_frame, j_and_f
from rvos.score.sources import VOID, Pictures, Tracks, VideoMasks

MAX_PROPOSALS = 20  # objects of a prediction that are matched; davis2017-evaluation


@dataclass(frozen=True)
class Protocol:
    """Which objects and frames count."""

    name: str
    text: str
    of_first_frame: bool = False  # objects 1..n, n the largest number of the truth's first frame
    inner_frames: bool = False  # neither the first nor the last frame counts
    after_first: bool = False  # only frames after the first that shows the object count
    matched: bool = False  # predicted objects are matched one to one; void pixels do not count


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("expressions", "all frames of all expressions or objects; MeViS"),
        Protocol(
            "semi-supervised",
            "objects of the first frame, without the first and the last frame; DAVIS 2017",
            of_first_frame=True,
            inner_frames=True,
        ),
        Protocol(
            "unsupervised",
            "objects of the first frame, matched one to one, all frames; DAVIS 2017",
            of_first_frame=True,
            matched=True,
        ),
        Protocol("objects", "all objects, after the frame that first shows them", after_first=True),
    )
}
# The servers' code of YouTube-VOS and MOSE is not public: `objects` is what their papers say.
DATASETS = {
    "mevis": "expressions",
    "davis17": "semi-supervised",
    "youtube-vos": "objects",
    "mose": "objects",
}


@dataclass(frozen=True)
class UnitScores:
    """J and F of one object or expression, (T,) each, in the frames that count."""

    video: str
    name: str
    J: Scores
    F: Scores

    def as_dict(self) -> dict[str, Any]:
        J, F = float(self.J.mean()), float(self.F.mean())
        return {
            **{"video": self.video, "name": self.name, "frames": len(self.J)},
            **{"J": J, "F": F, "J&F": (J + F) / 2},
            **{"J_recall": recall(self.J), "J_decay": decay(self.J)},
            **{"F_recall": recall(self.F), "F_decay": decay(self.F)},
        }


def score_video(
    video: str,
    truth: VideoMasks,
    masks: VideoMasks | None,
    protocol: Protocol,
    *,
    missing_is_empty: bool,
    ignore_extra: bool,
) -> tuple[list[UnitScores], list[str]]:
    """The scores of a video, and all that is missing, too much, or does not fit.

    `masks` is None for a video without any.
    """
    try:
        names = _names_of(truth, masks, protocol)
        problems = [] if ignore_extra or masks is None else _extra(names, masks, protocol)
        if masks is not None and masks.num_frames != truth.num_frames and len(masks.names):
            raise InputError(f"expected {truth.num_frames} frames, got {masks.num_frames}")
        if protocol.matched:
            return _matched(video, names, truth, masks, missing_is_empty), _of(video, problems)
    except InputError as error:
        return [], _of(video, [str(error)])
    scores = []
    for name in names:
        try:
            track = _track(masks, name, truth.num_frames, missing_is_empty)
            scores += _score(video, name, truth.track(name), track, protocol)
        except InputError as error:
            problems.append(f"{name}: {error}")
    return scores, _of(video, problems)


def _of(video: str, problems: Sequence[str]) -> list[str]:
    return [f"video {video}: {problem}" for problem in problems]


def _names_of(truth: VideoMasks, masks: VideoMasks | None, protocol: Protocol) -> list[str]:
    """The names to score. Raises InputError where a form has no numbers of objects."""
    if protocol.matched and isinstance(masks, Tracks):
        raise InputError(f"protocol {protocol.name}: expected masks <video>/<frame>.png")
    if not protocol.of_first_frame:
        return list(truth.names)
    if not isinstance(truth, Pictures):
        raise InputError(
            f"protocol {protocol.name}: expected a truth of pictures <video>/<frame>.png"
        )
    return [str(number) for number in range(1, truth.last_of_first + 1)]


def _extra(names: Sequence[str], masks: VideoMasks, protocol: Protocol) -> list[str]:
    if protocol.matched:  # any number of objects, up to a limit
        too_large = [n for n in masks.names if int(n) > MAX_PROPOSALS]
        return [f"objects above {MAX_PROPOSALS}: {', '.join(too_large)}"] if too_large else []
    more = [name for name in masks.names if name not in names]
    return [f"not in the truth: {', '.join(more)}"] if more else []


def _track(
    masks: VideoMasks | None, name: str, num_frames: int, missing_is_empty: bool
) -> Sequence[Any]:
    """The masks of one name; an object that no picture shows is empty. Raises InputError."""
    if masks is None or (isinstance(masks, Tracks) and name not in masks.names):
        if missing_is_empty:
            return [None] * num_frames
        raise InputError("no masks")
    track = masks.track(name)
    return [None if m is MISSING_FRAME else m for m in track] if missing_is_empty else track


def _score(
    video: str, name: str, truth: Sequence[Any], masks: Sequence[Any], protocol: Protocol
) -> list[UnitScores]:
    """The scores of one object, in a list; none where no frame counts."""
    start, stop = 0, len(truth)
    if protocol.inner_frames:
        start, stop = 1, stop - 1
    if protocol.after_first:
        shown = [t for t, mask in enumerate(truth) if _is_something(mask)]
        start = shown[0] + 1 if shown else stop
    if start >= stop:
        return []
    # What does not count need not be there; the others keep their place for errors to name.
    counted = [[m if start <= t < stop else None for t, m in enumerate(x)] for x in (truth, masks)]
    J, F = j_and_f(*counted)
    return [UnitScores(video, name, J[start:stop], F[start:stop])]


def _is_something(mask: Any) -> bool:
    return area(mask) > 0 if mask is None or isinstance(mask, dict) else bool(np.any(mask))


def _matched(
    video: str,
    names: Sequence[str],
    truth: VideoMasks,
    masks: VideoMasks | None,
    missing_is_empty: bool,
) -> list[UnitScores]:
    """Scores of the true objects, each with the predicted one that it is matched with.

    The matching is the one to one with the highest sum of mean J&F (davis2017-evaluation,
    davis2017/evaluation.py, task unsupervised).
    """
    from scipy.optimize import linear_sum_assignment

    assert isinstance(truth, Pictures)
    void = [p if p is None else p == VOID for p in truth.pictures]
    numbers = [] if masks is None else [int(n) for n in masks.names]
    proposals = range(1, max([len(names), *numbers]) + 1)
    predicted = []
    for number in proposals:
        track = _track(masks, str(number), truth.num_frames, missing_is_empty)
        frames, _ = frames_of(truth=truth.pictures, prediction=track, void=void)
        predicted.append([contour_of_frame(p, v) for _, p, v in frames])
    true = []
    for name in names:
        frames, _ = frames_of(truth=truth.track(name))
        true.append([contour_of_frame(g) for (g,) in frames])
    table = np.array(
        [
            [[j_and_f_of(g, p) for g, p in zip(gs, ps, strict=True)] for gs in true]
            for ps in predicted
        ]
    ).reshape(len(proposals), len(names), truth.num_frames, 2)
    means = table.mean(2)  # (P, G, 2)
    pairs = zip(*linear_sum_assignment(-(means[..., 0] + means[..., 1]) / 2), strict=True)
    return [
        UnitScores(video, names[g], table[p, g, :, 0], table[p, g, :, 1])
        for p, g in sorted(pairs, key=lambda pair: pair[1])
    ]
