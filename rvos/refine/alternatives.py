"""Other rules than the paper's, each with its source."""

from collections import Counter
from dataclasses import field, replace
from typing import Annotated

from pydantic import Field

from rvos.masks import Mask, Track, bounding_box, majority, union
from rvos.refine.candidates import Candidates, Combination, Refinement, Span, Window
from rvos.refine.guard import agreement, judged, with_windows
from rvos.refine.vote import Vote, WindowRule
from rvos.settings import Part, Real, Share, checked


class InstanceVote(WindowRule):
    """A vote for each instance by itself instead of for sets of instances.

    C_sel holds the instances that belong to C_t in more than half of the window's frames; it can be
    a set that no single frame had. Source: the paper's vote per label instead of per set (majority
    voting with binary relevance, Tsoumakas and Katakis 2007).
    """

    def select(self, candidates: Candidates, start: int, stop: int) -> Combination:
        combinations = candidates.combinations(self.tau)[start:stop]
        counts = Counter(i for combination in combinations for i in combination)
        return tuple(sorted(i for i, n in counts.items() if 2 * n > stop - start))


class WeightedVote(WindowRule):
    """A weighted vote, in which a clear frame counts more than an ambiguous one.

    A frame's vote for its C_t weighs the mean of f_i^t over i in C_t; its vote for the empty set
    weighs 1 - max_i f_i^t (1 without instances). The largest sum wins, ties go to the combination
    that occurs first. Source: weighted voting (Dietterich 2000, section 2), weights from the
    paper's f.
    """

    def select(self, candidates: Candidates, start: int, stop: int) -> Combination:
        sums: dict[Combination, float] = {}
        for t in range(start, stop):
            combination, f = candidates.combinations(self.tau)[t], candidates.fractions[t]
            weight = f[list(combination)].mean() if combination else 1 - f.max(initial=0)
            sums[combination] = sums.get(combination, 0.0) + float(weight)
        return max(sums, key=sums.__getitem__)


@checked
class WholeVideo:
    """The paper's vote with one window as long as the video."""

    tau: Part
    agree: Share | None = field(default=None, kw_only=True)  # None: no guard

    def spans(self, candidates: Candidates) -> list[Span]:
        """The video and its C_sel; none without frames."""
        return self._vote(candidates).spans(candidates)

    def __call__(self, candidates: Candidates) -> Refinement:
        return self._vote(candidates)(candidates)

    def _vote(self, candidates: Candidates) -> Vote:
        return Vote(window=max(1, len(candidates.coarse)), tau=self.tau, agree=self.agree)


class SlidingVote(Vote):
    """The vote in overlapping windows: each frame follows the window of which it is the middle.

    Frame t takes the most frequent C of frames t - (W - 1) // 2 .. t + W // 2, cut at the ends of
    the video; ties go to the one that occurs first. Neighbouring frames with the same C_sel are
    one span of `Refinement.windows`. With `agree`, the window around a frame decides whether the
    frame keeps its coarse mask, and spans have one agreement, too. Source: a mode filter over time,
    stride 1.
    """

    def spans(self, candidates: Candidates) -> list[Span]:
        num_frames = len(candidates.coarse)
        spans: list[Span] = []
        for t in range(num_frames):
            around = self._around(t, num_frames)
            selected = self.select(candidates, around.start, around.stop)
            start = spans.pop()[0] if spans and spans[-1][2] == selected else t
            spans.append((start, t + 1, selected))
        return spans

    def __call__(self, candidates: Candidates) -> Refinement:
        refinement = self.refine(candidates)
        if self.agree is None:
            return refinement
        windows: list[Window] = []
        for span in refinement.windows:
            for t in range(span.start, span.stop):
                around = self._around(t, len(candidates.coarse))
                shown = [candidates.masklets.union(i, span.selected) for i in around]
                value = agreement(candidates, around.start, shown) if span.selected else None
                window = judged(replace(span, start=t, stop=t + 1), value, self.agree)
                if windows and replace(windows[-1], start=t, stop=t + 1) == window:
                    window = replace(window, start=windows.pop().start)
                windows.append(window)
        return with_windows(candidates, refinement, windows)

    def _around(self, t: int, num_frames: int) -> range:
        """The frames of the window around frame t."""
        return range(max(0, t - (self.window - 1) // 2), min(num_frames, t + self.window // 2 + 1))


class PixelMajority(Vote):
    """Pixels on which at least two of three masks agree.

    The three are the coarse mask u^t, the union of the frame's own C_t, and the union of its
    window's C_sel (the paper's vote). A window with an empty C_sel keeps its coarse masks. Source:
    vote-rule decision fusion per pixel (Heckemann et al. 2006, NeuroImage 33), with these voters.
    """

    def refine(self, candidates: Candidates) -> Refinement:
        voted = super().refine(candidates)
        track: Track = []
        for window in voted.windows:
            for t in range(window.start, window.stop):
                frame_masklets = candidates.masklets.union(t, voted.combinations[t])
                voters = (candidates.coarse[t], frame_masklets, voted.track[t])
                track.append(candidates.coarse[t] if window.kept_coarse else majority(voters))
        return Refinement(track, voted.combinations, voted.windows)


@checked
class ConditionalFusion(Vote):
    """The voted masks s alone, or s united with the coarse masks u where s looks incomplete.

    If in more than half of the video's frames the box of s^t has less than `box_ratio` of the area
    of the box of u^t, every frame becomes the union of both; frames that the vote left coarse have
    equal boxes. Source: conditional mask fusion of ReferDINO-Plus (arXiv 2503.23509, there between
    SAM 2's and ReferDINO's masks).
    """

    box_ratio: Annotated[Real, Field(gt=0, le=1)]

    def refine(self, candidates: Candidates) -> Refinement:
        voted = super().refine(candidates)
        pairs = list(zip(voted.track, candidates.coarse, strict=True))
        small = sum(_box_area(s) < self.box_ratio * _box_area(u) for s, u in pairs)
        if 2 * small <= len(pairs):
            return voted
        return Refinement([union(pair) for pair in pairs], voted.combinations, voted.windows)


def _box_area(mask: Mask) -> int:
    """Pixels of a mask's bounding box; 0 for an empty mask."""
    box = bounding_box(mask)
    return (box[2] - box[0]) * (box[3] - box[1]) if box else 0
