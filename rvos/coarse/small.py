"""Sentence -> its nouns' instances -> coarse masks on a CPU, without torch: `coarse=small`.

Each noun phrase is answered by itself: the instances of its noun, of which words of place, size and
motion choose one; the mask is the union. The networks are those of `masklets=small`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rvos.coarse.grounded import GroundedStage, choices
from rvos.data.frames import FrameCache, Frames
from rvos.data.split import Expression, Video, merge_tracks
from rvos.masks import Track, TrackFiles
from rvos.nouns.coco import CLASSES, classes_of
from rvos.nouns.phrases import Ask, Phrase, phrases_of
from rvos.settings import checked
from rvos.stages.devices import Place
from rvos.stages.runner import Advance, run_stage
from rvos.stages.store import Store
from rvos.stages.work import CoarseFiles, Work
from rvos.tracking.small import DetectAndSegment
from rvos.tracking.small_tracks import BoxTrack
from rvos.weights.provenance import digests, origins

# {sentence or expression_id: (mask per frame, choice per frame)}
Answers = dict[str, tuple[Track, list[dict[str, Any]]]]
CLEAR = 0.5  # the second instance must be less prominent than this share of the first
UNCLEAR = (
    'there are several instances of "{}", and no word of place, size or motion tells them apart: '
    "the most prominent one was taken"
)
NO_CLASS = (
    '"{}" is no class of COCO, and coarse=small finds nothing else: the answer has no mask of it '
    "(coarse.unknown_noun=any looks for all classes)"
)
NEAR = 0.1  # of an instance's box inside that of its owner, on the mean over frames


@checked(frozen=False, kw_only=True)
class SmallCoarse(DetectAndSegment):
    """`coarse=small`: the noun's instances; words of place, size and motion choose among them."""

    unknown_noun: Literal["none", "any"]

    uses_gpu: ClassVar[bool] = False
    may_have_scores: ClassVar[bool] = True

    def check(self, work: Work) -> None:
        """Raises InputError without weights, or without the dictionary of the noun rules."""
        digests(self.network_files("coarse"))
        phrases_of("the dog")

    def tracks(self, work: Work) -> CoarseFiles:
        """The files of the split's coarse masks, made where they are missing."""
        used = self.network_files("coarse")
        store = work.stores.open(
            "coarse",
            work.split,
            settings={"name": "small", **self.settings(), "unknown_noun": self.unknown_noun},
            checkpoint_sha256=digests(used),
            origins=origins(used),
        )
        texts = {e.text for video in work.split.videos for e in video.expressions}
        stage = SmallStage(self, store, dict.fromkeys(texts))
        return CoarseFiles(TrackFiles(store.path), run_stage(stage, work.split, work.devices))

    def prepare(self, place: Place) -> None:
        """Read the networks."""
        self.load("coarse")

    def open(self, frames: Frames) -> FrameCache:
        """The frames, decoded once."""
        return FrameCache(frames).fill()

    def found(self, frames: FrameCache, subjects: Mapping[str, str | None]) -> Answers:
        """{sentence: (mask per frame, choice per frame)}; `subjects` has the sentences as keys."""
        phrases = {text: phrases_of(text) for text in subjects}
        nouns = {phrase.noun for of_text in phrases.values() for phrase in of_text}
        instances = self.instances(frames, {noun: self.classes(noun) for noun in nouns})
        drawn: dict[int, Track] = {}
        self.remarks: dict[str, str] = {}  # of the sentences of this video
        answers = {}
        for text, of_text in phrases.items():
            chosen = choose(of_text, instances, frames.size)
            if chosen.remarks:
                self.remarks[text] = "; ".join(chosen.remarks)
            for one in chosen.instances:
                if id(one) not in drawn:
                    drawn[id(one)] = self.mask_track(frames, one)
            answers[text] = (
                merge_tracks([drawn[id(one)] for one in chosen.instances], len(frames)),
                choices(
                    [1.0] * len(chosen.instances),
                    [one.scores for one in chosen.instances],
                    len(frames),
                ),
            )
        return answers

    def classes(self, noun: str) -> tuple[int, ...]:
        """Positions of COCO's classes that the noun may be; a sentence without noun: all."""
        every = tuple(range(len(CLASSES)))
        if not noun:
            return every
        return classes_of(noun) or (every if self.unknown_noun == "any" else ())


