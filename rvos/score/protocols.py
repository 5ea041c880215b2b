"""How scores are averaged over a split: as MeViS does, and as papers report other datasets.

A protocol says what its mean goes over (units: expressions, or objects), in which groups (the score
is the mean over groups of their means), and what it measures beside J and F.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rvos.data.split import Split, Truth, Video
from rvos.errors import InputError, list_problems
from rvos.masks import Track, area, minus
from rvos.score.measures import FrameScores, Scores, Summary, temporal_ious


@dataclass(frozen=True)
class Unit:
    """One of the things that a protocol's mean goes over."""

    video: str
    name: str  # expression_id; of davis17 the number of the matched object
    group: str
    # by the label of a rule: J, F and more, means over frames
    scores: Mapping[str, dict[str, float]]


def mean_of(units: Sequence[Unit], label: str) -> Summary:
    """The mean over groups of the means over their units, of one rule's scores."""
    groups: dict[str, list[dict[str, float]]] = defaultdict(list)
    for unit in units:
        groups[unit.group].append(unit.scores[label])
    means = [
        {key: float(np.mean([scores[key] for scores in group])) for key in group[0]}
        for group in groups.values()
    ]
    return Summary(**_named({key: float(np.mean([m[key] for m in means])) for key in means[0]}))


def _named(scores: Mapping[str, float]) -> dict[str, Any]:
    more = {key: value for key, value in scores.items() if key not in ("J", "F")}
    return {"J": scores["J"], "F": scores["F"], "more": more}


class Expressions:
    """`expressions`: the plain mean over expressions (MeViS, tools/eval_mevis.py)."""

    name: ClassVar[str] = "expressions"
    groups: ClassVar[str] = ""  # the key of metrics.json with each group's score; none if empty

    def check(self, split: Split, truth: Truth) -> None:
        """Raises InputError where the split is not made for the protocol."""

    def read(self, truth: Truth, video: Video) -> Any:
        """What the protocol needs of a video's ground truth beside the expressions' tracks."""

    def more(self, truth: Track, prediction: Track, J: Scores, of_video: Any) -> dict[str, float]:
        """Measures of one expression beside J and F; `of_video` is what `read` gave."""
        return {}

    def group(self, type: str) -> str | None:
        """The group of expressions of a type; None leaves them out of the mean."""
        return ""

    def units(
        self,
        video: Video,
        tracks: Mapping[str, Mapping[str, Track]],
        scores: Mapping[str, Mapping[str, dict[str, float]]],
        of_video: Any,
    ) -> dict[str, list[Unit]]:
        """The units of one video: under "" those of the score, under a name those of another mean.

        `tracks` and `scores` are by expression_id and label.
        """
        return {"": self._expressions(video, scores)}

    def _expressions(
        self, video: Video, scores: Mapping[str, Mapping[str, dict[str, float]]]
    ) -> list[Unit]:
        return [
            Unit(video.name, e.expression_id, group, dict(scores[e.expression_id]))
            for e in video.expressions
            if (group := self.group(e.type)) is not None
        ]


class LongRvos(Expressions):
    """`long_rvos`: the plain mean, with tIoU and vIoU (Long_RVOS, eval/eval_long_rvos)."""

    name: ClassVar[str] = "long_rvos"

    def more(self, truth: Track, prediction: Track, J: Scores, of_video: Any) -> dict[str, float]:
        tiou, viou = temporal_ious(truth, prediction, J)
        return {"tIoU": tiou, "vIoU": viou}


class Revos(Expressions):
    """`revos`: the mean of the means over referring and over reasoning expressions, with R.

    Robustness R of a frame is max(0, 1 - |P minus G| / |all objects|), as in VISA,
    tools/eval_revos.py and tools/metrics.py; expressions about nothing ("hallucination") count in
    their slice only. VISA rounds every expression's scores to 0.01 percent, this does not.
    """

    name: ClassVar[str] = "revos"

    def check(self, split: Split, truth: Truth) -> None:
        if not hasattr(truth, "foreground"):
            raise InputError("score.protocol=revos: expected a split of ReVOS (data=revos)")

    def read(self, truth: Any, video: Video) -> Any:
        return truth.foreground(video)  # (T,) pixels

    def group(self, type: str) -> str | None:
        return type if type in ("referring", "reasoning") else None

    def more(self, truth: Track, prediction: Track, J: Scores, of_video: Any) -> dict[str, float]:
        outside = np.array([area(minus(p, g)) for p, g in zip(prediction, truth, strict=True)])
        robustness = np.maximum(1 - outside / (np.asarray(of_video) + 1e-6), 0)  # (T,)
        return {"R": float(robustness.mean())}


ANNOTATORS = 4  # of Ref-DAVIS17: expression id = 4 x object + annotator


