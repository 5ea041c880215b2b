"""Sentences -> coarse masks without fine-tuning, by Grounding DINO and SAM 2: `coarse=grounded`.

The whole sentence is the detector's prompt. A box counts if its phrase names the sentence's
subject, the head noun; all such boxes are tracked, and their union is the mask (Ren et al.,
Grounded SAM, 2024). The stores are those of MUTR's masks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rvos.data.frames import Frame, FrameCache, Frames
from rvos.data.split import Expression, Split, Video, merge_tracks
from rvos.masks import Track, TrackFiles
from rvos.nouns.finder import NounFinder
from rvos.settings import checked
from rvos.stages.devices import Place
from rvos.stages.runner import Advance, Stage, run_stage
from rvos.stages.store import Store
from rvos.stages.work import CoarseFiles, Work
from rvos.tracking.detect_and_track import DetectAndTrack, Detection
from rvos.weights.provenance import digests, digests_formerly, origins

if TYPE_CHECKING:
    from rvos.tracking.detect import Boxes, Detector


class Grounding(Detection):
    """`coarse.detect.*`: where and how Grounding DINO looks for the sentence."""


@checked(frozen=False, kw_only=True)
class Grounded(DetectAndTrack):
    """`coarse=grounded`: Grounding DINO's boxes of the sentence's subject, tracked by SAM 2."""

    group = "coarse"

    def check(self, work: Work) -> None:
        """Raises InputError without weights, or without the dictionary of the noun rules."""
        digests(self.weights_used())
        subjects_of(work.split)

    def tracks(self, work: Work) -> CoarseFiles:
        """The files of the split's coarse masks, made where they are missing."""
        store = work.stores.open(
            "coarse",
            work.split,
            settings={"name": "grounded", "subject": "rules", **self.settings()},
            checkpoint_sha256=digests(self.weights_used()),
            origins=origins(self.weights_used()),
            formerly={"checkpoint_sha256": digests_formerly(self.weights_used())},
        )
        stage = GroundedStage(self, store, subjects_of(work.split))
        failed = run_stage(stage, work.split, work.devices)
        return CoarseFiles(TrackFiles(store.path), failed)

    def found(
        self, frames: FrameCache, subjects: Mapping[str, str | None]
    ) -> dict[str, tuple[Track, list[dict[str, Any]]]]:
        """{sentence: (mask per frame, choice per frame)}; `subjects` is {sentence: subject}."""
        from rvos.tracking.instances import masklets_of

        tracks, scores = masklets_of(
            frames,
            list(subjects),
            SubjectDetector(self._detector, subjects),
            self._tracker,
            prompts=self.detect.prompt_frames(len(frames)),
            covered_iou=self.detect.covered_iou,
            objects_at_once=self.objects_at_once,
        )
        return {
            text: (
                merge_tracks(of_text, len(frames)),
                choices(scores[text]["detector"], scores[text]["object"], len(frames)),
            )
            for text, of_text in tracks.items()
        }


class AnswersSentences(Protocol):
    """What a `GroundedStage` asks for the masks of sentences; see `Grounded`."""

    def prepare(self, place: Place) -> None: ...

    def open(self, frames: Frames) -> FrameCache: ...

    def found(
        self, frames: FrameCache, subjects: Mapping[str, str | None]
    ) -> dict[str, tuple[Track, list[dict[str, Any]]]]: ...


@dataclass(frozen=True)
class SubjectDetector:
    """A detector that is asked for sentences and keeps the boxes of their subjects."""

    detector: "Detector"
    subjects: Mapping[str, str | None]  # by sentence; None: it has none, and any box counts

    def detect(self, frames: Sequence[Frame], nouns: Sequence[str]) -> "list[Boxes]":
        """One result per pair of a frame and a sentence."""
        return self.detector.detect(frames, nouns, [self.subjects[text] for text in nouns])


def subjects_of(split: Split) -> dict[str, str | None]:
    """The head noun of every sentence as written, None where it has none; by the noun rules."""
    texts = list(dict.fromkeys(e.text for video in split.videos for e in video.expressions))
    nouns = NounFinder("rules", "object").find(texts)
    return {text: noun.text if noun else None for text, noun in zip(texts, nouns, strict=True)}


def choices(
    detector: Sequence[float], objects: Sequence[Sequence[float]], num_frames: int
) -> list[dict[str, Any]]:
    """How sure the networks are of each frame, as `coarse_scores` keeps it for a query's clip.

    `detector` is (O,), `objects` (O, T). A frame is a clip of its own and an object a query; its
    score is the detector's times SAM 2's that the object is visible. Without objects it is 0.
    """
    scores = np.reshape(objects, (len(detector), num_frames)) * np.reshape(detector, (-1, 1))
    scores = scores if len(scores) else np.zeros((1, num_frames))  # (O, T)
    return [
        {
            "start": t,
            "step": 1,
            "frames": 1,
            "scores": [round(score, 6) for score in of_frame.tolist()],
            "query": int(of_frame.argmax()),
        }
        for t, of_frame in enumerate(scores.T)
    ]


class GroundedStage(Stage):
    """The masks of all expressions of a video; equal sentences share their work."""

    name = "coarse masks"
    remarks_title = "expressions whose subject was found nowhere; their masks are empty"

    def __init__(self, source: AnswersSentences, store: Store, subjects: Mapping[str, str | None]):
        self.source, self.subjects = source, subjects
        self.store, self.scores = store, store.beside("coarse_scores")
        self._empty: list[str] = []

    def missing(self, video: Video) -> bool:
        return not (self.store.has(video.name) and self.scores.has(video.name))

    def problems(self, video: Video) -> list[str]:
        return [
            f"video {video.name}, expression {expression.expression_id}: the text is empty"
            for expression in video.expressions
            if not expression.text.strip()
        ]

    def prepare(self, place: Place) -> None:
        self.source.prepare(place)

    def open(self, frames: Frames) -> FrameCache:
        return self.source.open(frames)

    def make(
        self, video: Video, content: FrameCache, advance: Advance
    ) -> dict[str, tuple[Track, list[dict[str, Any]]]]:
        of_text = self.source.found(
            content, {e.text: self.subjects[e.text] for e in video.expressions}
        )
        made = {e.expression_id: of_text[e.text] for e in video.expressions}
        self._empty += [
            f"video {video.name}, expression {key}"
            for key, (track, _) in made.items()
            if not any(track)
        ]
        return made

    def write(self, video: Video, made: dict[str, tuple[Track, list[dict[str, Any]]]]) -> None:
        provenance = self.store.provenance
        protocol = {
            **provenance["settings"],
            "checkpoint_sha256": provenance["checkpoint_sha256"],
            "subjects": {e.expression_id: self.subjects[e.text] for e in video.expressions},
        }
        scores = {
            e.expression_id: self.of_expression(e, made[e.expression_id][1])
            for e in video.expressions
        }
        self.scores.write(video.name, {"protocol": protocol, "expressions": scores})
        self.store.write(video.name, {key: track for key, (track, _) in made.items()})

    def of_expression(self, expression: Expression, clips: list[dict[str, Any]]) -> dict[str, Any]:
        """What `coarse_scores` keeps of an expression."""
        return {"clips": clips}

    def remarks(self) -> list[str]:
        return self._empty
