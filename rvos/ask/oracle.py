"""Choices scored with ground truth, and the best choice that there is to compare with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvos.ask.questions import Asked
from rvos.data.formats import open_truth
from rvos.masks import Track
from rvos.refine import Candidates, Masklets, apply_decision
from rvos.report.run import Run
from rvos.score.measures import FrameScores, score_track

Decisions = Mapping[str, Mapping[str, Mapping[str, Any]]]  # {video: {expression_id: decision}}
LEAST_J = 0.5  # of a masklet that counts as a target's


def oracle_decisions(run: Path, asked: Asked) -> Decisions:
    """Per target of an expression the masklet of highest mean J, none below 0.5.

    An expression without target is absent; one of whose targets no masklet shows keeps what the run
    chose. Raises InputError where the split has no ground truth.
    """
    truth = open_truth(Run.read(run).config["data"]["format"], asked.split)
    decisions: dict[str, dict[str, Any]] = {}
    for video in asked.split.videos:
        targets = truth.tracks(video, (i for e in video.expressions for i in e.annotation_ids))
        of_video = decisions.setdefault(video.name, {})
        for expressions, tracks in asked.groups(video):
            best = {id_: _best(target, tracks) for id_, target in targets.items()}
            for e in expressions:
                chosen = sorted({i for id_ in e.annotation_ids if (i := best[id_]) is not None})
                decision = {"present": bool(e.annotation_ids), "masklets": chosen}
                if decision["present"] and not chosen:
                    decision["windows"] = asked.windows(e)
                of_video[e.expression_id] = decision
    return decisions


def _best(target: Track, tracks: list[Track]) -> int | None:
    means = [float(score_track(target, track)[0].mean()) for track in tracks]
    best = max(range(len(means)), key=means.__getitem__, default=None)
    return best if best is not None and means[best] >= LEAST_J else None


@dataclass(frozen=True)
class Scored:
    """J&F of one expression, 0..1, under the run's own rule and under decisions."""

    own: float
    decided: Mapping[str, float]  # by the decisions' name


def score_decisions(run: Path, asked: Asked, named: Mapping[str, Decisions]) -> dict[Any, Scored]:
    """{(video, expression_id): scores} of several decisions. Raises InputError without truth."""
    results, scored = Run.read(run), dict[Any, Scored]()
    own = dict(zip(results.identities, results.JF("refined"), strict=True))
    for video in asked.split.videos:
        scores, tracks_of = FrameScores(), results.video(video.name).tracks
        for expressions, tracks in asked.groups(video):
            masklets = Masklets(tracks)
            for e in expressions:
                key = video.name, e.expression_id
                kinds = tracks_of[e.expression_id]
                candidates = Candidates(
                    kinds["coarse"], masklets, video=video.name, expression_id=e.expression_id
                )
                decided = {}
                for name, decisions in named.items():
                    track = apply_decision(decisions[video.name][e.expression_id], candidates).track
                    pairs = [scores(g, p) for g, p in zip(kinds["truth"], track, strict=True)]
                    decided[name] = sum(j + f for j, f in pairs) / (2 * len(pairs))
                scored[key] = Scored(float(own[key]), decided)
    return scored
