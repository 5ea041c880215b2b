"""Masks + ground truth -> J, F, J&F as MeViS scores them, one setting or a whole ablation."""

from rvos.score.ablation import COARSE, REFINED, Hashes, grid, labelled, score_rules
from rvos.score.evaluate import ExpressionResult, RuleScores, evaluate, evaluate_video
from rvos.score.inputs import Inputs, VideoInputs
from rvos.score.measures import FrameScores, Metric, Summary, make_metrics, score_track

__all__ = [
    "COARSE",
    "REFINED",
    "ExpressionResult",
    "FrameScores",
    "Hashes",
    "Inputs",
    "Metric",
    "RuleScores",
    "Summary",
    "VideoInputs",
    "evaluate",
    "evaluate_video",
    "grid",
    "labelled",
    "make_metrics",
    "score_rules",
    "score_track",
]
