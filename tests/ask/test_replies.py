"""Replies of models: what is read, what is not, and damaged ones (2,000, or a tenth of them)."""

import json
import os
import random
from collections import Counter

import pytest

from rvos.ask.replies import Choice, Misfit, Presence, read_choice, read_presence

REASONS = ("category", "number", "attribute", "action", "order")
YES, NO = '{"present": true}', '{"present": false, "reason": "action"}'
CHOICE = '{"accepted": [0], "rejected": [2], "uncertain": [1]}'


def presence(text, whole=True):
    return read_presence(text, whole=whole, reasons=REASONS)


def choice(text, whole=True):
    return read_choice(text, whole=whole, asked=[0, 1, 2])


@pytest.mark.parametrize("around", ["{}", "Sure!\n```json\n{}\n```", "Oui, voici {}.", "いいえ {}"])
def test_text_around_the_json_does_not_matter(around):
    assert presence(around.replace("{}", YES)) == Presence(True)
    assert presence(around.replace("{}", NO)) == Presence(False, "action")
    expected = Choice(*(frozenset({i}) for i in (0, 2, 1)))
    assert choice(around.replace("{}", CHOICE)) == expected
    assert choice("<think>maybe " + CHOICE.replace("[0]", "[]") + "</think>" + CHOICE) == expected


def test_only_uncertain_ones_are_enlarged():
    assert choice(CHOICE[:-1] + ', "zoom": [0, 1, 9]}').zoom == {1}


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no JSON object"),
        ("Yes, it is there.", "no JSON object"),
        ('{"present": "yes"}', "present: Input should be a valid boolean"),
        ('{"present": 1}', "present"),
        ('{"présent": true}', "present: Field required"),
        ('{"present": false}', '"reason" is none of category, number'),
        ('{"present": false, "reason": "it is not there"}', '"reason" is none of'),
        ('{"present": true, "present": false, "reason": "action"}', "no JSON object"),
        (f"{YES} or rather {NO}", "several different answers"),
        ("{" * 5000 + '{"a":' * 5000, "no JSON object"),
        (" " * 100_001, "more than 100000 characters"),
    ],
)
def test_unreadable_presence(text, message):
    with pytest.raises(Misfit, match=message):
        presence(text)


@pytest.mark.parametrize(
    "text",
    [
        CHOICE.replace("[1]", "[]"),  # one is missing
        CHOICE.replace("[1]", "[1, 2]"),  # one twice
        CHOICE.replace("[1]", "[1, 3]"),  # an unknown one
        CHOICE.replace("[1]", '["1"]'),
        CHOICE.replace("[1]", "[1.0]"),
        CHOICE.replace("[1]", "[true]"),
        CHOICE.replace("[1]", "1"),
        CHOICE.replace("[1]", "null"),
    ],
)
def test_unreadable_choices(text):
    with pytest.raises(Misfit):
        choice(text)


def test_a_reply_that_was_cut_off_is_not_read():
    with pytest.raises(Misfit, match="cut off"):
        presence(YES, whole=False)


def damaged(draw, text):
    """A reply with one or more faults, whatever they make of it."""
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(text) + 1)
        text = draw.choice(
            [
                text[:at],
                text[at:],
                text[:at] + draw.choice('{}[]",:\\0123456789-\u202eé漢\x00 ') + text[at:],
                text[:at] + text[at + 1 :],
                text + text[:at],
                f"The answer is {text}, I think.",
                text.replace(" ", draw.choice(["", "\n", "\u00a0", "\t"])),
                text.replace("true", draw.choice(["false", "True", "null", "1"])),
                text.replace("1", draw.choice(["2", "3", "-1", "1e400", "NaN", "9" * 5000])),
                text.replace("accepted", draw.choice(["rejected", "accept", "aceptados"])),
                text[::-1],
            ]
        )
    return text


def test_damaged_replies_are_read_right_or_not_at_all():
    """What is read is what a JSON parser finds in the text, and judges each number once."""
    draw, read = random.Random(7), Counter()
    for _ in range(2000 if "RVOS_FUZZ" in os.environ else 200):
        text = damaged(draw, draw.choice([YES, NO, CHOICE]))
        for reader in (presence, choice):
            try:
                verdict = reader(text)
            except Misfit as error:
                assert str(error)
                read["listed"] += 1
                continue
            read[reader.__name__] += 1
            if isinstance(verdict, Choice):
                lists = [*verdict.accepted, *verdict.rejected, *verdict.uncertain]
                assert sorted(lists) == [0, 1, 2]
                said = {"accepted": verdict.accepted, "rejected": verdict.rejected}
            else:
                assert verdict.present or verdict.reason in REASONS
                said = {"present": verdict.present}
            start, end = text.index("{"), text.rindex("}") + 1
            parts = [text[i:j] for i in range(start, end) for j in range(i + 1, end + 1)]
            values = [value for part in parts if (value := loaded(part)) is not None]
            assert any(
                all(as_set(value.get(key)) == as_set(want) for key, want in said.items())
                for value in values
            ), text
    assert min(read[kind] for kind in ("listed", "presence", "choice")) > 0


def loaded(text):
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def as_set(value):
    return value if isinstance(value, bool) or value is None else set(value)
