"""Ground truth -> masks of two baselines that never read the text: largest and fastest object.

They get perfect masks and still must fail wherever the text decides; a dataset on which they
score well does not test language. Objects are the annotations that some expression refers to.
"""

from collections.abc import Callable

import numpy as np

from rvos.data.mevis import Annotations, Split, Video
from rvos.masks import Track, area, bounding_box


def mean_area(track: Track) -> float:
    """Mean foreground pixels per frame."""
    return float(np.mean([area(mask) for mask in track]))


def mean_speed(track: Track) -> float:
    """Mean distance of the box centres of neighbouring frames with the object, pixels."""
    boxes = [(t, bounding_box(mask)) for t, mask in enumerate(track)]
    at = {t: np.array([b[0] + b[2], b[1] + b[3]]) / 2 for t, b in boxes if b is not None}
    steps = [np.linalg.norm(at[t + 1] - centre) for t, centre in at.items() if t + 1 in at]
    return float(np.mean(steps)) if steps else 0.0


BASELINES: dict[str, Callable[[Track], float]] = {"largest": mean_area, "fastest": mean_speed}


def choose(video: Video, annotations: Annotations, quality: Callable[[Track], float]) -> Track:
    """The track with the highest `quality` among the annotated objects of a video."""
    ids = dict.fromkeys(i for e in video.expressions for i in e.annotation_ids)
    tracks = [annotations.track(i) for i in ids]
    return max(tracks, key=quality, default=[None] * len(video.frames))


def predictions(split: Split, annotations: Annotations, baseline: str) -> dict:
    """`{video: {expression_id: track}}`, the same object for every expression of a video."""
    result = {}
    for video in split.videos:
        track = choose(video, annotations, BASELINES[baseline])
        result[video.name] = {e.expression_id: track for e in video.expressions}
    return result
