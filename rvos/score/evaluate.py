"""Checked inputs -> refined masks and scores, video by video.

A process pool goes over the videos, each of which writes its own files to the run folder:
`refined/` and `decisions/`, and where there is ground truth `inputs/` and `scores/`, from which the
report is made.
"""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from rvos import require, whole
from rvos.data import split as data
from rvos.masks import Track, write_json
from rvos.refine import Candidates, Masklets, Refinement, Rule
from rvos.score.ablation import (
    COARSE,
    REFINED,
    Expression,
    Fingerprint,
    Hashes,
    Scored,
    score_rules,
)
from rvos.score.identity import Identity, identity_of
from rvos.score.inputs import VideoInputs
from rvos.score.measures import Metric, Summary
from rvos.score.protocols import Expressions, Unit, mean_of


@dataclass(frozen=True)
class RuleScores:
    """One rule's scores of one expression: means over its frames, in 0..1."""

    J: float
    F: float
    frames_kept_coarse: int
    says_nothing: bool  # every frame is empty
    more: dict[str, float]  # what the protocol measures beside them

    @property
    def JF(self) -> float:
        return (self.J + self.F) / 2

    @classmethod
    def of(cls, scored: Scored, more: dict[str, float]) -> "RuleScores":
        refinement = scored.refinement
        means = float(np.mean(scored.J)), float(np.mean(scored.F))
        return cls(*means, refinement.frames_kept_coarse, not any(refinement.track), more)

    def as_dict(self) -> dict[str, float]:
        """J, F and what the protocol measures."""
        return {"J": self.J, "F": self.F, **self.more}


@dataclass(frozen=True)
class ExpressionResult:
    """What every rule scored on one expression, by the rule's label."""

    video: str
    expression_id: str
    expression: str  # the sentence
    noun: str
    num_frames: int
    num_targets: int  # objects that it is about; 0: a no-target expression
    type: str  # the dataset's kind of expression; empty where it has none
    scores: dict[str, RuleScores]
    extra: dict[str, float]  # metrics of the run's own rule, by label
    identity: dict[str, Identity]  # of the coarse and the refined track, for one target alone
    fingerprint: Fingerprint  # of the masks of every label

    @property
    def coarse(self) -> RuleScores:
        """The coarse masks' scores."""
        return self.scores[COARSE]

    @property
    def refined(self) -> RuleScores:
        """The scores of the run's own rule."""
        return self.scores[REFINED]


@dataclass(frozen=True)
class VideoResult:
    """What every rule scored on one video; nothing where there is no ground truth."""

    expressions: list[ExpressionResult]
    units: dict[str, list[Unit]]  # as `Expressions.units` of the protocol


@dataclass
class Results:
    """What every rule scored on a split, as its protocol averages it."""

    protocol: Expressions = field(default_factory=Expressions)
    expressions: list[ExpressionResult] = field(default_factory=list)
    units: dict[str, list[Unit]] = field(default_factory=dict)
    hashes: Hashes = field(default_factory=Hashes)

    def add(self, video: VideoResult) -> None:
        """Add a video's; videos come in the order of the split."""
        for result in video.expressions:
            self.hashes.update(result.fingerprint)
        self.expressions += video.expressions
        for name, units in video.units.items():
            self.units.setdefault(name, []).extend(units)

    def identity(self, label: str) -> Identity:
        """How often the coarse or refined tracks jump, over all expressions about one object."""
        found = (r.identity[label] for r in self.expressions if label in r.identity)
        return sum(found, Identity())

    def summary(self, label: str) -> Summary:
        """The score of one rule."""
        return mean_of(self.units[""], label)


MASKS_PER_PROCESS = 1000  # fewer are refined and scored in less time than a process needs to start


