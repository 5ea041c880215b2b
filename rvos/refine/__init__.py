"""Coarse masks + masklets -> refined masks: the paper's vote, and other rules."""

from rvos.refine.alternatives import (
    ConditionalFusion,
    InstanceVote,
    PixelMajority,
    SlidingVote,
    WeightedVote,
    WholeVideo,
)
from rvos.refine.candidates import (
    Candidates,
    Combination,
    Masklets,
    Refinement,
    Rule,
    Window,
    apply_spans,
)
from rvos.refine.given import Given, check_given, decision_problems
from rvos.refine.rules import make_rule
from rvos.refine.vote import KeepCoarse, Vote, WindowRule

__all__ = [
    "Candidates",
    "Combination",
    "ConditionalFusion",
    "Given",
    "InstanceVote",
    "KeepCoarse",
    "Masklets",
    "PixelMajority",
    "Refinement",
    "Rule",
    "SlidingVote",
    "Vote",
    "WeightedVote",
    "WholeVideo",
    "Window",
    "WindowRule",
    "apply_spans",
    "check_given",
    "decision_problems",
    "make_rule",
]
