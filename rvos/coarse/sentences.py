"""Sentences -> coarse masks, by a source that answers whole sentences; stores as those of MUTR."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rvos.coarse.stage import CoarseMasks
from rvos.data.frames import FrameCache, Frames
from rvos.data.split import Video
from rvos.masks import Track, TrackFiles
from rvos.nouns.finder import NounFinder
from rvos.stages.devices import Place
from rvos.stages.runner import Advance, run_stage
from rvos.stages.store import Store
from rvos.stages.work import CoarseFiles, Work
from rvos.weights.provenance import digests


@dataclass(frozen=True)
class Answer:
    """The masks of a sentence, and how sure the networks were."""

    track: Track
    choices: list[dict[str, Any]]  # one per frame, see `choices`
    remark: str = ""  # what a user should know of it
    subject: str | None = None  # the noun that a source looked for


class AnswersSentences(ABC):
    """A source of coarse masks that answers the sentences of a video together."""

    name: ClassVar[str]  # in the settings of its stores

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides the masks, besides the weights."""

    @abstractmethod
    def weights_used(self) -> dict[str, str]:
        """{config key: path, or name on the hub} of the weights."""

    @abstractmethod
    def prepare(self, place: Place) -> None:
        """Load the networks. Called once in every process that has something to do."""

    @abstractmethod
    def answers(self, frames: FrameCache, texts: Sequence[str]) -> dict[str, Answer]:
        """The answer to each of the sentences, which are all different."""

    def check(self, work: Work) -> None:
        """Raises InputError without weights, or without the dictionary of the noun rules."""
        digests(self.weights_used())
        subjects_of(["the dog"])

    def tracks(self, work: Work) -> CoarseFiles:
        """The files of the split's coarse masks, made where they are missing."""
        store = work.store("coarse", {"name": self.name, **self.settings()}, self.weights_used())
        failed = run_stage(SentenceStage(self, store), work.split, work.devices)
        return CoarseFiles(TrackFiles(store.path), failed)


class SentenceStage(CoarseMasks):
    """The masks of all expressions of a video; equal sentences share their work."""

    remarks_title = "expressions without an answer, or with an uncertain one"

    def __init__(self, source: AnswersSentences, store: Store):
        super().__init__(store)
        self.source = source

    def prepare(self, place: Place) -> None:
        self.source.prepare(place)

    def open(self, frames: Frames) -> FrameCache:
        return FrameCache(frames).fill()

    def make(self, video: Video, content: FrameCache, advance: Advance) -> dict[str, Answer]:
        texts = list(dict.fromkeys(e.text for e in video.expressions))
        answers = self.source.answers(content, texts) if texts else {}
        made = {e.expression_id: answers[e.text] for e in video.expressions}
        self.remarks += [
            f"video {video.name}, expression {key}: {answer.remark}"
            for key, answer in made.items()
            if answer.remark
        ]
        return made

    def write(self, video: Video, made: dict[str, Answer]) -> None:
        scores = {
            key: {"clips": answer.choices} | ({"remark": answer.remark} if answer.remark else {})
            for key, answer in made.items()
        }
        subjects = {key: answer.subject for key, answer in made.items()}
        tracks = {key: answer.track for key, answer in made.items()}
        self.keep(video, tracks, scores, subjects=subjects)


def subjects_of(texts: Sequence[str]) -> dict[str, str | None]:
    """The head noun of every sentence as written, None where it has none; by the noun rules."""
    nouns = NounFinder("rules", "object").find(texts)
    return {text: noun.text if noun else None for text, noun in zip(texts, nouns, strict=True)}


def choices(
    detector: Sequence[float], objects: Sequence[Sequence[float]], num_frames: int
) -> list[dict[str, Any]]:
    """How sure the networks are of each frame, as `coarse_scores` keeps it for a query's clip.

    `detector` is (O,), `objects` (O, T). A frame is a clip of its own and an object a query; its
    score is the detector's times that of the object being visible. Without objects it is 0.
    """
    scores = np.reshape(objects, (len(detector), num_frames)) * np.reshape(detector, (-1, 1))
    scores = scores if len(scores) else np.zeros((1, num_frames))  # (O, T)
    return [
        {
            "start": t,
            "step": 1,
            "frames": 1,
            "scores": [round(score, 6) for score in in_frame.tolist()],
            "query": int(in_frame.argmax()),
        }
        for t, in_frame in enumerate(scores.T)
    ]