class Davis17(Expressions):
    """`davis17`: Ref-DAVIS17 as published (ReferFormer, inference_davis.py and eval_davis.py).

    The masks of an annotator's expressions are merged into one picture of objects, where the lower
    object wins. DAVIS' evaluation (davis2017-evaluation, task `unsupervised`) matches predicted and
    true objects one to one by their mean J&F, over all frames; pixels of label 255 do not count.
    True objects are those up to the largest label of the first frame. The mean goes over the
    objects of all videos, then over the annotators. Beside it stand `strict`, object k against
    object k, and `expressions`, the plain mean.
    """

    name: ClassVar[str] = "davis17"
    groups: ClassVar[str] = "annotators"

    def check(self, split: Split, truth: Truth) -> None:
        if not hasattr(truth, "objects"):
            raise InputError(
                "score.protocol=davis17: expected annotations that are pictures of object numbers "
                "(data=ref_davis)"
            )
        problems = []
        for video in split.videos:
            ids = {e.expression_id for e in video.expressions}
            if len(ids) % ANNOTATORS or ids != {str(i) for i in range(len(ids))}:
                problems.append(f"video {video.name}: {', '.join(sorted(ids)[:8])}")
        if problems:
            title = "score.protocol=davis17: expected the expression ids 4 x object + annotator"
            raise InputError(list_problems(title, problems))

    def read(self, truth: Any, video: Video) -> tuple[list[Track], Track]:
        return truth.objects(video)

    def units(
        self,
        video: Video,
        tracks: Mapping[str, Mapping[str, Track]],
        scores: Mapping[str, Mapping[str, dict[str, float]]],
        of_video: Any,
    ) -> dict[str, list[Unit]]:
        truths, void = of_video
        num_objects = len(video.expressions) // ANNOTATORS
        labels = list(next(iter(tracks.values()), {}))
        pairs = [(label, annotator) for label in labels for annotator in range(ANNOTATORS)]
        pictures = [
            _merged([tracks[str(ANNOTATORS * k + a)][label] for k in range(num_objects)])
            for label, a in pairs
        ]
        tables = _score_pairs(pictures, truths, void)
        matched: dict[tuple[int, int], dict[str, dict[str, float]]] = defaultdict(dict)
        strict: dict[tuple[int, int], dict[str, dict[str, float]]] = defaultdict(dict)
        for (label, annotator), table in zip(pairs, tables, strict=True):
            for k, scores_of in enumerate(_match(table)):
                matched[annotator, k][label] = scores_of
            for k in range(len(truths)):
                strict[annotator, k][label] = {"J": table[0][k, k], "F": table[1][k, k]}
        return {
            "": [Unit(video.name, str(k + 1), str(a), s) for (a, k), s in matched.items()],
            "strict": [Unit(video.name, str(k + 1), str(a), s) for (a, k), s in strict.items()],
            "expressions": self._expressions(video, scores),
        }


def _merged(tracks: Sequence[Track]) -> list[Track]:
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


Table = tuple[Any, Any]  # J, F: (P, G), means over frames of predicted against true objects


def _score_pairs(
    pictures: Sequence[Sequence[Track]], truths: Sequence[Track], void: Track
) -> list[Table]:
    """J and F of every predicted with every true object, for each of several predictions.

    Fewer predicted objects than true ones are filled up with empty ones.
    """
    num_frames, num_true = len(void), len(truths)
    sizes = [max(len(picture), num_true) for picture in pictures]
    tables = [np.zeros((2, size, num_true, num_frames)) for size in sizes]  # (2, P, G, T)
    for t in range(num_frames):
        scores = FrameScores()  # a pair of masks is scored once for all predictions
        for table, picture in zip(tables, pictures, strict=True):
            for p in range(table.shape[1]):
                mask = minus(picture[p][t], void[t]) if p < len(picture) else None
                for g in range(num_true):
                    table[:, p, g, t] = scores(truths[g][t], mask)
    return [tuple(table.mean(-1)) for table in tables]


def _match(table: Table) -> list[dict[str, float]]:
    """J and F of the matched predicted objects, in their order."""
    from scipy.optimize import linear_sum_assignment

    J, F = table
    predicted, true = linear_sum_assignment(-(J + F) / 2)
    return [
        {"J": float(J[p, g]), "F": float(F[p, g])} for p, g in zip(predicted, true, strict=True)
    ]


PROTOCOLS = {protocol.name: protocol for protocol in (Expressions, Davis17, LongRvos, Revos)}


def make_protocol(name: str) -> Expressions:
    """The protocol of `score.protocol`: one of ours, or the dotted name of a class.

    Raises InputError.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]()
    expected = f"score.protocol: expected one of {', '.join(PROTOCOLS)}, or the dotted name of a"
    if not isinstance(name, str) or "." not in name:
        raise InputError(f"{expected} class, got {name!r}")
    from rvos.settings import named

    protocol = named("score.protocol", name)
    if not isinstance(protocol, type) or not issubclass(protocol, Expressions):
        raise InputError(f"{expected} class over rvos.score.Expressions, got {name!r}")
    return protocol()
