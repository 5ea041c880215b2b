"""Coarse masks + masklets -> refined masks, by the paper's rule."""

from abc import ABC, abstractmethod
from dataclasses import field

from rvos.refine.candidates import (
    Candidates,
    Combination,
    Refinement,
    Span,
    Window,
    apply_spans,
)
from rvos.refine.guard import guarded
from rvos.settings import Count, Part, Share, checked


@checked
class WindowRule(ABC):
    """Cuts a video into windows of `window` frames from frame 0 and selects masklets for each.

    The last window may be shorter. A window whose selection is empty keeps its coarse masks, in
    any other every frame becomes the union of the selected masklets. With `agree`, such a window
    keeps its coarse masks, too, if its median IoU with them is below `agree` (`guard.py`). Raises
    SettingsError.
    """

    window: Count  # frames
    tau: Part  # share of a masklet inside the coarse mask, strict: f > tau
    agree: Share | None = field(default=None, kw_only=True)  # None: no guard, as the paper

    @abstractmethod
    def select(self, candidates: Candidates, start: int, stop: int) -> Combination:
        """C_sel of the frames start .. stop - 1."""

    def spans(self, candidates: Candidates) -> list[Span]:
        """Every window and its C_sel, in the order of the frames.

        (`PixelMajority` and `ConditionalFusion` show other masks than the union of C_sel.)
        """
        num_frames = len(candidates.coarse)
        cuts = [*range(0, num_frames, self.window), num_frames]
        return [
            (start, stop, self.select(candidates, start, stop))
            for start, stop in zip(cuts, cuts[1:], strict=False)
        ]

    def refine(self, candidates: Candidates) -> Refinement:
        """The refinement without the guard."""
        return apply_spans(candidates, self.tau, self.spans(candidates))

    def __call__(self, candidates: Candidates) -> Refinement:
        return guarded(candidates, self.refine(candidates), self.agree)


class Vote(WindowRule):
    """The paper's rule: C_sel is the combination C_t that most frames of the window have.

    Instance i belongs to C_t if f_i^t > tau. The empty set counts like any other combination, ties
    go to the one that occurs first.
    """

    def select(self, candidates: Candidates, start: int, stop: int) -> Combination:
        votes = candidates.combinations(self.tau)[start:stop]
        # In the order of their first occurrence; max takes the first of equals.
        return max(dict.fromkeys(votes), key=votes.count)


@checked
class KeepCoarse:
    """`refine=none`: the coarse masks as they are."""

    def __call__(self, candidates: Candidates) -> Refinement:
        num_frames = len(candidates.coarse)
        whole_video = Window(0, num_frames, selected=(), kept_coarse=True)
        return Refinement(candidates.coarse, ((),) * num_frames, (whole_video,))
