"""What a protocol is: the truth and the masks of one video -> units, whose mean is the score.

One class serves a run of eval.py (`score.protocol=`) and the command `rvos score` (`--protocol`).
Both make an `Answer` of every expression or object of a video, ask the protocol for the video's
`units`, and take the mean over all units of all videos: over groups the mean of their means.

A protocol inherits `Protocol` (or another protocol) and overrides what differs. The methods in the
order in which they are asked; `of_video` is what `read` gave for the video:

| it may | by |
|---|---|
| refuse a dataset that it is not made for | `check(split, truth)` raises InputError |
| read more ground truth than the masks of the expressions | `read(truth, video)` |
| say which objects of pictures are scored (`rvos score` alone) | `names`, `extra` |
| leave frames out | `frames(answer, of_video)`: an index of the frames that count |
| compute J or F of a frame otherwise | `tolerance`, or `frame(truth, prediction)` |
| measure more than J and F, or replace their means over frames | `more(answer, J, F, of_video)` |
| leave expressions out, or group them by their type | `group(type)`; `groups` names the groups |
| say what a missing prediction is | `missing`, `missing_video` |
| change what the mean goes over, or give further means | `units(video, answers, of_video)` |

The class of a name without a colon computes what the paper says. `<name>:strict` computes what the
dataset's own script does, faults included, and `<name>:<repository>` what another script does; both
say in `quirk` what they do otherwise, and `docs/protocols.md` where.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rvos.data.split import Expression, Split, Truth, Video
from rvos.errors import InputError
from rvos.masks import MISSING_FRAME, Mask, Track, area, canonical, encode
from rvos.score.contour import TOLERANCE
from rvos.score.given import Frame, frames_of
from rvos.score.measures import Scores, Summary, decay, j_and_f_of, recall
from rvos.score.pairs import contour_of_frame

# What a prediction that is not there counts: as an empty one, J and F 0 (and all else that is
# measured), or nothing, since the unit is left out of the mean.
Missing = Literal["empty", "zero", "left out"]


@dataclass(frozen=True, eq=False)
class Answer:
    """One expression or object of a video: its truth, and the masks that one method gave for it."""

    expression: Expression  # of an object: its number is the expression_id, and the one object_id
    masks: tuple[Sequence[Any], Sequence[Any]]  # truth and prediction, (T,) each, of any form
    # What of the prediction is not there, if that is to count otherwise than as empty masks, which
    # stand in its place.
    missing: Literal["", "name", "video"] = ""
    scored: tuple[Scores, Scores] | None = None  # J and F, (T,) each, where a run knows them
    measured: dict[Any, "Measured"] = field(default_factory=dict)  # by protocol

    @property
    def name(self) -> str:
        """The expression_id, or the number of the object."""
        return self.expression.expression_id

    @cached_property
    def truth(self) -> Track:
        """The true masks in canonical form, (T,): RLE, None where it is empty."""
        return [_canonical(mask) for mask in self.masks[0]]

    @cached_property
    def prediction(self) -> Track:
        """The predicted masks in canonical form, (T,): RLE, None where it is empty."""
        return [_canonical(mask) for mask in self.masks[1]]

    @cached_property
    def shown(self) -> NDArray[np.bool_]:
        """(T,) whether the truth has pixels in a frame."""
        return np.array([_is_something(mask) for mask in self.masks[0]], bool)

    @cached_property
    def answered(self) -> NDArray[np.bool_]:
        """(T,) whether the prediction has pixels in a frame."""
        return np.array([_is_something(mask) for mask in self.masks[1]], bool)


class Misfits(InputError):
    """Masks of several names that do not fit their truth: a line for each."""

    def __init__(self, lines: Sequence[str]):
        super().__init__("; ".join(lines))
        self.lines = lines


@dataclass(frozen=True, eq=False)
class Measured:
    """What a protocol measures of one answer."""

    J: Scores  # (T',) in the frames that count
    F: Scores
    more: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class UnitScores:
    """One of the things that a protocol's mean goes over, scored for one set of masks."""

    video: str
    name: str  # expression_id, or what else the protocol calls it
    J: Scores  # (T',) in the frames that count, 0..1
    F: Scores
    group: str = ""
    # Measures by name. "J" and "F" stand in place of the means over frames.
    more: Mapping[str, float] = field(default_factory=dict)

    @property
    def means(self) -> dict[str, float]:
        """J, F and more."""
        return {"J": float(self.J.mean()), "F": float(self.F.mean()), **self.more}

    def as_dict(self) -> dict[str, Any]:
        """What `rvos score` writes of it."""
        means = self.means
        J, F = means.pop("J"), means.pop("F")
        return {
            **{"video": self.video, "name": self.name, "frames": len(self.J)},
            **{"J": J, "F": F, "J&F": (J + F) / 2},
            **{"J_recall": recall(self.J), "J_decay": decay(self.J)},
            **{"F_recall": recall(self.F), "F_decay": decay(self.F)},
            **({"group": self.group} if self.group else {}),
            **means,
        }


