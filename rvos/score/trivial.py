"""Answers that nobody has to compute, scored beside a method under the same protocol.

Where targets are seldom seen the empty answer scores well: 1 in every frame without target (arXiv
2610.02946). Nothing is drawn for it and for the whole frame: a mask has a boundary unless it is
empty or fills the frame.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rvos.masks import Track, area, encode
from rvos.refine import Candidates, Refinement
from rvos.score.given import shape_of
from rvos.score.measures import Scores

EMPTY, WHOLE, LARGEST = "empty", "whole frame", "largest masklet"
TRIVIAL = (EMPTY, WHOLE, LARGEST)  # labels in tables and files


def trivial_answers(truth: Sequence[Any]) -> dict[str, tuple[list[Any], Scores, Scores]]:
    """EMPTY and WHOLE for the true masks of any form, (T,): masks, J and F, (T,) each."""
    # A truth that is never there has no size, and none is asked for.
    height, width = next((shape for mask in truth if (shape := shape_of(mask))), (1, 1))
    pixels = height * width
    areas = np.array(
        [np.count_nonzero(m) if isinstance(m, np.ndarray) else area(m) for m in truth], np.float64
    )
    is_empty = (areas == 0).astype(np.float64)
    has_none = ((areas == 0) | (areas == pixels)).astype(np.float64)  # no boundary
    frame = encode(np.ones((height, width), np.uint8))
    return {
        EMPTY: ([None] * len(truth), is_empty, has_none),
        WHOLE: ([frame] * len(truth), areas / pixels, has_none),
    }


def largest_masklet(candidates: Candidates) -> Refinement:
    """As a rule: the masklet with most pixels in all frames; nothing where there is none."""
    nothing: Track = [None] * len(candidates.coarse)
    tracks = candidates.masklets.tracks
    return Refinement(max(tracks, key=lambda t: sum(map(area, t)), default=nothing), (), ())
