"""How scores are averaged over a split: what published scripts compute, a module per family.

`protocol.py` says what a protocol is. `make_protocol` makes that of a name.
"""

from rvos.errors import InputError
from rvos.score.protocols.davis import Davis17, Unsupervised
from rvos.score.protocols.expressions import Expressions
from rvos.score.protocols.groundmore import GroundMore, GroundMoreScript
from rvos.score.protocols.long_rvos import LongRvos
from rvos.score.protocols.mosev2 import Mosev2, Mosev2Script
from rvos.score.protocols.objects import Objects, SemiSupervised
from rvos.score.protocols.protocol import (
    Answer,
    Measured,
    Misfits,
    Protocol,
    Unit,
    UnitScores,
    by_label,
    mean_of,
    means_of,
)
from rvos.score.protocols.reason_vos import ReasonVos, ReasonVosO3, ReasonVosScript
from rvos.score.protocols.ref_sav import RefSav, RefSavScript
from rvos.score.protocols.revos import Revos

__all__ = [
    "PROTOCOLS",
    "Answer",
    "Expressions",
    "Measured",
    "Misfits",
    "Protocol",
    "Unit",
    "UnitScores",
    "by_label",
    "make_protocol",
    "mean_of",
    "means_of",
]

PROTOCOLS: dict[str, type[Protocol]] = {
    protocol.name: protocol
    for protocol in (
        *(Expressions, Davis17, LongRvos, Revos),
        *(RefSav, RefSavScript, ReasonVos, ReasonVosScript, ReasonVosO3),
        *(GroundMore, GroundMoreScript),
        *(SemiSupervised, Unsupervised, Objects, Mosev2, Mosev2Script),
    )
}


def make_protocol(name: str) -> Protocol:
    """The protocol of a name: one of ours, or the dotted name of a class over `Protocol`.

    Raises InputError.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]()
    expected = f"score.protocol: expected one of {', '.join(PROTOCOLS)}, or the dotted name of a"
    if not isinstance(name, str) or "." not in name:
        raise InputError(f"{expected} class, got {name!r}")
    from rvos.settings import named

    protocol = named("score.protocol", name)
    if not isinstance(protocol, type) or not issubclass(protocol, Protocol):
        raise InputError(f"{expected} class over rvos.score.Protocol, got {name!r}")
    return protocol()
