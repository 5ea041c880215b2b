"""How entry points start."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rvos.app.entry import quote_sentence

SENTENCES = [
    "the cat walking left",
    "the dog, the one that jumps",
    "the man's hat (the red one)",
    'a = b: "quoted"',
    "'already quoted'",
    "der Hund läuft über die Straße",
    "向左走的猫",
    "costs ${oc.env:HOME} or $5",
    "ends in a backslash \\",
    "costs ${5",
    "x \\${y} z",
    "x \\\\${y}",
    "null",
    "3",
    "[a, b]",
    "{a: b}",
    "",
]


def as_hydra_reads_it(argument):
    value = OverridesParser.create().parse_override(argument).value()
    return OmegaConf.create({"value": value}).value


@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentences_arrive_as_typed(sentence):
    argument = quote_sentence(f"expression={sentence}", ["expression"])
    assert as_hydra_reads_it(argument) == sentence


@given(st.text(st.characters(exclude_categories=["C"]), max_size=20))
def test_any_text_arrives_as_typed(sentence):
    argument = quote_sentence(f"expression={sentence}", ["expression"])
    assert as_hydra_reads_it(argument) == sentence


def test_other_arguments_are_left_alone():
    for argument in ("video=my, video.mp4", "-m", "expressions=file.txt", "expression"):
        assert quote_sentence(argument, ["expression"]) == argument
