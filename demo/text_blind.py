"""J&F of the two baselines that never read the text, on any split with ground truth.

    python demo/text_blind.py ROOT [SPLIT]

Each gets the perfect mask of one object per video, for every expression: the largest or the
fastest-moving one of those that some expression refers to. On a dataset that tests language both
stay low (synthetic data: under 40).
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rvos.data.mevis import Annotations, read_split  # noqa: E402
from rvos.data.split import Split, Video, merge_tracks  # noqa: E402
from rvos.masks import Track, area, bounding_box  # noqa: E402
from rvos.score import score_track  # noqa: E402


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


def scores(split: Split, annotations: Annotations, baseline: str) -> tuple[float, float]:
    """(J, F) of a baseline over all expressions, 0..1."""
    predicted = predictions(split, annotations, baseline)
    values = []
    for video in split.videos:
        for expression in video.expressions:
            tracks = [annotations.track(i) for i in expression.annotation_ids]
            truth = merge_tracks(tracks, len(video.frames))
            j, f = score_track(truth, predicted[video.name][expression.expression_id])
            values.append((np.mean(j), np.mean(f)))
    j, f = np.mean(values, axis=0)
    return float(j), float(f)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("split", nargs="?", default="valid_u")
    options = parser.parse_args()
    split = read_split(options.root, options.split)
    annotations = Annotations(split)
    count = sum(len(video.expressions) for video in split.videos)
    print(f"{options.root}, {split.name}: {len(split.videos)} videos, {count} expressions")
    for baseline in BASELINES:
        j, f = scores(split, annotations, baseline)
        print(f"  {baseline:8}  J {100 * j:5.2f}  F {100 * f:5.2f}  J&F {50 * (j + f):5.2f}")


if __name__ == "__main__":
    main()
