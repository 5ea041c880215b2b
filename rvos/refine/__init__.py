"""Coarse masks + masklets -> refined masks: the paper's vote, other rules, presence."""

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
    Presence,
    Refinement,
    Rule,
    Window,
    apply_spans,
)
from rvos.refine.given import Given, apply_decision, check_given, decision_problems, given_of
from rvos.refine.presence import (
    CoarseScore,
    ConfidenceRule,
    DetectorScore,
    NoPresence,
    PresenceRule,
    ShareOfFrames,
    WithPresence,
)
from rvos.refine.rules import make_rule
from rvos.refine.vote import KeepCoarse, Vote, WindowRule

__all__ = [
    "Candidates",
    "CoarseScore",
    "Combination",
    "ConditionalFusion",
    "ConfidenceRule",
    "DetectorScore",
    "Given",
    "InstanceVote",
    "KeepCoarse",
    "Masklets",
    "NoPresence",
    "PixelMajority",
    "Presence",
    "PresenceRule",
    "Refinement",
    "Rule",
    "ShareOfFrames",
    "SlidingVote",
    "Vote",
    "WeightedVote",
    "WholeVideo",
    "Window",
    "WindowRule",
    "WithPresence",
    "apply_decision",
    "apply_spans",
    "check_given",
    "given_of",
    "decision_problems",
    "make_rule",
]
