"""Masks + ground truth -> J, F, J&F as MeViS scores them, one setting or a whole ablation."""

from rvos.score.ablation import COARSE, REFINED, Hashes, grid, labelled, score_rules
from rvos.score.evaluate import (
    ExpressionResult,
    Results,
    RuleScores,
    VideoResult,
    evaluate,
    evaluate_video,
)
from rvos.score.inputs import Inputs, VideoInputs
from rvos.score.measures import FrameScores, Metric, Summary, make_metrics, score_track
from rvos.score.protocols import make_protocol

__all__ = [
    "COARSE",
    "REFINED",
    "ExpressionResult",
    "FrameScores",
    "Hashes",
    "Inputs",
    "Metric",
    "Results",
    "RuleScores",
    "Summary",
    "VideoInputs",
    "VideoResult",
    "evaluate",
    "evaluate_video",
    "grid",
    "labelled",
    "make_metrics",
    "make_protocol",
    "score_rules",
    "score_track",
]
