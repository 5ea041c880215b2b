"""The masks and the truth of one video -> the units of a protocol, for `rvos score`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rvos.errors import InputError
from rvos.masks import MISSING_FRAME
from rvos.score.protocols import Answer, Misfits, Protocol, UnitScores
from rvos.score.sources import Tracks, TruthSource, VideoMasks
from rvos.score.trivial import EMPTY, WHOLE, trivial_answers

Missing = Literal["error", "empty", "protocol"]
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
    empty = missing == "empty" or (missing == "protocol" and protocol.missing != "error")
    if masks is None and not empty:
        return {}, _of(name, ["no masks"])
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
        truth = given.masks[0]
        for name, (masks, J, F) in trivial_answers(truth).items():
            found[name][key] = Answer(given.expression, (truth, masks), scored=(J, F))
    return found


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
