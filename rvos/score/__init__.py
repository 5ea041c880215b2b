"""Masks + ground truth -> J, F, J&F as MeViS scores them, one setting or a whole ablation."""

from rvos.score.ablation import COARSE, REFINED, Hashes, grid, labelled, score_rules
from rvos.score.evaluate import Scorer, evaluate, evaluate_video
from rvos.score.inputs import Inputs, VideoInputs
from rvos.score.measures import FrameScores, Metric, Summary, make_metrics, score_track
from rvos.score.protocols import Expressions, Unit, make_protocol
from rvos.score.results import (
    ExpressionResult,
    Results,
    RuleScores,
    VideoFiles,
    VideoResult,
    read_results,
)

__all__ = [
    "COARSE",
    "REFINED",
    "ExpressionResult",
    "Expressions",
    "FrameScores",
    "Hashes",
    "Inputs",
    "Metric",
    "Results",
    "RuleScores",
    "Scorer",
    "Summary",
    "Unit",
    "VideoFiles",
    "VideoInputs",
    "VideoResult",
    "evaluate",
    "evaluate_video",
    "grid",
    "labelled",
    "make_metrics",
    "make_protocol",
    "read_results",
    "score_rules",
    "score_track",
]
