"""Ref-SAV: long and short expressions, and the accuracy of pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rvos.data.split import Video
from rvos.masks import Track, area, minus, union
from rvos.score.given import shape_of
from rvos.score.measures import Scores
from rvos.score.protocols.protocol import Answer, Protocol


class RefSav(Protocol):
    """`ref_sav`: the mean of the means over long and over short expressions, with A.

    A is the share of the pixels of a frame that are answered rightly. bytedance/Sa2VA,
    tools/eval/eval_ref_sav.py.
    """

    name = "ref_sav"
    text = "the mean of long and short expressions, with A; Ref-SAV"

    def group(self, type: str) -> str | None:
        return type if type in ("long", "short") else None

    def more(self, answer: Answer, J: Scores, F: Scores, of_video: Any) -> dict[str, float]:
        num = _num_pixels(answer)
        return {
            "A": float(np.mean([(num - wrong) / num for wrong in self.wrong(answer, of_video)]))
        }

    def wrong(self, answer: Answer, of_video: Any) -> list[int]:
        """(T,) pixels that are answered wrongly."""
        masks = zip(answer.truth, answer.prediction, strict=True)
        return [area(minus(p, g)) + area(minus(g, p)) for g, p in masks]


class RefSavScript(RefSav):
    """`ref_sav:strict`: Sa2VA, tools/eval/eval_ref_sav.py.

    Each expression's J, F and A is rounded to 0.01 percent (lines 111 to 114). The worker ends with
    a KeyError where the results lack an expression (line 34). True objects are added up (line 47),
    and a pixel of 2 equals no answer in A (third_parts/revos/utils/metircs.py, line 20).
    """

    name = "ref_sav:strict"
    quirk = "rounded to 0.01 % each; what is missing is left out; A: overlapping targets are wrong"
    missing = "left out"

    def read(self, truth: Any, video: Video) -> Mapping[str, Track]:
        """The pixels of several objects, by expression_id, of expressions about several."""
        several = {
            e.expression_id: e.annotation_ids
            for e in video.expressions
            if len(e.annotation_ids) > 1
        }
        if not several:
            return {}
        tracks = truth.tracks(video, [a for ids in several.values() for a in ids])
        return {
            key: [_twice(masks) for masks in zip(*(tracks[a] for a in ids), strict=True)]
            for key, ids in several.items()
        }

    def more(
        self, answer: Answer, J: Scores, F: Scores, of_video: Mapping[str, Track]
    ) -> dict[str, float]:
        A = super().more(answer, J, F, of_video)["A"]
        scores = {"J": J.mean(), "F": F.mean(), "A": A}
        return {key: float(np.round(100 * value, 2)) / 100 for key, value in scores.items()}

    def wrong(self, answer: Answer, of_video: Mapping[str, Track]) -> list[int]:
        wrong = super().wrong(answer, of_video)
        if answer.name not in of_video:
            return wrong
        several = zip(wrong, answer.prediction, of_video[answer.name], strict=True)
        return [number + area(p) - area(minus(p, twice)) for number, p, twice in several]


def _num_pixels(answer: Answer) -> int:
    """Of a frame; 1 where no mask tells, since then none is wrong."""
    sizes = (shape_of(mask) for mask in (*answer.truth, *answer.prediction))
    height, width = next(filter(None, sizes), (1, 1))
    return height * width


def _twice(masks: tuple[Any, ...]) -> Any:
    """The pixels that lie in more than one of the masks."""
    seen, twice = None, None
    for mask in masks:
        twice = union([twice, minus(mask, minus(mask, seen))])
        seen = union([seen, mask])
    return twice
