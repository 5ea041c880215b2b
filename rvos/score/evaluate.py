"""Checked inputs -> refined masks and scores, video by video.

A process pool goes over the videos, each of which writes its own files to the run folder:
`refined/` and `decisions/`, and where there is ground truth `inputs/` and `scores/`, from which the
report is made.
"""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from rvos import require, whole
from rvos.masks import Track, write_json
from rvos.refine import Candidates, Masklets, Refinement, Rule
from rvos.score.ablation import COARSE, REFINED, Expression, Fingerprint, Scored, score_rules
from rvos.score.inputs import VideoInputs
from rvos.score.measures import Metric


@dataclass(frozen=True)
class RuleScores:
    """One rule's scores of one expression: means over its frames, in 0..1."""

    J: float
    F: float
    frames_kept_coarse: int

    @property
    def JF(self) -> float:
        return (self.J + self.F) / 2

    @classmethod
    def of(cls, scored: Scored) -> "RuleScores":
        kept = scored.refinement.frames_kept_coarse
        return cls(float(np.mean(scored.J)), float(np.mean(scored.F)), kept)


@dataclass(frozen=True)
class ExpressionResult:
    """What every rule scored on one expression, by the rule's label."""

    video: str
    expression_id: str
    expression: str  # the sentence
    noun: str
    num_frames: int
    scores: dict[str, RuleScores]
    extra: dict[str, float]  # metrics of the run's own rule, by label
    fingerprint: Fingerprint  # of the masks of every label

    @property
    def coarse(self) -> RuleScores:
        """The coarse masks' scores."""
        return self.scores[COARSE]

    @property
    def refined(self) -> RuleScores:
        """The scores of the run's own rule."""
        return self.scores[REFINED]


def num_workers(workers: int) -> int:
    """`score.workers` as a number of processes; 0 is one per core. Raises SettingsError."""
    require(SimpleNamespace(workers=workers), "score", workers=whole(0))
    return workers or len(os.sched_getaffinity(0))


def evaluate(
    videos: Sequence[VideoInputs],
    rules: Mapping[str, Rule],
    extra: Mapping[str, Metric],
    output_dir: Path,
    *,
    workers: int,
) -> Iterator[list[ExpressionResult]]:
    """Results of each video, in order, by `workers` processes; arguments as `evaluate_video`."""
    workers = min(workers, len(videos))
    work = partial(evaluate_video, rules=rules, extra=extra, output_dir=output_dir)
    if workers == 1:
        yield from map(work, videos)
        return
    # spawn: safe whatever threads or devices this process holds.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures: deque[Future[list[ExpressionResult]]] = deque(
            pool.submit(work, video) for video in videos
        )
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
) -> list[ExpressionResult]:
    """Refine one video by rules[REFINED], score all rules, and write the video's files.

    `rules` has the labels COARSE and REFINED beside those of an ablation; `extra` are further
    metrics of the refined masks. Without ground truth the video is refined only, by
    rules[REFINED], and the list is empty.
    """
    masklets = {noun: Masklets(tracks) for noun, tracks in inputs.masklets.items()}
    candidates = {
        key: Candidates(track, masklets.get(inputs.nouns[key]) or Masklets([]))
        for key, track in inputs.coarse.items()
    }
    if inputs.truths is None:
        rule = rules[REFINED]
        _write_refined(inputs, {key: rule(c) for key, c in candidates.items()}, output_dir)
        return []
    expressions = [
        Expression(key, inputs.nouns[key], inputs.truths[key], candidates[key])
        for key in (e.expression_id for e in inputs.video.expressions)
    ]
    scored = score_rules(expressions, rules)
    rows = {e.expression_id: row for e, row in zip(expressions, scored, strict=True)}
    _write_refined(inputs, {key: row[REFINED].refinement for key, row in rows.items()}, output_dir)
    _write_for_report(inputs, rows, output_dir)
    return [
        _result(inputs, e.text, expression, row, extra)
        for e, expression, row in zip(inputs.video.expressions, expressions, scored, strict=True)
    ]


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
    }


def _result(
    inputs: VideoInputs,
    text: str,
    expression: Expression,
    row: Mapping[str, Scored],
    extra: Mapping[str, Metric],
) -> ExpressionResult:
    video, refined = inputs.video, row[REFINED]
    track = refined.refinement.track
    return ExpressionResult(
        video=video.name,
        expression_id=expression.expression_id,
        expression=text,
        noun=expression.noun,
        num_frames=len(video.frames),
        scores={label: RuleScores.of(scored) for label, scored in row.items()},
        extra={
            label: float(metric(expression.truth, track, refined.J, refined.F))
            for label, metric in extra.items()
        },
        fingerprint=Fingerprint.of(
            f"{video.name}/{expression.expression_id}",
            video.frames,
            {label: scored.refinement.track for label, scored in row.items()},
        ),
    )