class SmallStage(GroundedStage):
    """The masks of all sentences of a video, with a remark where they are not certain."""

    remarks_title = "expressions that coarse=small could not answer, or not with certainty"

    def __init__(self, source: SmallCoarse, store: Store, subjects: Mapping[str, str | None]):
        super().__init__(source, store, subjects)
        self.small = source

    def make(self, video: Video, content: FrameCache, advance: Advance) -> Answers:
        made = super().make(video, content, advance)
        self._empty = [
            f"video {video.name}, expression {e.expression_id}: {self.small.remarks[e.text]}"
            for e in video.expressions
            if e.text in self.small.remarks
        ]
        return made

    def of_expression(self, expression: Expression, clips: list[dict[str, Any]]) -> dict[str, Any]:
        remark = self.small.remarks.get(expression.text)
        return super().of_expression(expression, clips) | ({"remark": remark} if remark else {})


# ----------------------------------------------------------------------------- which instance


@dataclass(frozen=True)
class Chosen:
    """The instances that a sentence means, and what is to be said where that is not certain."""

    instances: list[BoxTrack]
    remarks: tuple[str, ...] = ()


def choose(
    phrases: Sequence[Phrase], instances: Mapping[str, Sequence[BoxTrack]], size: tuple[int, int]
) -> Chosen:
    """The instances of all phrases of a sentence; `size` is (H, W) of the frames."""
    chosen: list[BoxTrack] = []
    remarks: tuple[str, ...] = ()
    for phrase in phrases:
        candidates = [one for one in instances[phrase.noun] if one not in chosen]
        answer = choose_one(phrase, candidates, chosen[-1:] if phrase.belongs else [], size)
        chosen += answer.instances
        remarks += answer.remarks
    return Chosen(chosen, remarks)


def choose_one(
    phrase: Phrase,
    candidates: Sequence[BoxTrack],
    owner: Sequence[BoxTrack],
    size: tuple[int, int],
) -> Chosen:
    """The instances of one phrase; what belongs to an owner is the one that touches it most."""
    if not candidates and phrase.noun and not classes_of(phrase.noun):
        return Chosen([], (NO_CLASS.format(phrase.noun),))
    if not candidates:
        return Chosen([], (f'no instance of "{phrase.noun or "anything"}" was found',))
    if phrase.plural:
        return Chosen(list(candidates))
    if owner:
        touching = [_touching(one, owner[0]) for one in candidates]
        best = int(np.argmax(touching))
        return Chosen([candidates[best]] if touching[best] >= NEAR else [])
    if phrase.ask is not None:
        values = [asked_value(phrase.ask, one, size) for one in candidates]
        return Chosen([candidates[int(np.argmax(values))]])
    values = [prominence(one) for one in candidates]
    best, *others = sorted(range(len(values)), key=lambda i: -values[i])
    clear = not others or values[others[0]] < CLEAR * values[best]
    return Chosen([candidates[best]], () if clear else (UNCLEAR.format(phrase.noun),))


def prominence(instance: BoxTrack) -> float:
    """How sure, how large and how long visible an instance is."""
    boxes, share = _boxes(instance), np.mean([box is not None for box in instance.boxes])
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(0)
    return float(instance.score * np.sqrt(np.median(sides.prod(1))) * share)


def asked_value(ask: Ask, instance: BoxTrack, size: tuple[int, int]) -> float:
    """How well an instance answers a word of place, size or motion: the most is meant."""
    boxes = _boxes(instance)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2  # (T, 2) x, y
    x, y = np.median(middles, axis=0)
    area = float(np.median((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)))
    dx, dy = middles[-1] - middles[0]
    way = float(np.linalg.norm(np.diff(middles, axis=0), axis=1).sum() / len(boxes))
    height, width = size
    values: dict[Ask, float] = {
        "left": -x,
        "right": x,
        "top": -y,
        "bottom": y,
        "middle": -float(np.hypot((x - width / 2) / width, (y - height / 2) / height)),
        "large": area,
        "small": -area,
        "front": float(np.median(boxes[:, 3])) / height + area / (width * height),
        "back": -float(np.median(boxes[:, 3])) / height - area / (width * height),
        "moves_left": -dx,
        "moves_right": dx,
        "moves_up": -dy,
        "moves_down": dy,
        "moves": way,
        "still": -way,
    }
    return values[ask]


def _boxes(instance: BoxTrack) -> NDArray[np.float32]:
    """(T', 4) xyxy of the frames that have a box."""
    return np.stack([box for box in instance.boxes if box is not None])


def _touching(one: BoxTrack, owner: BoxTrack) -> float:
    """The mean share of a box inside its owner's, over the frames that have the one."""
    shares = []
    for box, other in zip(one.boxes, owner.boxes, strict=True):
        if box is None:
            continue
        if other is None:
            shares.append(0.0)
            continue
        low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
        own = max(float((box[2:] - box[:2]).prod()), 1.0)
        shares.append(float((high - low).clip(0).prod()) / own)
    return float(np.mean(shares))
