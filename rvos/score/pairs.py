"""Masks of any form -> J and F per frame: what other programs call.

    from rvos.score import j_and_f

    J, F = j_and_f(truth, prediction)              # (T, H, W) arrays, or lists of COCO RLE
    scores = j_and_f_by_object(truth, prediction)  # pictures of object numbers: {1: (J, F), ...}

The conventions are those of `measures.py`. Arrays and RLE may be mixed. An array is never encoded,
and J alone of two RLE comes from their runs, without drawing.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from rvos.errors import InputError
from rvos.masks import canonical
from rvos.score.contour import EMPTY, TOLERANCE, Contour, contour_of, contour_of_words
from rvos.score.given import Frame, frames_of, numbers_of, shape_of, words_of
from rvos.score.measures import Scores, j_and_f_of

# An array (T, H, W) or (H, W) of booleans or numbers, foreground where not 0; a picture that numpy
# reads; a COCO RLE; None for an empty mask; a list of these.
Masks: TypeAlias = Any
OneOrMore: TypeAlias = Any  # (T,) float64; a float where one frame was given


def j_and_f(
    truth: Masks, prediction: Masks, *, void: Masks = None, tolerance: float = TOLERANCE
) -> tuple[OneOrMore, OneOrMore]:
    """J and F of every frame, in 0..1: two (T,) arrays, or two floats if one frame is given.

    Pixels of `void` do not count, as in DAVIS. `tolerance` is the share of the frame's diagonal
    within which outlines match, or whole pixels from 1 on. Raises InputError for all frames whose
    masks do not fit together, MaskError for corrupt RLE.
    """
    check_tolerance(tolerance)
    frames, single = _frames(truth, prediction, void)
    scores = [
        j_and_f_of(contour_of_frame(g, v, tolerance), contour_of_frame(p, v, tolerance))
        for g, p, v in frames
    ]
    if single:
        return scores[0]
    J, F = np.array(scores, np.float64).reshape(-1, 2).T
    return J, F


def jaccard(truth: Masks, prediction: Masks, *, void: Masks = None) -> OneOrMore:
    """J of every frame, the first result of `j_and_f`, for less time. Raises as `j_and_f`."""
    frames, single = _frames(truth, prediction, void)
    if single:
        return _jaccard(*frames[0])
    if void is None and all(isinstance(mask, dict) for pair in frames for mask in pair[:2]):
        return _jaccard_of_runs(frames)
    return np.array([_jaccard(*frame) for frame in frames], np.float64)


def boundary_f(
    truth: Masks, prediction: Masks, *, void: Masks = None, tolerance: float = TOLERANCE
) -> OneOrMore:
    """F of every frame, the second result of `j_and_f`. Raises as `j_and_f`."""
    return j_and_f(truth, prediction, void=void, tolerance=tolerance)[1]


def j_and_f_by_object(
    truth: Any,
    prediction: Any,
    *,
    objects: Iterable[int] | None = None,
    void: int | None = 255,
    tolerance: float = TOLERANCE,
) -> dict[int, tuple[OneOrMore, OneOrMore]]:
    """J and F of the objects in pictures of object numbers: {object: what `j_and_f` gives}.

    `truth` and `prediction` are (T, H, W) or (H, W) whole numbers, or lists of pictures, such as
    palette images opened with Pillow; 0 is background. `objects` are those to score; if None, all
    of the truth, and an object that only the prediction has is an error. Pixels whose number is
    `void` in the truth do not count. Raises InputError.
    """
    true, predicted = numbers_of(truth, "truth"), numbers_of(prediction, "prediction")
    if true.shape != predicted.shape:
        raise InputError(
            f"expected truth and prediction of one shape, got {true.shape} and {predicted.shape}"
        )
    if objects is None:
        no_objects = {0, void}
        objects = sorted(set(np.unique(true).tolist()) - no_objects)
        more = sorted(set(np.unique(predicted).tolist()) - no_objects - set(objects))
        if more:
            raise InputError(
                f"prediction: objects {more} are not in the truth, which has {objects}; "
                "objects=... names those to score"
            )
    ignored = None if void is None or not (where := true == void).any() else where
    return {
        k: j_and_f(true == k, predicted == k, void=ignored, tolerance=tolerance) for k in objects
    }


def check_tolerance(tolerance: float) -> None:
    """Raises InputError unless it is a share of the diagonal, below 1, or whole pixels."""
    if not 0 <= tolerance < np.inf or (tolerance > 1 and tolerance != int(tolerance)):
        raise InputError(
            f"tolerance: expected a share of the diagonal below 1, or whole pixels, got {tolerance}"
        )


def _frames(truth: Masks, prediction: Masks, void: Masks) -> tuple[list[Any], bool]:
    """(truth, prediction, void) of each frame; whether it is one frame."""
    if void is not None:
        return frames_of(truth=truth, prediction=prediction, void=void)
    pairs, single = frames_of(truth=truth, prediction=prediction)
    return [(g, p, None) for g, p in pairs], single


def contour_of_frame(mask: Frame, void: Frame = None, tolerance: float = TOLERANCE) -> Contour:
    """The contour of a mask in any form that `frames_of` gives, without the pixels of `void`."""
    if mask is None:
        return EMPTY
    if isinstance(mask, dict) and void is None:
        return contour_of(mask, tolerance)
    shape = shape_of(mask)
    assert shape is not None, "only None has none"
    return contour_of_words(words_of(mask, void, shape), shape[0], tolerance)


def _jaccard(truth: Frame, prediction: Frame, void: Frame) -> float:
    shape = shape_of(truth) or shape_of(prediction)
    if shape is None:  # both are None
        return 1.0
    from rvos.score import kernel

    if isinstance(truth, dict) and isinstance(prediction, dict) and void is None:
        counts = [np.frombuffer(m["counts"].encode(), np.uint8) for m in (truth, prediction)]
        shared, area_g, area_p = kernel.overlap(*counts, shape[0] * shape[1])
        if shared < 0:
            canonical(truth), canonical(prediction)  # one of them says what is wrong
    else:
        words = words_of(truth, void, shape), words_of(prediction, void, shape)
        shared, area_g, area_p = kernel.overlap_of_words(*words)
    either = area_g + area_p - shared
    return shared / either if either else 1.0


def _jaccard_of_runs(pairs: Sequence[Any]) -> Scores:
    """(N,) of pairs of RLE, by one call of the kernel."""
    from rvos.score import kernel

    texts = [mask["counts"] for truth, prediction, _ in pairs for mask in (truth, prediction)]
    counts = "".join(texts)
    if not counts.isascii():
        return np.array([_jaccard(*pair) for pair in pairs])  # one of them says what is wrong
    stops = np.cumsum(list(map(len, texts)), dtype=np.int64)
    sizes = (truth["size"] for truth, _, _ in pairs)
    num_pixels = np.array([height * width for height, width in sizes], np.int64)
    found = kernel.overlaps(np.frombuffer(counts.encode(), np.uint8), stops, num_pixels)
    shared, areas = found[:, 0], found[:, 1:].sum(1)
    if (shared < 0).any():
        return np.array([_jaccard(*pair) for pair in pairs])
    either = areas - shared
    return np.divide(shared, either, out=np.ones(len(pairs)), where=either > 0)
