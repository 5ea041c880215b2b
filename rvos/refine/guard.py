"""A guard on the windows of a rule: refined masks must agree with the coarse ones (`agree`).

Masklets that are not the object do harm, and the vote cannot know that they are not. Over a window
it can be seen: coarse masks err in some frames, but masks of the object agree with most of them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rvos.masks import Mask, Track
from rvos.refine.candidates import Candidates, Refinement, Window


def agreement(candidates: Candidates, start: int, shown: Sequence[Mask]) -> float | None:
    """Median IoU of the masks shown from frame `start` on with the coarse ones, 0..1.

    A frame in which both are empty is left out, one in which only one is empty counts 0. Of an even
    number of frames the median is the mean of the middle two. None where no frame is left.
    """
    ious = [candidates.iou(t, mask) for t, mask in enumerate(shown, start)]
    known = [iou for iou in ious if iou is not None]
    return float(np.median(known)) if known else None


def guarded(candidates: Candidates, refinement: Refinement, agree: float | None) -> Refinement:
    """The refinement, with the coarse masks in windows whose agreement is below `agree`.

    A window with C_sel whose frames are all left out keeps its coarse masks, too. `agree` None
    changes nothing.
    """
    if agree is None:
        return refinement
    windows = [
        judged(
            window,
            None
            if window.kept_coarse
            else agreement(candidates, window.start, refinement.track[window.start : window.stop]),
            agree,
        )
        for window in refinement.windows
    ]
    return with_windows(candidates, refinement, windows)


def judged(window: Window, agreement: float | None, agree: float) -> Window:
    """The window with its agreement, and with its coarse masks kept where that is too low."""
    if window.kept_coarse:
        return window
    kept_coarse = agreement is None or agreement < agree
    return replace(window, kept_coarse=kept_coarse, agreement=agreement)


def with_windows(
    candidates: Candidates, refinement: Refinement, windows: Sequence[Window]
) -> Refinement:
    """The refinement with these windows, and the coarse masks in those that keep them."""
    track: Track = []
    for window in windows:
        source = candidates.coarse if window.kept_coarse else refinement.track
        track += source[window.start : window.stop]
    return replace(refinement, track=track, windows=tuple(windows))
