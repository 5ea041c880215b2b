"""The plain mean over expressions, as MeViS scores."""

from typing import ClassVar

from rvos.score.protocols.protocol import Protocol


class Expressions(Protocol):
    """`expressions`: the plain mean over expressions (MeViS, tools/eval_mevis.py)."""

    name: ClassVar[str] = "expressions"
    text: ClassVar[str] = "all frames of all expressions or objects; MeViS"
