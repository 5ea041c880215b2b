"""Several protocols of one set in one pass over its videos."""

from collections.abc import Mapping, Sequence
from typing import Any

from rvos.data.split import Split, Truth, Video
from rvos.errors import InputError
from rvos.score.protocols.protocol import Answer, Measured, Protocol, UnitScores


class Several(Protocol):
    """The first says the score; the means of the others stand beside it under their names."""

    def __init__(self, protocols: Sequence[Protocol]):
        """Raises InputError where one stands there twice."""
        names = [protocol.name for protocol in protocols]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"score.protocol: stands there twice: {', '.join(twice)}")
        self.protocols = protocols
        self.name, self.groups = protocols[0].name, protocols[0].groups

    def check(self, split: Split, truth: Truth) -> None:
        for protocol in self.protocols:
            protocol.check(split, truth)

    def read(self, truth: Any, video: Video) -> list[Any]:
        """What each of them reads."""
        return [protocol.read(truth, video) for protocol in self.protocols]

    def measured(self, answer: Answer, of_video: Sequence[Any]) -> Measured:
        """As the first does."""
        return self.protocols[0].measured(answer, of_video[0])

    def units(
        self, video: Video, answers: Mapping[str, Answer], of_video: Sequence[Any]
    ) -> dict[str, list[UnitScores]]:
        units: dict[str, list[UnitScores]] = {}
        for protocol, of_protocol in zip(self.protocols, of_video, strict=True):
            name = protocol.name if units else ""
            for mean, members in protocol.units(video, answers, of_protocol).items():
                units.setdefault(f"{name} {mean}".strip(), members)
        return units