@dataclass(frozen=True)
class Unit:
    """A unit with the scores of several rules, as a run keeps it."""

    video: str
    name: str
    group: str
    # by the label of a rule: J, F and more, means over frames
    scores: Mapping[str, dict[str, float]]


class Protocol:
    """The plain mean over all expressions or objects, in all frames; others change a part of it."""

    name: str = ""  # in tables and files; score.protocol and --protocol take it
    text: str = ""  # what counts, in a line
    groups: str = ""  # the key of metrics.json with each group's score; none if empty
    of_objects: bool = False  # whether papers score the objects of pictures or JSON by it
    quirk: str = ""  # of a script's variant: what it does otherwise, in a line
    tolerance: float = TOLERANCE  # of F: a share of the diagonal, or pixels from 1 on
    # What a missing prediction is, for `rvos score --missing protocol`; a run has no such answers.
    missing: Missing = "empty"
    missing_video: Missing | None = None  # where the whole video is; None: as `missing`

    def check(self, split: Split, truth: Truth) -> None:
        """Raises InputError where the split is not made for the protocol.

        `rvos score` gives pictures and JSON as a split without videos, and as truth what has
        `objects` and `num_objects` where it is pictures of object numbers.
        """

    def read(self, truth: Any, video: Video) -> Any:
        """What the protocol needs of a video's ground truth beside the expressions' tracks."""

    def names(self, truth: Any, prediction: Any) -> list[str]:
        """The names to score of a video's `sources.VideoMasks`; `prediction` None has no masks.

        Raises InputError where the masks are not of a form that the protocol can score.
        """
        return list(truth.names)

    def extra(self, names: Sequence[str], prediction: Any) -> list[str]:
        """What is wrong with names that the prediction has and the truth has not."""
        more = [name for name in prediction.names if name not in names]
        if not more:
            return []
        text = f"not in the truth: {', '.join(more)}; the truth has {', '.join(names) or 'nothing'}"
        return [text + ("; 255 is no object" if "255" in more else "")]

    def frames(self, answer: Answer, of_video: Any) -> Any:
        """Which frames count: a slice, (T,) booleans or positions. None may: the unit is left out.

        A prediction may lack the masks of other frames. `answer.shown` says where the truth shows.
        """
        return slice(None)

    def frame(self, truth: Frame, prediction: Frame) -> tuple[float, float]:
        """J and F of one frame, from (H, W) pixels, RLE or None."""
        contours = (contour_of_frame(m, tolerance=self.tolerance) for m in (truth, prediction))
        return j_and_f_of(*contours)

    def more(self, answer: Answer, J: Scores, F: Scores, of_video: Any) -> dict[str, float]:
        """Measures of one answer by name; J and F, (T',), are those of the frames that count.

        The entries "J" and "F" replace the means over frames in the units. A measure that is not
        defined for an answer is left out; its mean goes over the others.
        """
        return {}

    def group(self, type: str) -> str | None:
        """The group of expressions of a type; None leaves them out of the mean."""
        return ""

    def units(
        self, video: Video, answers: Mapping[str, Answer], of_video: Any
    ) -> dict[str, list[UnitScores]]:
        """The units of one video: under "" those of the score, under a name those of another mean.

        `answers` are by name, in the order of the video. The number of units and their names must
        not depend on the predicted masks: rules are compared unit by unit.
        """
        return {"": self.of_expressions(video, answers, of_video)}

    def of_expressions(
        self, video: Video, answers: Mapping[str, Answer], of_video: Any
    ) -> list[UnitScores]:
        """A unit of each answer that counts. Raises Misfits."""
        units, misfits = [], []
        for answer in answers.values():
            group, lacks = self.group(answer.expression.type), self._lacks(answer)
            if group is None or lacks == "left out":
                continue
            try:
                found = self.measured(answer, of_video)
            except InputError as error:
                misfits.append(f"{answer.name}: {error}")
                continue
            if len(found.J):
                J, F, more = found.J, found.F, found.more
                if lacks == "zero":
                    J, F, more = 0 * J, 0 * F, dict.fromkeys(more, 0.0)
                units.append(UnitScores(video.name, answer.name, J, F, group, more))
        if misfits:
            raise Misfits(misfits)
        return units

    def _lacks(self, answer: Answer) -> Missing:
        """What a missing prediction counts; "empty" if it is there."""
        if not answer.missing:
            return "empty"
        of_video = self.missing_video if answer.missing == "video" else None
        return of_video or self.missing

    def measured(self, answer: Answer, of_video: Any) -> Measured:
        """J, F and more of one answer. Raises InputError where its masks do not fit together."""
        if self not in answer.measured:
            J, F = self._scores(answer, of_video)
            more = self.more(answer, J, F, of_video) if len(J) else {}
            answer.measured[self] = Measured(J, F, more)
        return answer.measured[self]

    def _scores(self, answer: Answer, of_video: Any) -> tuple[Scores, Scores]:
        """J and F of the frames that count."""
        which = self.frames(answer, of_video)
        ours = type(self).frame is Protocol.frame and self.tolerance == TOLERANCE
        if answer.scored is not None and ours:
            return answer.scored[0][which], answer.scored[1][which]
        counted = np.arange(len(answer.masks[0]))[which].tolist()
        # What does not count need not be there; the others keep their place for errors to name.
        kept = set(counted)
        truth, prediction = (
            [mask if t in kept else None for t, mask in enumerate(masks)] for masks in answer.masks
        )
        pairs, _ = frames_of(truth=truth, prediction=prediction)
        scores = [self.frame(*pairs[t]) for t in counted]
        J, F = np.array(scores, np.float64).reshape(-1, 2).T
        return J, F


