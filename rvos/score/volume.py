"""J and F of an expression's masks as one volume: an empty answer scores 0.

The mean over frames gives the empty answer 1 in every frame without target, so that it scores well
where targets are seldom seen (arXiv 2610.02946). Over a volume the sums over all frames are
compared instead. The formula is ours: that of the paper could not be read.
"""

from typing import Any

import numpy as np

from rvos.errors import InputError
from rvos.masks import Track
from rvos.score.contour import contour_of, in_common
from rvos.score.measures import Scores, f_of
from rvos.score.protocols import Answer, Protocol
from rvos.score.protocols.davis import Unsupervised

LABEL = "JF_volume"


def with_volume(protocol: Protocol) -> Protocol:
    """The protocol that also measures `JF` of the frames that count, as `JF_volume`.

    Raises InputError for one that matches objects, and so measures no answer by itself.
    """
    kind = type(protocol)
    if isinstance(protocol, Unsupervised):
        raise InputError(f"--volumetric: protocol {kind.name} matches objects, frame by frame")

    def more(
        self: Protocol, answer: Answer, J: Scores, F: Scores, of_video: Any
    ) -> dict[str, float]:
        counted = np.arange(len(answer.truth))[self.frames(answer, of_video)]
        truth, prediction = (
            [track[t] for t in counted] for track in (answer.truth, answer.prediction)
        )
        return {**kind.more(self, answer, J, F, of_video), LABEL: JF(truth, prediction, J, F)}

    measuring: type[Protocol] = type(kind.__name__, (kind,), {"more": more})
    return measuring()


def JF(truth: Track, prediction: Track, J: Scores, F: Scores) -> float:
    """The mean of J and F of the volumes, 0..1.

    J is the sum of intersections over the sum of unions. F comes from the boundary pixels of all
    frames: the share of the predicted ones that match, and that of the true ones. J is 1 where both
    volumes are empty, F where neither has a boundary.
    """
    return sum(j_and_f_of_volume(truth, prediction)) / 2


def j_and_f_of_volume(truth: Track, prediction: Track) -> tuple[float, float]:
    """(J, F) of two tracks of equal length, 0..1."""
    shared = either = recalled = precise = num_true = num_predicted = 0
    for g, p in zip(map(contour_of, truth), map(contour_of, prediction), strict=True):
        common, matches_g, matches_p = in_common(g, p)
        shared, either = shared + common, either + g.area + p.area - common
        recalled, precise = recalled + matches_g, precise + matches_p
        num_true, num_predicted = num_true + g.num_pixels, num_predicted + p.num_pixels
    volume_J = shared / either if either else 1.0
    return volume_J, f_of(recalled, num_true, precise, num_predicted)
