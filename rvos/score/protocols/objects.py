"""Masks of objects whose first mask is given, as DAVIS 2017, YouTube-VOS and MOSE score them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rvos.data.split import Split, Truth, Video
from rvos.data.ytvos import say_absent
from rvos.errors import InputError
from rvos.score.protocols.protocol import Answer, Protocol, UnitScores
from rvos.score.sources import Pictures


class Objects(Protocol):
    """`objects`: every object, after the frame that first shows it.

    The servers' code of YouTube-VOS and MOSE is not public: this is what their papers say.
    """

    name = "objects"
    text = "all objects, after the frame that first shows them"
    of_objects = True

    def frames(self, answer: Answer, of_video: Any) -> slice:
        """Those after the first that shows the object; none where it never shows."""
        shown = np.flatnonzero(answer.shown)
        return slice(int(shown[0]) + 1 if len(shown) else len(answer.shown), None)


class OfFirstFrame(Protocol):
    """A protocol over the objects 1..n, n the largest number of the truth's first frame."""

    of_objects = True

    def check(self, split: Split, truth: Truth) -> None:
        if not hasattr(truth, "objects"):
            raise InputError(
                f"score.protocol={self.name}: expected annotations that are pictures of object "
                "numbers (data=ref_davis)"
            )

    def names(self, truth: Any, prediction: Any) -> list[str]:
        """The numbers 1..n of pictures; the expressions of a split."""
        if not isinstance(truth, Pictures):
            return list(truth.names)
        count = truth.num_objects()
        say_absent(list(map(int, truth.names)), count, truth.where)
        return [str(number) for number in range(1, count + 1)]


class SemiSupervised(OfFirstFrame):
    """`semi-supervised`: the objects of the first frame, in the frames between first and last.

    davis2017-evaluation, davis2017/evaluation.py, task semi-supervised.
    """

    name = "semi-supervised"
    text = "objects of the first frame, without the first and the last frame; DAVIS 2017"

    def read(self, truth: Any, video: Video) -> int:
        """How many objects count."""
        return truth.num_objects(video)

    def frames(self, answer: Answer, of_video: int) -> slice:
        return slice(1, -1)

    def units(
        self, video: Video, answers: Mapping[str, Answer], of_video: int
    ) -> dict[str, list[UnitScores]]:
        first = {key: a for key, a in answers.items() if _number(a) <= of_video}
        return super().units(video, first, of_video)


def _number(answer: Answer) -> int:
    return int(answer.expression.object_ids[0])
