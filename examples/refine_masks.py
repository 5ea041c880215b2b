"""Masks that a model and a tracker have made -> refined masks and their J, F and J&F.

    python examples/refine_masks.py

It reads the masks of 15 real videos that the tests use; put your own files in their place.
"""

from pathlib import Path

import numpy as np

from rvos.data.mevis import Annotations, read_split
from rvos.data.split import merge_tracks
from rvos.masks import TrackFiles, canonical_track, read_json
from rvos.refine import Candidates, Masklets, Vote
from rvos.score import Summary, score_track

DATA = Path(__file__).parents[1] / "tests" / "data" / "davis_masks"


def main(window: int = 15, tau: float = 0.8) -> Summary:
    split = read_split(DATA.parent, DATA.name)  # videos, expressions, annotation ids
    truth = Annotations(split)
    coarse = TrackFiles(DATA / "coarse.json.gz")  # {video: {expression_id: [mask per frame]}}
    masklets = TrackFiles(DATA / "masklets.json.gz")  # {video: {noun: [[mask per frame], ...]}}
    nouns = read_json(DATA / "nouns.json")  # {video: {expression_id: noun}}
    vote = Vote(window=window, tau=tau)

    before, after = [], []
    for video in split.videos:
        for expression in video.expressions:
            key = expression.expression_id
            instances = masklets.read(video.name)[nouns[video.name][key]]
            track = canonical_track(coarse.read(video.name)[key])
            refined = vote(Candidates(track, Masklets([canonical_track(m) for m in instances])))
            objects = [canonical_track(truth.track(i)) for i in expression.annotation_ids]
            target = merge_tracks(objects, len(video.frames))
            before.append([values.mean() for values in score_track(target, track)])
            after.append([values.mean() for values in score_track(target, refined.track)])

    for label, scores in (("coarse", before), ("refined", after)):
        J, F = np.transpose(scores)  # (E,) each
        summary = Summary.of(J, F)
        print(f"{label:8} J {summary.J:.4f}  F {summary.F:.4f}  J&F {summary.JF:.4f}")
    return summary


if __name__ == "__main__":
    main()
