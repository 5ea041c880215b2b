"""The masks and the truth of one video -> the units of a protocol, for `rvos score`."""

from collections.abc import Sequence
from typing import Any, Literal

from rvos.errors import InputError
from rvos.masks import MISSING_FRAME
from rvos.score.protocols import Answer, Misfits, Protocol, UnitScores
from rvos.score.sources import Tracks, TruthSource, VideoMasks
from rvos.score.trivial import EMPTY, WHOLE, trivial_answers

Missing = Literal["error", "empty", "protocol"]


def score_video(
    name: str,
    source: TruthSource,
    truth: VideoMasks,
    masks: VideoMasks | None,
    protocol: Protocol,
    *,
    missing: Missing,
    ignore_extra: bool,
) -> tuple[list[UnitScores], list[str]]:
    """The units of a video, and all that is missing, too much, or does not fit.

    `source` is that of the truth; `masks` is None for a video without any. `missing` says what is
    done where masks are missing: "protocol" does what the protocol's script does.
    """
    try:
        names = protocol.names(truth, masks)
        problems = [] if ignore_extra or masks is None else protocol.extra(names, masks)
        if masks is not None and masks.num_frames != truth.num_frames and len(masks.names):
            raise InputError(f"expected {truth.num_frames} frames, got {masks.num_frames}")
        video = source.video(name, names)
        of_video = protocol.read(source.truth(truth), video)
    except InputError as error:
        return [], _of(name, [str(error)])
    empty = missing == "empty" or (missing == "protocol" and protocol.missing != "error")
    if masks is None and not empty:
        return [], _of(name, ["no masks"])
    answers: dict[str, Answer] = {}
    for expression in video.expressions:
        key = expression.expression_id
        try:
            track, is_there = _track(masks, key, truth.num_frames, empty)
            lacks = missing == "protocol" and not is_there
            answers[key] = Answer(expression, (truth.track(key), track), lacks)
        except InputError as error:
            problems.append(f"{key}: {error}")
    try:
        return protocol.units(video, answers, of_video)[""], _of(name, problems)
    except Misfits as error:
        return [], _of(name, [*problems, *error.lines])
    except InputError as error:
        return [], _of(name, [*problems, str(error)])


def score_trivial(
    name: str, source: TruthSource, truth: VideoMasks, protocol: Protocol
) -> dict[str, list[UnitScores]]:
    """The units of a video for the trivial answers, by their names."""
    video = source.video(name, protocol.names(truth, None))
    of_video = protocol.read(source.truth(truth), video)
    answers: dict[str, dict[str, Answer]] = {EMPTY: {}, WHOLE: {}}
    for expression in video.expressions:
        key = expression.expression_id
        track = truth.track(key)
        for answer, (masks, J, F) in trivial_answers(track).items():
            answers[answer][key] = Answer(expression, (track, masks), scored=(J, F))
    return {answer: protocol.units(video, of, of_video)[""] for answer, of in answers.items()}


def _of(video: str, problems: Sequence[str]) -> list[str]:
    return [f"video {video}: {problem}" for problem in problems]


def _track(
    masks: VideoMasks | None, name: str, num_frames: int, missing_is_empty: bool
) -> tuple[Sequence[Any], bool]:
    """The masks of one name, and whether they are there; an object that no picture shows is empty.

    Raises InputError.
    """
    if masks is None or (isinstance(masks, Tracks) and name not in masks.names):
        if missing_is_empty:
            return [None] * num_frames, False
        raise InputError("no masks")
    track = masks.track(name)
    return [None if m is MISSING_FRAME else m for m in track] if missing_is_empty else track, True
