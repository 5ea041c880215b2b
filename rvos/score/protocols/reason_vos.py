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
    """`reason_vos:strict`: as the published code computes it; see `quirk`."""

    name = "reason_vos:strict"
    missing = "left out"
    quirk = (
        "an expression without prediction is left out of the mean (eval_reason_vos.py, 31-33), and "
        "so is one of which a frame is missing or has another size (46: the worker ends)"
    )


class ReasonVosO3(ReasonVos):
    """`reason_vos:videoseg-o3`: as VideoSEG-O3 computes it; see `quirk`."""

    name = "reason_vos:videoseg-o3"
    missing = "left out"
    quirk = (
        "an expression without prediction is left out of the mean (eval_reasonvos.py, 25: the "
        "worker ends); a truth of another size than the prediction is an empty one (27 and 38-42)"
    )

    def measured(self, answer: Answer, of_video: Any) -> Measured:
        size = next(filter(None, map(_size, answer.masks[1])), None)
        truth = [None if size and _size(g) not in (None, size) else g for g in answer.masks[0]]
        if any(g is not kept for g, kept in zip(answer.masks[0], truth, strict=True)):
            answer = replace(answer, masks=(truth, answer.masks[1]), scored=None, measured={})
        return super().measured(answer, of_video)


def _size(mask: Any) -> tuple[int, int] | None:
    return shape_of(mask) if mask is None or isinstance(mask, dict) else np.shape(mask)
