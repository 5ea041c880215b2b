"""How scores are averaged over a split: what published scripts compute, a module per family.

`protocol.py` says what a protocol is. `make_protocol` makes that of a name.
"""

from collections.abc import Sequence

from rvos.errors import InputError
from rvos.score.protocols import long_rvos, revos
from rvos.score.protocols.davis import Davis17, Unsupervised
from rvos.score.protocols.expressions import Expressions, LmmsEval, MevisScript
from rvos.score.protocols.groundmore import GroundMore, GroundMoreScript
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
from rvos.score.protocols.several import Several

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
        *(Expressions, MevisScript, LmmsEval),
        Davis17,
        *(long_rvos.LongRvos, long_rvos.LongRvosScript, long_rvos.VideoSegO3),
        *(revos.Revos, revos.Visa, revos.Virst, revos.VideoSegO3),
        *(RefSav, RefSavScript, ReasonVos, ReasonVosScript, ReasonVosO3),
        *(GroundMore, GroundMoreScript),
        *(SemiSupervised, Unsupervised, Objects, Mosev2, Mosev2Script),
    )
}


def make_protocol(name: str | Sequence[str]) -> Protocol:
    """The protocol of a name: one of ours, or the dotted name of a class over `Protocol`.

    Of a list, the first says the score (`Several`). Raises InputError.
    """
    if isinstance(name, list | tuple) and name:
        return Several([make_protocol(one) for one in name])
    if isinstance(name, str) and name in PROTOCOLS:
        return PROTOCOLS[name]()
    expected = f"score.protocol: expected one of {', '.join(PROTOCOLS)}, or the dotted name of a"
    if not isinstance(name, str) or "." not in name:
        raise InputError(f"{expected} class, got {name!r}")
    from rvos.settings import named

    protocol = named("score.protocol", name)
    if not isinstance(protocol, type) or not issubclass(protocol, Protocol):
        raise InputError(f"{expected} class over rvos.score.Protocol, got {name!r}")
    return protocol()
