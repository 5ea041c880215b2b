"""ReVOS: referring and reasoning expressions, and robustness."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from rvos.data.split import Split, Truth, Video
from rvos.errors import InputError
from rvos.masks import area, minus
from rvos.score.measures import Scores
from rvos.score.protocols.protocol import Answer, Protocol


class Revos(Protocol):
    """`revos`: the mean of the means over referring and over reasoning expressions, with R.

    Robustness R of a frame is max(0, 1 - |P minus G| / |all objects|), as in VISA,
    tools/eval_revos.py and tools/metrics.py; expressions about nothing ("hallucination") count in
    their slice only. VISA rounds every expression's scores to 0.01 percent, this does not.
    """

    name: ClassVar[str] = "revos"
    text: ClassVar[str] = "the mean of referring and reasoning expressions, with R; ReVOS"

    def check(self, split: Split, truth: Truth) -> None:
        if not hasattr(truth, "foreground"):
            raise InputError(f"score.protocol={self.name}: expected a split of ReVOS (data=revos)")

    def read(self, truth: Any, video: Video) -> Sequence[int]:
        """(T,) pixels of all objects."""
        return truth.foreground(video)

    def group(self, type: str) -> str | None:
        return type if type in ("referring", "reasoning") else None

    def more(
        self, answer: Answer, J: Scores, F: Scores, of_video: Sequence[int]
    ) -> dict[str, float]:
        masks = zip(answer.prediction, answer.truth, strict=True)
        outside = np.array([area(minus(p, g)) for p, g in masks])
        robustness = np.maximum(1 - outside / (np.asarray(of_video) + 1e-6), 0)  # (T,)
        return {"R": float(robustness.mean())}
