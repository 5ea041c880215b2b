"""Which instance a sentence means: boxes worked out by hand, in a frame of 200 x 100 pixels."""

import numpy as np
import pytest

from rvos.coarse.small import choose
from rvos.nouns.phrases import phrases_of
from rvos.tracking.small_tracks import BoxTrack

SIZE = (100, 200)


def instance(*lefts, y=40, side=20, score=0.8):
    boxes = [None if x is None else np.float32([x, y, x + side, y + side]) for x in lefts]
    return BoxTrack(boxes, [0.0 if box is None else score for box in boxes])


STILL = instance(150, 150, 150)
RUNS_LEFT = instance(100, 80, 60)
RUNS_RIGHT = instance(10, 30, 50)
LARGE = instance(60, 60, 60, y=10, side=70)
DOGS = [STILL, RUNS_LEFT, RUNS_RIGHT, LARGE]


def chosen(text, dogs=DOGS, **others):
    instances = {phrase.noun: [] for phrase in phrases_of(text)} | {"dog": dogs} | others
    answer = choose(phrases_of(text), instances, SIZE)
    return answer.instances, not answer.remarks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the dog on the right", STILL),
        ("the leftmost dog", RUNS_RIGHT),
        ("the dog running left", RUNS_LEFT),
        ("the dog running to the right", RUNS_RIGHT),
        ("the biggest dog", LARGE),
        ("the dog in the foreground", LARGE),
        ("the middle dog", RUNS_LEFT),
        ("the dog standing still", STILL),
    ],
)
def test_words_of_place_size_and_motion_choose(text, expected):
    assert chosen(text) == ([expected], True)


def test_without_such_a_word_the_most_prominent_is_taken_and_it_is_said():
    assert chosen("the brown dog") == ([LARGE], True)  # sqrt of its area is 3.5 times the others'
    assert chosen("the brown dog", DOGS[:3]) == ([STILL], False)
    assert chosen("the brown dog", [STILL]) == ([STILL], True)
    assert choose(phrases_of("the dog"), {"dog": DOGS[:3]}, SIZE).remarks == (
        'there are several instances of "dog", and no word of place, size or motion tells them '
        "apart: the most prominent one was taken",
    )


def test_short_and_unsure_instances_are_less_prominent():
    short, unsure = instance(10, None, None), instance(30, 30, 30, score=0.3)
    assert chosen("the dog", [short, unsure, STILL]) == ([STILL], True)


def test_plurals_are_all_and_two_phrases_are_a_union():
    assert chosen("the dogs") == (DOGS, True)
    cat = instance(5, 5, 5)
    assert chosen("the dog on the right and the cat", cat=[cat]) == ([STILL, cat], True)
    both = chosen("the dog on the right and the dog on the left")
    assert both == ([STILL, RUNS_RIGHT], True)


def test_what_belongs_to_an_instance_touches_it():
    rider, spectator = instance(160, 160, 160, y=30), instance(20, 20, 20, score=0.9)
    text = "the dog on the right and its rider"
    assert chosen(text, rider=[spectator, rider]) == ([STILL, rider], True)
    assert chosen(text, rider=[spectator]) == ([STILL], True)  # half of no box lies in the dog's


def test_an_empty_answer_says_why():
    none, outside = (
        choose(phrases_of(t), {n: []}, SIZE) for t, n in (("the dog", "dog"), ("the fish", "fish"))
    )
    assert none.remarks == ('no instance of "dog" was found',)
    assert outside.remarks[0].startswith('"fish" is no class of COCO')
