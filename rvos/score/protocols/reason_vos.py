"""ReasonVOS: the plain mean over the frames that have a truth."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rvos.data.split import Video
from rvos.score.given import shape_of
from rvos.score.protocols.protocol import Answer, Measured, Protocol


class ReasonVos(Protocol):
    """`reason_vos`: the plain mean over expressions, of the frames with a file of the truth.

    showlab/VideoLISA, evaluation/reason_vos/eval_reason_vos.py.
    """

    name = "reason_vos"
    text = "all expressions, in the frames that have a truth; ReasonVOS"

    def read(self, truth: Any, video: Video) -> Mapping[str, NDArray[np.bool_]]:
        """(T,) whether a frame has a file of the truth, by expression_id; none of masks in JSON."""
        if not hasattr(truth, "file"):
            return {}
        return {
            e.expression_id: np.array(
                [any(truth.file(a, f) for a in e.annotation_ids) for f in video.frames]
            )
            for e in video.expressions
        }

    def frames(self, answer: Answer, of_video: Mapping[str, NDArray[np.bool_]]) -> Any:
        return of_video.get(answer.name, slice(None))


class ReasonVosScript(ReasonVos):
    """`reason_vos:strict`: VideoLISA, evaluation/reason_vos/eval_reason_vos.py, lines 28 to 33.

    An expression of which a frame is missing or has another size is left out, too: the worker ends
    (line 46).
    """

    name = "reason_vos:strict"
    quirk = "what is missing is left out"
    missing = "left out"


class TruthOfAnswersSize(Protocol):
    """VideoSEG-O3: a truth of another size than the prediction is an empty one.

    Its scripts draw both at the size of the first predicted mask, and go on where that fails
    (eval_reasonvos.py, 27 and 38-42; eval_longrvos.py, 54 and 79-86).
    """

    def measured(self, answer: Answer, of_video: Any) -> Measured:
        size = next(filter(None, map(_size, answer.masks[1])), None)
        truth = [None if size and _size(g) not in (None, size) else g for g in answer.masks[0]]
        if any(g is not kept for g, kept in zip(answer.masks[0], truth, strict=True)):
            answer = replace(answer, masks=(truth, answer.masks[1]), scored=None, measured={})
        return super().measured(answer, of_video)


class ReasonVosO3(TruthOfAnswersSize, ReasonVos):
    """`reason_vos:videoseg-o3`: VideoSEG-O3, tools/eval/eval_reasonvos.py.

    The worker ends with a KeyError where the results lack an expression (line 25).
    """

    name = "reason_vos:videoseg-o3"
    quirk = "what is missing is left out; a truth of another size is an empty one"
    missing = "left out"


def _size(mask: Any) -> tuple[int, int] | None:
    return shape_of(mask) if mask is None or isinstance(mask, dict) else np.shape(mask)
