"""The table from nouns to COCO's classes, and what phrases say."""

import pytest

from rvos.nouns.coco import CLASSES, classes_of
from rvos.nouns.phrases import phrases_of


def names(noun):
    return [CLASSES[i] for i in classes_of(noun)]


def test_the_classes_are_cocos_80_in_order():
    assert (len(CLASSES), len(set(CLASSES))) == (80, 80)
    # category ids of instances_val2017.json, ranked: 1 person, 17 cat, 44 bottle, 90 toothbrush
    assert [CLASSES.index(c) for c in ("person", "cat", "bottle", "toothbrush")] == [0, 15, 39, 79]
    assert all(names(name) for name in CLASSES)
    assert classes_of("dog") == (16,)


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("swan", ["bird"]),
        ("bike", ["bicycle"]),
        ("woman", ["person"]),
        ("rider", ["person"]),  # rid(e)-er
        ("runner", ["person"]),  # run(n)-er
        ("fireman", ["person"]),
        ("roller", []),  # no person, although one may roll
        ("bmx-rider", ["person"]),
        ("fox", ["cat", "dog", "bear"]),
        ("camel", ["horse", "sheep", "cow", "elephant", "zebra", "giraffe"]),
        ("racket", ["tennis racket"]),
        ("fish", []),
        ("fence", []),
    ],
)
def test_synonyms_near_classes_and_nouns_outside(noun, expected):
    assert names(noun) == expected


def test_a_word_for_anything_is_every_class():
    assert classes_of("object") == tuple(range(80))
    assert names("animal") == sorted(names("animal"), key=CLASSES.index)
    assert "person" not in names("animal")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the dog on the left", [("dog", False, False, "left")]),
        ("the man walking to the left", [("man", False, False, "moves_left")]),
        ("car moving from left to right", [("car", False, False, "moves_right")]),
        ("two dogs playing", [("dog", True, False, None)]),
        ("both cats", [("cat", True, False, None)]),
        ("the biggest elephant", [("elephant", False, False, "large")]),
        ("the bird that is not moving", [("bird", False, False, "still")]),
        ("jumping to the left", [("", False, False, "moves_left")]),
        (
            "the horse and its rider jumping over a fence",
            [("horse", False, False, None), ("rider", False, True, None)],
        ),
        (
            "the man together with the dog on the right",
            [("man", False, False, None), ("dog", False, False, "right")],
        ),
        ("the black and white cat", [("cat", False, False, None)]),
    ],
)
def test_what_phrases_say(text, expected):
    assert [(p.noun, p.plural, p.belongs, p.ask) for p in phrases_of(text)] == expected
