"""Long-RVOS: how well the masks overlap in time."""

from typing import Any, ClassVar

from rvos.score.measures import Scores, temporal_ious
from rvos.score.protocols.protocol import Answer, Protocol


class LongRvos(Protocol):
    """`long_rvos`: the plain mean, with tIoU and vIoU (Long_RVOS, eval/eval_long_rvos)."""

    name: ClassVar[str] = "long_rvos"
    text: ClassVar[str] = "all frames of all expressions, with tIoU and vIoU; Long-RVOS"

    def more(self, answer: Answer, J: Scores, F: Scores, of_video: Any) -> dict[str, float]:
        tiou, viou = temporal_ious(answer.truth, answer.prediction, J)
        return {"tIoU": tiou, "vIoU": viou}
