"""MOSEv2: small objects, and objects that disappear and return."""

from collections.abc import Sequence
from functools import cache
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rvos.score.contour import TOLERANCE, Contour, boundary_pixels, in_common
from rvos.score.given import Frame, shape_of
from rvos.score.measures import Scores, f_of
from rvos.score.pairs import contour_of_frame
from rvos.score.protocols.protocol import Answer, Protocol

OF_OBJECT = 0.1  # of the square root of an object's area


class Mosev2(Protocol):
    """`mosev2`: J = (intersection + 1) / (union + 1), and F with less tolerance for small objects.

    The first and the last frame do not count. Outlines match within ceil(0.1 x the square root of
    the true area) pixels, and at most within DAVIS' distance. `J&F_d` is the mean over the times in
    which the object is gone, `J&F_r` that over the times after its return, `F_davis` is F with
    DAVIS' distance. henghuiding/MOSE-api, MOSEv2/sam2_rcms/tools/{metricsv2,score}.py.
    """

    name = "mosev2"
    text = "without the first and the last frame, F by the object's size; MOSEv2"
    of_objects = True

    def frames(self, answer: Answer, of_video: Any) -> slice:
        return slice(1, -1)

    def frame(self, truth: Frame, prediction: Frame) -> tuple[float, float]:
        g, p = (contour_of_frame(mask, tolerance=1) for mask in (truth, prediction))
        shared, _, _ = in_common(g, p)
        radius, _ = radii(truth, prediction, g.area)
        J = (shared + 1) / (g.area + p.area - shared + 1)
        return J, boundary_f(g, p, self.disk(radius))

    def disk(self, radius: float) -> "Disk":
        """The pixels around one that match it."""
        return disk(ceil(radius))

    def f_davis(self, truth: Frame, prediction: Frame, by_size: float) -> float:
        """F of one frame with DAVIS' distance; `by_size` is that by the object's size."""
        return Protocol.frame(self, truth, prediction)[1]

    def more(self, answer: Answer, J: Scores, F: Scores, of_video: Any) -> dict[str, float]:
        if answer.missing:  # counts as 0, and not among those that disappear or return
            return {"F_davis": 0.0}
        inner = self.frames(answer, of_video)
        masks = zip(answer.truth[inner], answer.prediction[inner], F.tolist(), strict=True)
        more = {"F_davis": float(np.mean([self.f_davis(g, p, f) for g, p, f in masks]))}
        gone, back = absences(answer.shown[inner])
        for name, spans in (("J&F_d", gone), ("J&F_r", back)):
            if spans:
                of_spans = [[J[span].mean(), F[span].mean()] for span in spans]
                more[name] = float(np.mean(of_spans))
        return more


class Mosev2Script(Mosev2):
    """`mosev2:strict`: as MOSE-api computes it.

    For large objects the radius is not rounded (metricsv2.py, lines 202 and 208), and the disk of
    skimage has no pixel in its middle then: a mirrored video has another F, and so has `F_davis`. A
    missing video counts 0 (score.py, lines 44 to 56 and 119 to 120).
    """

    name = "mosev2:strict"
    quirk = "F of large objects: the disk is half a pixel off; a missing video counts 0"
    missing = "zero"

    def disk(self, radius: float) -> "Disk":
        return disk(radius)

    def f_davis(self, truth: Frame, prediction: Frame, by_size: float) -> float:
        radius, limit = radii(truth, prediction, contour_of_frame(truth, tolerance=1).area)
        return super().f_davis(truth, prediction, by_size) if radius < limit else by_size


def absences(shown: NDArray[np.bool_]) -> tuple[list[slice], list[slice]]:
    """When an object is gone, and when it is back: all but the first of its changing states.

    An object that is not there at first has not disappeared, but returns when it comes.
    """
    edges = [*(np.flatnonzero(np.diff(shown)) + 1).tolist(), len(shown)]
    spans = [slice(start, stop) for start, stop in zip(edges, edges[1:], strict=False)]
    return [s for s in spans if not shown[s.start]], [s for s in spans if shown[s.start]]


def radii(truth: Frame, prediction: Frame, true_area: int) -> tuple[float, float]:
    """(distance by the object's size, DAVIS' distance) in pixels, the latter not rounded.

    Without a true object both are DAVIS', which changes no score.
    """
    limit = TOLERANCE * float(np.linalg.norm(shape_of(truth) or shape_of(prediction) or (0, 0)))
    return (min(limit, ceil(OF_OBJECT * sqrt(true_area))) if true_area else limit), limit


Disk = Sequence[tuple[int, int, int]]  # of each column: its offset, the first and the last row's


@cache
def disk(radius: float) -> Disk:
    """The pixels of a disk around a pixel, by column.

    Of a radius that is no whole number it is that of skimage.morphology.disk as cv2.dilate places
    it: its columns are at -radius, 1 - radius, ..., and the middle one, counted down, is the pixel.
    """
    at = np.arange(-radius, radius + 1)
    inside = at[:, None] ** 2 + at**2 <= radius**2  # symmetric
    middle = len(at) // 2
    rows = [np.flatnonzero(column) - middle for column in inside]
    return [(x - middle, int(of[0]), int(of[-1])) for x, of in enumerate(rows) if len(of)]


def boundary_f(truth: Contour, prediction: Contour, disk: Disk) -> float:
    """F of two contours of one frame size, of pixels that match within a disk; 0..1."""
    true, predicted = boundary_pixels(truth), boundary_pixels(prediction)
    recalled, precise = _matched(true, predicted, disk), _matched(predicted, true, disk)
    return f_of(recalled, len(true), precise, len(predicted))


def _matched(pixels: NDArray[np.int64], others: NDArray[np.int64], disk: Disk) -> int:
    """How many of `pixels` have one of `others` in the disk around them; (N, 2) rows, columns."""
    if not len(pixels) or not len(others):
        return 0
    corner = others.min(0)
    height, width = others.max(0) - corner + 1
    above = np.zeros((height + 1, width), np.int64)  # how many of a column lie above a row
    above[tuple((others - corner + (1, 0)).T)] = 1
    above = above.cumsum(0)
    rows, columns = (pixels - corner).T
    near = np.zeros(len(pixels), bool)
    for x, first, last in disk:
        within = (columns + x >= 0) & (columns + x < width)
        column, row = columns[within] + x, rows[within]
        start, stop = (np.clip(row + y, 0, height) for y in (first, last + 1))
        near[within] |= above[stop, column] > above[start, column]
    return int(near.sum())
