"""The masks and the truth of one video -> the units of a protocol, for `rvos score`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rvos.errors import InputError
from rvos.masks import MISSING_FRAME
from rvos.score.protocols import Answer, Misfits, Protocol, UnitScores
from rvos.score.sources import Tracks, TruthSource, VideoMasks
from rvos.score.trivial import EMPTY, WHOLE, trivial_answers

Missing = Literal["error", "empty", "protocol"]
Lacks = Literal["", "name", "video"]
Sets = dict[str, list[UnitScores]]  # units of the masks under "", of trivial answers by name


def score_video(
    name: str,
    source: TruthSource,
    truth: VideoMasks,
    masks: VideoMasks | None,
    protocol: Protocol,
    *,
    missing: Missing,
    ignore_extra: bool,
    trivial: bool = False,
) -> tuple[Sets, list[str]]:
    """The units of a video, and all that is missing, too much, or does not fit.

    `source` is that of the truth; `masks` is None for a video without any. `missing` says what is
    done where masks are missing: "protocol" does what the protocol's script does. `trivial` scores
    the trivial answers too.
    """
    try:
        names = protocol.names(truth, masks)
        problems = [] if ignore_extra or masks is None else protocol.extra(names, masks)
        if masks is not None and masks.num_frames != truth.num_frames and len(masks.names):
            raise InputError(f"expected {truth.num_frames} frames, got {masks.num_frames}")
        video = source.video(name, names)
        of_video = protocol.read(source.truth(truth), video)
    except InputError as error:
        return {}, _of(name, [str(error)])
    if masks is None and missing == "error":
        return {}, _of(name, ["no masks"])
    answers: dict[str, Answer] = {}
    for expression in video.expressions:
        key = expression.expression_id
        track = _track(masks, key)
        if track is None and missing == "error":
            problems.append(f"{key}: no masks")
            continue
        lacks: Lacks = ("video" if masks is None else "name") if track is None else ""
        if missing != "error":
            track = [None] * truth.num_frames if track is None else _without_missing(track)
        answers[key] = Answer(
            expression, (truth.track(key), track), lacks if missing == "protocol" else ""
        )
    try:
        sets = {"": protocol.units(video, answers, of_video)[""]}
        if trivial and not problems:
            for answer, others in _trivial(answers).items():
                sets[answer] = protocol.units(video, others, of_video)[""]
        return sets, _of(name, problems)
    except Misfits as error:
        return {}, _of(name, [*problems, *error.lines])
    except InputError as error:
        return {}, _of(name, [*problems, str(error)])


def _trivial(answers: Mapping[str, Answer]) -> dict[str, dict[str, Answer]]:
    """The trivial answers in place of given ones, by their names."""
    found: dict[str, dict[str, Answer]] = {EMPTY: {}, WHOLE: {}}
    for key, given in answers.items():
        truth = _without_missing(given.masks[0])  # what is missing does not count
        for name, (masks, J, F) in trivial_answers(truth).items():
            found[name][key] = Answer(
                given.expression, (truth, masks), given.missing, scored=(J, F)
            )
    return found


def _without_missing(track: Sequence[Any]) -> list[Any]:
    """Empty masks for frames without a file."""
    return [None if mask is MISSING_FRAME else mask for mask in track]


def _of(video: str, problems: Sequence[str]) -> list[str]:
    return [f"video {video}: {problem}" for problem in problems]


def _track(masks: VideoMasks | None, name: str) -> Any:
    """The masks of one name, None if they are not there; what no picture shows is empty."""
    if masks is None or (isinstance(masks, Tracks) and name not in masks.names):
        return None
    return masks.track(name)
