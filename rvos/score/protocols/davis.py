"""DAVIS 2017 without given masks, and Ref-DAVIS17: objects that are matched one to one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rvos.data.split import Split, Truth, Video
from rvos.errors import InputError, list_problems
from rvos.masks import Track, minus
from rvos.score.given import frames_of
from rvos.score.measures import FrameScores
from rvos.score.protocols.objects import OfFirstFrame
from rvos.score.protocols.protocol import Answer, UnitScores
from rvos.score.sources import Pictures, Tracks

MAX_PROPOSALS = 20  # objects of a prediction that are matched; davis2017-evaluation
ANNOTATORS = 4  # of Ref-DAVIS17: expression id = 4 x object + annotator


@dataclass(frozen=True, eq=False)
class TrueObjects:
    """The true objects of a video, and the scores of pairs of masks that are known already."""

    tracks: Sequence[Track]  # of the objects 1, 2, ...
    void: Track  # pixels that do not count
    # by frame, then by counts of the masks
    pairs: dict[int, dict[tuple[str, str], tuple[float, float]]] = field(default_factory=dict)


class Unsupervised(OfFirstFrame):
    """`unsupervised`: predicted and true objects are matched one to one by their mean J&F.

    All frames count, pixels of label 255 do not. True objects are those up to the largest label of
    the first frame. davis2017-evaluation, davis2017/evaluation.py, task unsupervised.
    """

    name = "unsupervised"
    text = "objects of the first frame, matched one to one, all frames; DAVIS 2017"

    def read(self, truth: Any, video: Video) -> TrueObjects:
        return TrueObjects(*truth.objects(video))

    def names(self, truth: Any, prediction: Any) -> list[str]:
        """The numbers of the objects that are matched, true or predicted."""
        true = super().names(truth, prediction)
        if isinstance(truth, Pictures) and isinstance(prediction, Tracks):
            raise InputError(f"protocol {self.name}: expected masks <video>/<frame>.png")
        if not isinstance(prediction, Pictures):
            return true
        predicted = [int(name) for name in prediction.names]
        return [str(number) for number in range(1, max([len(true), *predicted]) + 1)]

    def extra(self, names: Sequence[str], prediction: Any) -> list[str]:
        """Any number of objects may be predicted, up to a limit."""
        too_large = [name for name in prediction.names if int(name) > MAX_PROPOSALS]
        return [f"objects above {MAX_PROPOSALS}: {', '.join(too_large)}"] if too_large else []

    def units(
        self, video: Video, answers: Mapping[str, Answer], of_video: TrueObjects
    ) -> dict[str, list[UnitScores]]:
        table = score_pairs(predictions(answers.values()), of_video)
        matched = sorted((g, p) for p, g in match(table))
        return {"": [UnitScores(video.name, str(g + 1), *table[:, p, g]) for g, p in matched]}


class Davis17(Unsupervised):
    """`davis17`: Ref-DAVIS17 as published (ReferFormer, inference_davis.py and eval_davis.py).

    The masks of an annotator's expressions are merged into one picture of objects, where the lower
    object wins, and scored as in `unsupervised`. The mean goes over the objects of all videos, then
    over the annotators. Beside it stand `strict`, object k against object k, and `expressions`, the
    plain mean.
    """

    name = "davis17"
    text = "Ref-DAVIS17: objects matched one to one, then the mean of annotators"
    groups = "annotators"
    of_objects = False

    def check(self, split: Split, truth: Truth) -> None:
        super().check(split, truth)
        problems = []
        for video in split.videos:
            ids = {e.expression_id for e in video.expressions}
            if len(ids) % ANNOTATORS or ids != {str(i) for i in range(len(ids))}:
                problems.append(f"video {video.name}: {', '.join(sorted(ids)[:8])}")
        if problems:
            title = (
                f"score.protocol={self.name}: expected the expression ids 4 x object + annotator"
            )
            raise InputError(list_problems(title, problems))

    def names(self, truth: Any, prediction: Any) -> list[str]:
        """All expressions."""
        return list(truth.names)

    def units(
        self, video: Video, answers: Mapping[str, Answer], of_video: TrueObjects
    ) -> dict[str, list[UnitScores]]:
        order = [answers[str(i)] for i in range(len(answers))]
        pictures = [merged(predictions(order[a::ANNOTATORS])) for a in range(ANNOTATORS)]
        tables = [score_pairs(picture, of_video) for picture in pictures]
        matched, strict = [], []
        for a, table in enumerate(tables):
            matched += [
                UnitScores(video.name, str(k + 1), table[0, p, g], table[1, p, g], str(a))
                for k, (p, g) in enumerate(match(table))
            ]
            strict += [
                UnitScores(video.name, str(k + 1), table[0, k, k], table[1, k, k], str(a))
                for k in range(len(of_video.tracks))
            ]
        of_expressions = self.of_expressions(video, answers, of_video)
        return {"": matched, "strict": strict, "expressions": of_expressions}


def predictions(answers: Iterable[Answer]) -> list[Track]:
    """Raises InputError where masks are missing, or not of the truth's frames and size."""
    tracks = []
    for answer in answers:
        frames_of(truth=answer.masks[0], prediction=answer.masks[1])
        tracks.append(answer.prediction)
    return tracks


def merged(tracks: Sequence[Track]) -> list[Track]:
    """Tracks of objects without what a lower object covers; empty objects at the end are none."""
    merged: list[Track] = []
    for track in tracks:
        left = list(track)
        for lower in merged:
            left = [minus(mask, other) for mask, other in zip(left, lower, strict=True)]
        merged.append(left)
    while merged and not any(merged[-1]):
        merged.pop()
    return merged


def score_pairs(picture: Sequence[Track], objects: TrueObjects) -> Any:
    """J and F of every predicted with every true object in every frame, (2, P, G, T).

    Void pixels do not count. Fewer predicted objects than true ones are filled up with empty
    ones.
    """
    num_frames, num_true = len(objects.void), len(objects.tracks)
    table = np.zeros((2, max(len(picture), num_true), num_true, num_frames))
    for t in range(num_frames):
        scores = FrameScores(objects.pairs.setdefault(t, {}))
        for p in range(table.shape[1]):
            mask = minus(picture[p][t], objects.void[t]) if p < len(picture) else None
            for g in range(num_true):
                table[:, p, g, t] = scores(objects.tracks[g][t], mask)
    return table


def match(table: Any) -> list[tuple[int, int]]:
    """Pairs (predicted, true) with the highest sum of mean J&F, by the predicted object."""
    from scipy.optimize import linear_sum_assignment

    J, F = table.mean(-1)
    predicted, true = linear_sum_assignment(-(J + F) / 2)
    return list(zip(predicted.tolist(), true.tolist(), strict=True))
