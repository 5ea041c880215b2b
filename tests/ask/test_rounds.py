"""The rounds and the jury, by hand: replies are chosen, decisions are counted on paper."""

import json
from types import SimpleNamespace

import pytest
import yaml
from made_data import square

from rvos import InputError
from rvos.ask.calls import Reply
from rvos.ask.pictures import frames_of_round
from rvos.ask.prompts import Prompts
from rvos.ask.rounds import Conversation, Jury
from rvos.data.split import Expression
from rvos.settings import CONFIG_DIR

KEPT = [{"start": 0, "stop": 4, "selected": [1]}]
THERE = '{"present": true}'


def gone(reason):
    return json.dumps({"present": False, "reason": reason})


def says(accepted, rejected, uncertain=(), **more):
    lists = {"accepted": accepted, "rejected": rejected, "uncertain": list(uncertain)}
    return json.dumps(lists | more)


class Gallery:
    """Three masklets over four frames; a picture is what is on it."""

    video = SimpleNamespace(frames=tuple("abcd"))
    tracks = [[square(0, 0)] * 4, [square(20, 0)] * 4, [None, square(40, 0), square(40, 0), None]]

    def picture(self, t, numbers):
        return f"{t}: {sorted(numbers)}".encode()

    def enlarged(self, number):
        return 1, f"zoom {number}".encode()


class Empty(Gallery):
    tracks = []


def talk(replies, *, choice="abc", presence="abc", agree=2, rounds=3, frames=2, gallery=None):
    """The outcome where model m's replies are `replies[m]`, in order; and what was asked."""
    queues, asked = {model: list(texts) for model, texts in replies.items()}, []

    def put(request):
        asked.append(request)
        return Reply(queues[request["model"]].pop(0), True, 1, str(len(asked)))

    jury = Jury(tuple(choice), tuple(presence), agree, rounds, frames)
    expression = Expression("v", "0", "the square", ())
    outcome = Conversation(
        expression, gallery or Gallery(), KEPT, jury, Prompts.read("default"), put
    )()
    assert not any(queues.values()), "a reply was not asked for"
    return outcome, asked


def test_absent_needs_consent():
    outcome, asked = talk({"a": [gone("action")], "b": [gone("number")], "c": []})
    assert outcome.decision == {"present": False, "masklets": []} and len(asked) == 2
    everyone = says([0], [1, 2])
    outcome, _ = talk(
        {"a": [gone("action"), everyone], "b": [THERE, everyone], "c": [THERE, everyone]}
    )
    assert outcome.decision == {"present": True, "masklets": [0]}


def test_most_jurors_decide_and_the_others_go_on():
    """0 is taken at once (2 of 3), 1 is left (2 of 3), 2 is open until all but one accept it."""
    outcome, _ = talk(
        {
            "a": [THERE, says([0], [1, 2]), says([2], [])],
            "b": [THERE, says([0], [1], [2]), says([2], [])],
            "c": [says([1, 2], [], [0]), says([], [2])],
        }
    )
    assert outcome.decision == {"present": True, "masklets": [0, 2]}
    numbers = [(e.round, e.numbers) for e in outcome.exchanges if e.kind == "choice"]
    assert numbers == [(1, [0, 1, 2])] * 3 + [(2, [2])] * 3


def test_ties_are_not_taken_in_the_end_and_the_runs_choice_stays():
    tie = {"a": [THERE] + [says([0], [1, 2])] + [says([0], [])] * 2}
    tie["b"] = [says([], [0, 1, 2])] + [says([], [0])] * 2
    outcome, _ = talk(tie, choice="ab", presence="a", agree=1)
    assert outcome.decision == {"present": True, "masklets": [], "windows": KEPT}


def test_uncertain_ones_are_shown_in_other_frames_and_enlarged():
    """Masklet 2 is visible in frames 1 and 2; round 1 showed 1 and 3 (the middles of halves)."""
    outcome, asked = talk(
        {"a": [THERE, says([], [0, 1], [2], zoom=[2]), says([2], [])]},
        choice="a",
        presence="a",
        agree=1,
    )
    assert outcome.decision["masklets"] == [2]
    first, second = (outcome.exchanges[i].pictures for i in (1, 2))
    assert [p["label"] for p in first] == ["frame b", "frame d"]
    assert [p["label"] for p in second] == ["frame c", "candidate 2 enlarged, frame b"]
    pictures = [outcome.files[p["sha256"]] for p in second]
    assert pictures == [b"2: [2]", b"zoom 2"]
    assert [outcome.files[p["sha256"]] for p in outcome.exchanges[0].pictures] == [
        b"1: []",
        b"3: []",
    ]
    assert "candidates: 2." in asked[-1]["messages"][1]["content"][-1]["text"]


def test_a_juror_that_cannot_be_read_is_uncertain():
    """Presence: no voice for absent. Choice: no voice, of three. Each is asked three times."""
    right = says([0], [1, 2])
    outcome, asked = talk({"a": ["?"] * 6, "b": [gone("order"), right], "c": [THERE, right]})
    assert outcome.decision["masklets"] == [0]
    lost = [e for e in outcome.exchanges if e.verdict is None]
    assert [(e.kind, e.model, len(e.calls)) for e in lost] == [
        ("presence", "a", 3),
        ("choice", "a", 3),
    ]
    again = asked[1]["messages"]
    assert [m["role"] for m in again] == ["system", "user", "assistant", "user"]
    assert "no JSON object" in again[3]["content"]


def test_a_model_named_twice_is_two_jurors():
    same = [THERE, THERE, says([0], [1, 2]), says([0], [1, 2])]
    _, asked = talk({"a": same}, choice="aa", presence="aa", agree=1)
    assert [request["seed"] for request in asked] == [0, 1, 0, 1]


def test_without_masklets_nothing_is_chosen():
    outcome, asked = talk({"a": [THERE]}, presence="a", choice="a", agree=1, gallery=Empty())
    assert outcome.decision == {"present": True, "masklets": [], "windows": KEPT}
    assert len(asked) == 1


def test_frames_of_later_rounds():
    track = [None] * 10 + [square(0, 0)] * 6 + [None] * 4
    assert frames_of_round([track], 20, 4) == [2, 7, 12, 17]
    assert frames_of_round([track], 20, 4, shown=[2, 7, 12, 17]) == [10, 11, 14, 15]
    assert frames_of_round([track], 20, 2, shown=range(20)) == [11, 14]
    assert frames_of_round([[None] * 20], 20, 2, shown=[5]) == frames_of_round([], 20, 2, shown=[5])


def test_wrong_settings(tmp_path):
    with pytest.raises(InputError, match="agree: expected at most 1, the jurors, got 2"):
        Jury(("a",), ("a",), 2, 3, 16)
    with pytest.raises(InputError, match="no such file of prompts"):
        Prompts.read("no_such")
    texts = yaml.safe_load((CONFIG_DIR / "ask" / "default.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(texts), encoding="utf-16")
    assert Prompts.read(str(path)).texts == Prompts.read("default").texts
    path.write_bytes(b"system: caf\xe9")
    with pytest.raises(InputError, match=r"mine\.yaml: .*Save it as UTF-8"):
        Prompts.read(str(path))
    path.write_text(yaml.safe_dump(texts | {"choice": "Which of $number?", "version": 0}))
    with pytest.raises(InputError, match="mine.yaml: .*version: expected a whole number >= 1"):
        Prompts.read(str(path))
    path.write_text(yaml.safe_dump(texts | {"choice": "Which of $number?"}))
    with pytest.raises(InputError, match=r"choice: expected a text with .*got \['number'\]"):
        Prompts.read(str(path))
