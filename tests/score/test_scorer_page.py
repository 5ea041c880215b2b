"""The programs of docs/scorer.md, one after the other, as written."""

import re
from textwrap import dedent

import pytest
from made_data import REPOSITORY

BLOCKS = re.findall(
    r"(?m)(?:^ {4}(?:import|from) .*\n(?:(?: {4}.*)?\n)+)",
    (REPOSITORY / "docs/scorer.md").read_text(),
)


def test_the_programs_of_the_page(capsys):
    pytest.importorskip("torch")
    assert len(BLOCKS) == 4
    space: dict = {}
    for block in BLOCKS:
        exec(dedent(block), space)
    # Of the box of 40 x 60 pixels, moved by 5 columns, 55 are shared and 65 are in either.
    assert (space["db_eval_iou"](space["truth"], space["prediction"]) == 55 / 65).all()
    assert space["metric"].compute()["J"].item() == pytest.approx(55 / 65)
    assert capsys.readouterr().out.count("0.846") == 2  # both objects move by 5 of 60 columns
