"""Long-RVOS: how well the masks overlap in time."""

from collections.abc import Mapping
from typing import Any

from rvos.data.split import Video
from rvos.score.measures import Scores, temporal_ious
from rvos.score.protocols.protocol import Answer, Protocol, UnitScores
from rvos.score.protocols.reason_vos import TruthOfAnswersSize


class LongRvos(Protocol):
    """`long_rvos`: the plain mean, with tIoU and vIoU (Long_RVOS, eval/eval_long_rvos)."""

    name = "long_rvos"
    text = "all frames of all expressions, with tIoU and vIoU; Long-RVOS"

    def more(self, answer: Answer, J: Scores, F: Scores, of_video: Any) -> dict[str, float]:
        tiou, viou = temporal_ious(answer.truth, answer.prediction, J)
        return {"tIoU": tiou, "vIoU": viou}


class LongRvosScript(LongRvos):
    """`long_rvos:strict`: Long_RVOS, eval/eval_long_rvos/eval_dynamic.py, lines 24 to 32."""

    name = "long_rvos:strict"
    quirk = "a missing video counts 0; a missing expression is left out"
    missing = "left out"
    missing_video = "zero"


class VideoSegO3(TruthOfAnswersSize, LongRvos):
    """`long_rvos:videoseg-o3`: VideoSEG-O3, tools/eval/eval_longrvos.py.

    Line 22 names a video that is ignored; lines 46 to 51, 133 to 135 and 253 to 255 leave out what
    is missing or fails; to lines 79 to 86 a truth of another size is an empty one.
    """

    name = "long_rvos:videoseg-o3"
    quirk = "video 71fb69bbcd and what is missing are left out; truth of other size is empty"
    missing = "left out"
    ignored = "71fb69bbcd"

    def more(self, answer: Answer, J: Scores, F: Scores, of_video: Any) -> dict[str, float]:
        return {}

    def units(
        self, video: Video, answers: Mapping[str, Answer], of_video: Any
    ) -> dict[str, list[UnitScores]]:
        return super().units(video, {} if video.name == self.ignored else answers, of_video)
