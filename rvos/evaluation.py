"""Checked jobs -> refined masks and scores, video by video.

A process pool goes over the videos, each of which writes its own `refined/` and `decisions/` file.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from rvos import InputError
from rvos.ablation import Expression, Fingerprint, Scored, score_rules
from rvos.data.mevis import Video
from rvos.inputs import Job
from rvos.masks import write_json
from rvos.refine import Candidates, KeepCoarse, Masklets, Refinement, Rule
from rvos.score import decay, recall, temporal_ious


@dataclass(frozen=True)
class ExpressionResult:
    """Scores of one expression, means over its frames, in 0..1."""

    video: str
    expression_id: str
    text: str
    noun: str
    num_frames: int
    J: float
    F: float
    coarse_J: float
    coarse_F: float
    frames_kept_coarse: int
    extra: dict[str, float]
    cells: list[tuple[float, float, int]]  # J, F, frames kept coarse of each ablation cell
    fingerprint: Fingerprint  # of the coarse masks and of each cell


def num_workers(workers: int) -> int:
    """`score.workers` as a number of processes; 0 is one per core."""
    if workers < 0:
        raise InputError(f"score.workers: expected 0 (one per core) or more, got {workers}")
    return workers or len(os.sched_getaffinity(0))


def evaluate(
    jobs: Sequence[Job], rule: Rule, cells: Sequence[Rule], output_dir: Path, *, workers: int
) -> Iterator[list[ExpressionResult]]:
    """Results of each video, in order, by `workers` processes."""
    workers = min(workers, len(jobs))
    if workers == 1:
        yield from (evaluate_video(job, rule, cells, output_dir) for job in jobs)
        return
    # spawn: safe whatever threads or devices this process holds.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures: deque[Future[list[ExpressionResult]]] = deque(
            pool.submit(evaluate_video, job, rule, cells, output_dir) for job in jobs
        )
        try:
            while futures:
                yield futures.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def evaluate_video(
    job: Job, rule: Rule, cells: Sequence[Rule], output_dir: Path
) -> list[ExpressionResult]:
    """Refine and score one video; writes its `refined/` and `decisions/` files.

    Without ground truth it is refined only, and the list is empty.
    """
    masklets = {noun: Masklets(tracks) for noun, tracks in job.masklets.items()}
    candidates = {
        e.expression_id: Candidates(
            job.coarse[e.expression_id],
            masklets.get(job.nouns[e.expression_id]) or Masklets([]),
        )
        for e in job.video.expressions
    }
    if job.truths is None:
        _write(job, {key: rule(c) for key, c in candidates.items()}, output_dir)
        return []
    expressions = [
        Expression(
            e.expression_id,
            job.nouns[e.expression_id],
            job.truths[e.annotation_ids],
            candidates[e.expression_id],
        )
        for e in job.video.expressions
    ]
    scored = score_rules(expressions, [KeepCoarse(), rule, *cells])
    rows = list(zip(expressions, scored, strict=True))
    _write(job, {e.expression_id: row[1].refinement for e, row in rows}, output_dir)
    texts = [e.text for e in job.video.expressions]
    return [_result(job.video, text, *row) for text, row in zip(texts, rows, strict=True)]


def _write(job: Job, refinements: dict[str, Refinement], output_dir: Path) -> None:
    """The video's files in `refined/` and `decisions/`."""
    name = job.video.name
    write_json(
        output_dir / "refined" / f"{name}.json.gz", {k: r.track for k, r in refinements.items()}
    )
    write_json(
        output_dir / "decisions" / f"{name}.json",
        {key: _decisions(job.nouns[key], r) for key, r in refinements.items()},
    )


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
    video: Video, text: str, expression: Expression, row: Sequence[Scored]
) -> ExpressionResult:
    coarse, refined, *cells = row
    tiou, viou = temporal_ious(expression.truth, refined.refinement.track, refined.J)
    prefix = f"{video.name}/{expression.expression_id}"
    tracks = [scored.refinement.track for scored in (coarse, *cells)]
    return ExpressionResult(
        video=video.name,
        expression_id=expression.expression_id,
        text=text,
        noun=expression.noun,
        num_frames=len(video.frames),
        J=float(np.mean(refined.J)),
        F=float(np.mean(refined.F)),
        coarse_J=float(np.mean(coarse.J)),
        coarse_F=float(np.mean(coarse.F)),
        frames_kept_coarse=refined.refinement.frames_kept_coarse,
        extra={
            "J_recall": recall(refined.J),
            "J_decay": decay(refined.J),
            "F_recall": recall(refined.F),
            "F_decay": decay(refined.F),
            "tIoU": tiou,
            "vIoU": viou,
        },
        cells=[
            (float(np.mean(s.J)), float(np.mean(s.F)), s.refinement.frames_kept_coarse)
            for s in cells
        ],
        fingerprint=Fingerprint.of(prefix, video.frames, tracks),
    )