def num_workers(workers: int, videos: Sequence[VideoInputs]) -> int:
    """`score.workers` as a number of processes for these videos. Raises SettingsError.

    0 is one per core, but fewer where there is little to do.
    """
    require(SimpleNamespace(workers=workers), "score", workers=whole(0))
    masks = sum(len(one.video.frames) * len(one.video.expressions) for one in videos)
    return workers or max(1, min(len(os.sched_getaffinity(0)), masks // MASKS_PER_PROCESS))


def evaluate(
    videos: Sequence[VideoInputs],
    rules: Mapping[str, Rule],
    extra: Mapping[str, Metric],
    output_dir: Path,
    *,
    workers: int,
    protocol: Expressions | None = None,
) -> Iterator[VideoResult]:
    """Results of each video, in order, by `workers` processes; arguments as `evaluate_video`."""
    workers = min(workers, len(videos))
    work = partial(
        evaluate_video, rules=rules, extra=extra, output_dir=output_dir, protocol=protocol
    )
    if workers == 1:
        yield from map(work, videos)
        return
    # spawn: safe whatever threads or devices this process holds.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures: deque[Future[VideoResult]] = deque(pool.submit(work, video) for video in videos)
        try:
            while futures:
                yield futures.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def evaluate_video(
    inputs: VideoInputs,
    rules: Mapping[str, Rule],
    extra: Mapping[str, Metric],
    output_dir: Path,
    protocol: Expressions | None = None,
) -> VideoResult:
    """Refine one video by rules[REFINED], score all rules, and write the video's files.

    `rules` has the labels COARSE and REFINED beside those of an ablation; `extra` are further
    metrics of the refined masks. Without ground truth the video is refined only, by
    rules[REFINED], and the result is empty. `protocol` None is the plain mean over expressions.
    """
    masklets = {noun: Masklets(tracks) for noun, tracks in inputs.masklets.items()}
    candidates = {
        key: Candidates(
            track,
            masklets.get(inputs.nouns[key]) or Masklets([]),
            inputs.scores.get(key),
            video=inputs.video.name,
            expression_id=key,
        )
        for key, track in inputs.coarse.items()
    }
    if inputs.truths is None:
        rule = rules[REFINED]
        _write_refined(inputs, {key: rule(c) for key, c in candidates.items()}, output_dir)
        return VideoResult([], {})
    expressions = [
        Expression(key, inputs.nouns[key], inputs.truths[key], candidates[key])
        for key in (e.expression_id for e in inputs.video.expressions)
    ]
    scored = score_rules(expressions, rules)
    rows = {e.expression_id: row for e, row in zip(expressions, scored, strict=True)}
    _write_refined(inputs, {key: row[REFINED].refinement for key, row in rows.items()}, output_dir)
    _write_for_report(inputs, rows, output_dir)
    protocol = protocol or Expressions()
    results = [
        _result(inputs, e, rows[e.expression_id], extra, protocol) for e in inputs.video.expressions
    ]
    tracks = {
        key: {label: scored.refinement.track for label, scored in row.items()}
        for key, row in rows.items()
    }
    scores = {
        r.expression_id: {label: scores.as_dict() for label, scores in r.scores.items()}
        for r in results
    }
    units = protocol.units(inputs.video, tracks, scores, inputs.of_protocol)
    return VideoResult(results, units)


def _write_refined(
    inputs: VideoInputs, refinements: dict[str, Refinement], output_dir: Path
) -> None:
    """The video's files in `refined/` and `decisions/`."""
    name = inputs.video.name
    write_json(
        output_dir / "refined" / f"{name}.json.gz", {k: r.track for k, r in refinements.items()}
    )
    write_json(
        output_dir / "decisions" / f"{name}.json",
        {key: _decisions(inputs.nouns[key], r) for key, r in refinements.items()},
    )


def _write_for_report(
    inputs: VideoInputs, rows: Mapping[str, Mapping[str, Scored]], output_dir: Path
) -> None:
    """The video's files in `inputs/` (coarse masks, ground truth) and `scores/` (per frame)."""
    assert inputs.truths is not None
    positions: dict[tuple[str, ...], int] = {}
    tracks: list[Track] = []

    def position(track: Track) -> int:
        key = tuple("" if mask is None else mask["counts"] for mask in track)
        if key not in positions:
            positions[key] = len(tracks)
            tracks.append(track)
        return positions[key]

    name = inputs.video.name
    coarse = {key: position(track) for key, track in inputs.coarse.items()}
    truth = {key: position(track) for key, track in inputs.truths.items()}
    content = {"frames": inputs.video.frames, "tracks": tracks, COARSE: coarse, "truth": truth}
    write_json(output_dir / "inputs" / f"{name}.json.gz", content)
    scores = {
        key: {
            label: {"J": row[label].J.tolist(), "F": row[label].F.tolist()}
            for label in (COARSE, REFINED)
        }
        for key, row in rows.items()
    }
    write_json(output_dir / "scores" / f"{name}.json.gz", scores)


def _decisions(noun: str, refinement: Refinement) -> dict[str, Any]:
    presence = refinement.presence
    return {
        "noun": noun,
        "combinations": [list(c) for c in refinement.combinations],
        "windows": [
            {
                "start": w.start,
                "stop": w.stop,
                "selected": list(w.selected),
                "kept_coarse": w.kept_coarse,
            }
            for w in refinement.windows
        ],
        **({} if presence is None else {"presence": asdict(presence)}),
    }


def _result(
    inputs: VideoInputs,
    expression: data.Expression,
    row: Mapping[str, Scored],
    extra: Mapping[str, Metric],
    protocol: Expressions,
) -> ExpressionResult:
    assert inputs.truths is not None
    video, key = inputs.video, expression.expression_id
    truth = inputs.truths[key]

    def scores_of(scored: Scored) -> RuleScores:
        track = scored.refinement.track
        return RuleScores.of(scored, protocol.more(truth, track, scored.J, inputs.of_protocol))

    refined = row[REFINED]
    return ExpressionResult(
        video=video.name,
        expression_id=key,
        expression=expression.text,
        noun=inputs.nouns[key],
        num_frames=len(video.frames),
        num_targets=len(expression.annotation_ids),
        type=expression.type,
        scores={label: scores_of(scored) for label, scored in row.items()},
        extra={
            label: float(metric(truth, refined.refinement.track, refined.J, refined.F))
            for label, metric in extra.items()
        },
        identity={
            label: identity_of(row[label].refinement.track, inputs.objects)
            for label in (COARSE, REFINED)
            if len(expression.annotation_ids) == 1
        },
        fingerprint=Fingerprint.of(
            f"{video.name}/{key}",
            video.frames,
            {label: scored.refinement.track for label, scored in row.items()},
        ),
    )
