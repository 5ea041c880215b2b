"""ReVOS: referring and reasoning expressions, and robustness."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rvos.data.split import Split, Truth, Video
from rvos.errors import InputError
from rvos.masks import Track, area, decode, minus
from rvos.score.measures import Scores
from rvos.score.protocols.protocol import Answer, Missing, Protocol


class Revos(Protocol):
    """`revos`: the mean of the means over referring and over reasoning expressions, with R.

    Robustness R of a frame is max(0, 1 - |P minus G| / |all objects|), as in VISA,
    tools/eval_revos.py and tools/metrics.py; expressions about nothing ("hallucination") count in
    their slice only.
    """

    name = "revos"
    text = "the mean of referring and reasoning expressions, with R; ReVOS"

    def check(self, split: Split, truth: Truth) -> None:
        if not hasattr(truth, "foreground"):
            raise InputError(f"score.protocol={self.name}: expected a split of ReVOS (data=revos)")

    def read(self, truth: Any, video: Video) -> Any:
        """(T,) pixels of all objects."""
        return truth.foreground(video)

    def group(self, type: str) -> str | None:
        return type if type in ("referring", "reasoning") else None

    def more(self, answer: Answer, J: Scores, F: Scores, of_video: Any) -> dict[str, float]:
        masks = zip(answer.prediction, answer.truth, strict=True)
        outside = np.array([area(minus(p, g)) for p, g in masks])
        return {"R": robustness(outside, of_video)}


def robustness(outside: Any, foreground: Sequence[int]) -> float:
    """R of an expression from two counts of pixels, (T,) each."""
    return float(np.maximum(1 - outside / (np.asarray(foreground) + 1e-6), 0).mean())


class Objects(NamedTuple):
    """What VISA's script reads of a video."""

    foreground: Sequence[int]  # (T,) pixels of all objects
    tracks: Mapping[str, Track]  # by annotation id


class Visa(Revos):
    """`revos:strict`: VISA, tools/eval_revos.py and tools/metrics.py.

    Each expression's J, F and R is rounded to 0.01 percent (lines 133 to 137). What is missing, or
    fails, counts 0 (lines 34 to 37, 70 to 72). True objects are added up in bytes (line 54), so
    that `1 - gt` in metrics.py, line 37, is 255 where two of them overlap.
    """

    name = "revos:strict"
    quirk = "rounded to 0.01 % each; missing counts 0; R: overlapping targets are 2"
    missing: Missing = "zero"
    value = 1  # of the masks' pixels in its pictures

    def read(self, truth: Any, video: Video) -> Objects:
        ids = [id_ for e in video.expressions for id_ in e.annotation_ids]
        return Objects(super().read(truth, video), truth.tracks(video, ids))

    def more(self, answer: Answer, J: Scores, F: Scores, of_video: Objects) -> dict[str, float]:
        tracks = [of_video.tracks[id_] for id_ in answer.expression.annotation_ids]
        outside = [
            self._outside(p, [track[t] for track in tracks])
            for t, p in enumerate(answer.prediction)
        ]
        R = robustness(np.array(outside), of_video.foreground)
        values = {"J": J.mean(), "F": F.mean(), "R": R}
        return {key: float(np.round(100 * value, 2)) / 100 for key, value in values.items()}

    def _outside(self, prediction: Any, targets: Sequence[Any]) -> int:
        """The sum of ((1 - gt) * pred) in bytes."""
        if prediction is None:
            return 0
        pixels = decode(prediction)
        truth = np.zeros_like(pixels)
        for target in targets:
            if target is not None:
                truth += decode(target)
        return int(((1 - truth) * (pixels * np.uint8(self.value))).sum())


class Virst(Visa):
    """`revos:virst`: VIRST, utils/evaluation/eval_revos.py, VISA's script.

    Its masks are written as 255 (eval.py, save_binary_mask) and read as they are (line 62), so that
    each wrong pixel counts 255 times in R.
    """

    name = "revos:virst"
    quirk = "as revos:strict, and each wrong pixel counts 255 times in R"
    value = 255


class VideoSegO3(Visa):
    """`revos:videoseg-o3`: VideoSEG-O3, tools/eval/eval_revos.py.

    The worker ends with a KeyError where the results lack an expression (line 28).
    """

    name = "revos:videoseg-o3"
    quirk = "as revos:strict, but what is missing is left out"
    missing = "left out"
