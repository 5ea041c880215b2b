"""J&F of the two baselines that never read the text, on any split with ground truth.

    python benchmarks/text_blind.py ROOT [SPLIT]

Each gets the perfect mask of one object per video, for every expression: the largest or the
fastest-moving one. On a dataset that tests language both stay low (synthetic data: under 40).
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rvos.data.mevis import Annotations, Split, merge_tracks, read_split  # noqa: E402
from rvos.data.text_blind import BASELINES, predictions  # noqa: E402
from rvos.score import score_track  # noqa: E402


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
