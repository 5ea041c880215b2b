"""Sentence -> its nouns' instances -> coarse masks on a CPU, without torch: `coarse=small`.

Each noun phrase is answered by itself: the instances of its noun, of which words of place, size and
motion choose one; the mask is the union. The networks are those of `masklets=small`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rvos.coarse.sentences import Answer, AnswersSentences, choices
from rvos.data.frames import FrameCache
from rvos.data.split import merge_tracks
from rvos.nouns.coco import classes_of
from rvos.nouns.phrases import Ask, Phrase, phrases_of
from rvos.settings import checked
from rvos.tracking.small import DetectAndSegment
from rvos.tracking.small_tracks import BoxTrack, areas, pairs, share_inside

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
class SmallCoarse(DetectAndSegment, AnswersSentences):
    """`coarse=small`: the noun's instances; words of place, size and motion choose among them."""

    name = "small"
    group = "coarse"

    def answers(self, frames: FrameCache, texts: Sequence[str]) -> dict[str, Answer]:
        phrases = {text: phrases_of(text) for text in texts}
        nouns = {phrase.noun for parts in phrases.values() for phrase in parts}
        instances, masks = self.instances(frames, nouns), self.masks_in(frames)
        answers = {}
        for text, parts in phrases.items():
            chosen = choose(parts, instances, frames.size)
            tracks = chosen.instances
            sure = choices([1.0] * len(tracks), [t.scores for t in tracks], len(frames))
            merged = merge_tracks([masks(track) for track in tracks], len(frames))
            answers[text] = Answer(merged, sure, "; ".join(chosen.remarks))
        return answers


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
        candidates = [track for track in instances[phrase.noun] if track not in chosen]
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
        touching = [_touching(track, owner[0]) for track in candidates]
        best = int(np.argmax(touching))
        return Chosen([candidates[best]] if touching[best] >= NEAR else [])
    if phrase.ask is not None:
        values = [asked_value(phrase.ask, track, size) for track in candidates]
        return Chosen([candidates[int(np.argmax(values))]])
    values = [prominence(track) for track in candidates]
    best, *others = sorted(range(len(values)), key=lambda i: -values[i])
    clear = not others or values[others[0]] < CLEAR * values[best]
    return Chosen([candidates[best]], () if clear else (UNCLEAR.format(phrase.noun),))


def prominence(instance: BoxTrack) -> float:
    """How sure, how large and how long visible an instance is."""
    boxes, share = _boxes(instance), np.mean([box is not None for box in instance.boxes])
    return float(instance.score * np.sqrt(np.median(areas(boxes))) * share)


def asked_value(ask: Ask, instance: BoxTrack, size: tuple[int, int]) -> float:
    """How well an instance answers a word of place, size or motion: the most is meant."""
    boxes = _boxes(instance)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2  # (T, 2) x, y
    x, y = np.median(middles, axis=0)
    area = float(np.median(areas(boxes)))
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


def _touching(instance: BoxTrack, owner: BoxTrack) -> float:
    """The mean share of an instance's boxes inside its owner's."""
    return float(np.mean([share_inside(box, other) for box, other in pairs(instance, owner)]))
