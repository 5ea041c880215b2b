"""Checked inputs -> refined masks and scores, video by video.

`ScoreStage` goes over the videos, each of which writes its own files to the run folder:
`refined/` and `decisions/`, and where there is ground truth `inputs/` and `scores/` (`explorer/`
too, if asked), from which the report is made; and as the last its scores (`results.py`).
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rvos.data import split as data
from rvos.masks import Track, write_json
from rvos.refine import Candidates, ConfidenceRule, Masklets, Refinement, Rule
from rvos.score.ablation import (
    COARSE,
    REFINED,
    Expression,
    Fingerprint,
    Scored,
    score_rules,
)
from rvos.score.explorer import Explorer, VideoExplorer
from rvos.score.inputs import Inputs, VideoInputs
from rvos.score.jumps import jumps_of
from rvos.score.measures import Metric
from rvos.score.protocols import Answer, Expressions, Protocol, by_label
from rvos.score.results import ExpressionResult, RuleScores, VideoFiles, VideoResult
from rvos.score.trivial import EMPTY, LARGEST, WHOLE, largest_masklet, trivial_answers
from rvos.stages.runner import Advance, Stage
from rvos.stages.sharding import cost

MASKS_PER_PROCESS = 1000  # fewer are refined and scored in less time than a process needs to start


def num_workers(workers: int, videos: Sequence[data.Video]) -> int:
    """`score.workers` as a number of processes for these videos, at least 1.

    0 is one per core, but fewer where there is little to do.
    """
    masks = sum(len(video.frames) * len(video.expressions) for video in videos)
    cores = min(len(os.sched_getaffinity(0)), masks // MASKS_PER_PROCESS)
    return max(1, min(workers or cores, len(videos)))


@dataclass(frozen=True)
class Scorer:
    """What is done with every video; travels to the processes of a pool."""

    rules: Mapping[str, Rule]  # by label, COARSE and REFINED among them
    extra: Mapping[str, Metric]  # of the refined masks
    output_dir: Path
    protocol: Protocol | None = None  # None is the plain mean over expressions
    # by label: presence rules whose confidence may be lacking
    optional: Mapping[str, ConfidenceRule] | None = None
    explorer: Explorer | None = None  # the grid that the page shows, if any

    def __call__(self, inputs: VideoInputs) -> None:
        """Refine and score a video and write its files. Raises InputError."""
        lacking = {
            label for label, rule in (self.optional or {}).items() if rule.name in inputs.lacking
        }
        rules = {label: rule for label, rule in self.rules.items() if label not in lacking}
        result = evaluate_video(
            inputs, rules, self.extra, self.output_dir, self.protocol, self.explorer
        )
        result = replace(result, scored_as_empty=inputs.scored_as_empty, lacking=inputs.lacking)
        VideoFiles(self.output_dir).write(inputs.video, inputs.stamp, result)


class ScoreStage(Stage):
    """Refinement and scores of every video, from checked inputs; its files are in a run folder."""

    name = "refinement"
    unit = "expression-frames"
    reads_frames = False

    def __init__(
        self, inputs: Inputs, scorer: Scorer, check: Callable[[VideoInputs], None] | None = None
    ):
        """`check` raises VideoProblems for a video that the rules cannot refine."""
        self.inputs, self.job, self.check = inputs, scorer, check
        self.files = VideoFiles(scorer.output_dir)

    @property
    def folder(self) -> Path:
        return self.files.folder

    def missing(self, video: data.Video) -> bool:
        return not self.files.has(video, self.inputs.stamp(video))

    def cost(self, video: data.Video) -> int:
        return cost(video)

    def read(self, split: data.Split, video: data.Video) -> VideoInputs:
        content = self.inputs.read_video(video)
        if self.check is not None:
            self.check(content)
        return content

    def make(self, video: data.Video, content: VideoInputs, advance: Advance) -> None:
        self.job(content)

    def write(self, video: data.Video, made: None) -> None:
        """The scorer has written the files, in whichever process it ran."""


def evaluate_video(
    inputs: VideoInputs,
    rules: Mapping[str, Rule],
    extra: Mapping[str, Metric],
    output_dir: Path,
    protocol: Protocol | None = None,
    explorer: Explorer | None = None,
) -> VideoResult:
    """Refine one video by rules[REFINED], score all rules, and write the masks and decisions.

    `rules` has the labels COARSE and REFINED beside those of an ablation; `extra` are further
    metrics of the refined masks. Without ground truth the video is refined only, by
    rules[REFINED], and the result is empty. `protocol` None is the plain mean over expressions.
    `explorer` is the grid that the page shows, if any.
    """
    masklets = {key: Masklets(tracks) for key, tracks in inputs.masklets.items()}
    candidates = {
        key: Candidates(
            track,
            masklets.get(inputs.key(key)) or Masklets([]),
            inputs.confidence.get(key),
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
    explored = VideoExplorer(explorer, expressions) if explorer else None
    hashed = rules if rules.keys() > {COARSE, REFINED} else ()  # tables name their masks' hash
    if masklets:
        rules = {**rules, LARGEST: largest_masklet}
    scored = score_rules(expressions, rules, explored.look if explored else None)
    for expression, row in zip(expressions, scored, strict=True):
        for label, (track, J, F) in trivial_answers(expression.truth).items():
            row[label] = Scored(Refinement(track, (), ()), J, F)
    rows = {e.expression_id: row for e, row in zip(expressions, scored, strict=True)}
    _write_refined(inputs, {key: row[REFINED].refinement for key, row in rows.items()}, output_dir)
    _write_for_report(inputs, rows, output_dir)
    if explored:
        targets = {e.expression_id: len(e.annotation_ids) for e in inputs.video.expressions}
        content = explored.content(targets)
        write_json(output_dir / "explorer" / f"{inputs.video.name}.json.gz", content)
    protocol = protocol or Expressions()
    answers = {
        label: {
            e.expression_id: _answer(
                e, inputs.truths[e.expression_id], rows[e.expression_id][label]
            )
            for e in inputs.video.expressions
        }
        for label in (*rules, EMPTY, WHOLE)
    }
    results = [
        _result(inputs, e, rows[e.expression_id], extra, protocol, answers, hashed)
        for e in inputs.video.expressions
    ]
    return VideoResult(results, by_label(protocol, inputs.video, answers, inputs.of_protocol))


def _answer(expression: data.Expression, truth: Track, scored: Scored) -> Answer:
    masks = truth, scored.refinement.track
    return Answer(expression, masks, scored=(scored.J, scored.F))


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
                **({} if w.agreement is None else {"agreement": w.agreement}),
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
    protocol: Protocol,
    answers: Mapping[str, Mapping[str, Answer]],
    hashed: Collection[str],
) -> ExpressionResult:
    assert inputs.truths is not None
    video, key = inputs.video, expression.expression_id
    truth = inputs.truths[key]

    def scores_of(label: str, scored: Scored) -> RuleScores:
        measured = protocol.measured(answers[label][key], inputs.of_protocol)
        return RuleScores.of(scored, dict(measured.more))

    refined = row[REFINED]
    return ExpressionResult(
        video=video.name,
        expression_id=key,
        expression=expression.text,
        noun=inputs.nouns[key],
        num_frames=len(video.frames),
        num_targets=len(expression.annotation_ids),
        type=expression.type,
        scores={label: scores_of(label, scored) for label, scored in row.items()},
        extra={
            label: float(metric(truth, refined.refinement.track, refined.J, refined.F))
            for label, metric in extra.items()
        },
        jumps={
            label: jumps_of(row[label].refinement.track, inputs.objects)
            for label in (COARSE, REFINED)
            if len(expression.annotation_ids) == 1
        },
        fingerprint=Fingerprint.of(
            f"{video.name}/{key}",
            video.frames,
            {label: row[label].refinement.track for label in hashed},
        ),
    )
