"""Masks + ground truth -> J, F, J&F as MeViS scores them, one setting or a whole ablation.

Everything is imported when it is asked for: `j_and_f` and `score_track` need numpy, numba and
pycocotools alone.
"""

from typing import TYPE_CHECKING

from rvos import lazily

if TYPE_CHECKING:
    from rvos.score.ablation import COARSE, REFINED, Hashes, grid, labelled, score_rules
    from rvos.score.evaluate import Scorer, ScoreStage, evaluate_video
    from rvos.score.extra import make_metrics
    from rvos.score.inputs import Inputs, VideoInputs
    from rvos.score.measures import FrameScores, Metric, Summary, score_track
    from rvos.score.pairs import boundary_f, j_and_f, j_and_f_by_object, jaccard
    from rvos.score.protocols import (
        Answer,
        Expressions,
        Protocol,
        Unit,
        UnitScores,
        make_protocol,
    )
    from rvos.score.results import (
        ExpressionResult,
        Results,
        RuleScores,
        VideoFiles,
        VideoResult,
        read_results,
    )

__all__ = [
    "Answer",
    "COARSE",
    "ExpressionResult",
    "Expressions",
    "FrameScores",
    "Hashes",
    "Inputs",
    "Metric",
    "Protocol",
    "REFINED",
    "Results",
    "RuleScores",
    "ScoreStage",
    "Scorer",
    "Summary",
    "Unit",
    "UnitScores",
    "VideoFiles",
    "VideoInputs",
    "VideoResult",
    "boundary_f",
    "evaluate_video",
    "grid",
    "j_and_f",
    "j_and_f_by_object",
    "jaccard",
    "labelled",
    "make_metrics",
    "make_protocol",
    "read_results",
    "score_rules",
    "score_track",
]

__getattr__ = lazily(__name__, __file__)