def _canonical(mask: Any) -> Mask:
    if mask is MISSING_FRAME:  # of a frame that does not count; `frames_of` refuses others
        return None
    if mask is None or isinstance(mask, dict):
        return canonical(mask)
    return encode(mask) if np.any(mask) else None


def _is_something(mask: Any) -> bool:
    return area(mask) > 0 if mask is None or isinstance(mask, dict) else bool(np.any(mask))


# -------------------------------------------------------------------------------------- means


def mean_of(units: Sequence[Unit], label: str) -> Summary:
    """The mean over groups of the means over their units, of one rule's scores."""
    means = means_of((unit.group, unit.scores[label]) for unit in units)
    J, F = means.pop("J"), means.pop("F")
    return Summary(J, F, means)


def means_of(units: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, float]:
    """The mean over groups of the means over their units, by measure; units: (group, measures).

    A measure that some lack is averaged over the others. Raises InputError where nothing counts.
    """
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for group, measures in units:
        for key, value in measures.items():
            values[key][group].append(value)
    if not values:
        raise InputError("score.protocol: no expression counts, so there is no mean")
    return {
        key: float(np.mean([float(np.mean(members)) for members in groups.values()]))
        for key, groups in values.items()
    }


def by_label(
    protocol: Protocol,
    video: Video,
    answers: Mapping[str, Mapping[str, Answer]],
    of_video: Any,
) -> dict[str, list[Unit]]:
    """The units of one video for several rules; `answers` are by label and name.

    Raises InputError where the units of two rules are not the same.
    """
    found = {label: protocol.units(video, of, of_video) for label, of in answers.items()}
    first = next(iter(found.values()), {})
    joined = {}
    for mean, units in first.items():
        keys = [(unit.name, unit.group) for unit in units]
        for label, others in found.items():
            if [(unit.name, unit.group) for unit in others[mean]] != keys:
                raise InputError(
                    f"score.protocol={protocol.name}: video {video.name}: other units for the "
                    f"masks of {label}; units may depend on the ground truth alone"
                )
        joined[mean] = [
            Unit(video.name, *key, {label: units[mean][i].means for label, units in found.items()})
            for i, key in enumerate(keys)
        ]
    return joined
