"""GroundMoRe: 20 frames of each video, and the types of questions."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rvos.data.split import Video
from rvos.score.protocols.protocol import Answer, Protocol, UnitScores

NUM_FRAMES = 20  # evenly spread over a video, the first and the last among them


class GroundMore(Protocol):
    """`groundmore`: the plain mean over questions in 20 frames, and the mean of each type.

    In a video of fewer frames some count several times. dengandong/GroundMoRe,
    evaluate_groundmore.py.
    """

    name = "groundmore"
    text = "20 frames of every question, and the types of questions; GroundMoRe"

    def frames(self, answer: Answer, of_video: Any) -> NDArray[np.int64]:
        return np.linspace(0, len(answer.masks[0]) - 1, num=NUM_FRAMES, dtype=int)

    def units(
        self, video: Video, answers: Mapping[str, Answer], of_video: Any
    ) -> dict[str, list[UnitScores]]:
        """All questions, and those of each type under its name."""
        units = self.of_expressions(video, answers, of_video)
        found: dict[str, list[UnitScores]] = defaultdict(list, {"": units})
        for unit in units:
            if type := answers[unit.name].expression.type:
                found[type].append(unit)
        return dict(found)


class GroundMoreScript(GroundMore):
    """`groundmore:videoseg-o3`: VideoSEG-O3, tools/eval/eval_groundmore.py, lines 184 to 186.

    A question whose masks do not fit the truth is left out, too (lines 251 to 252).
    """

    name = "groundmore:videoseg-o3"
    quirk = "what is missing is left out"
    missing = "left out"
