"""One set of masks under all protocols that fit its truth, for `rvos score --all-protocols`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from rvos.errors import InputError
from rvos.report.csv_tables import SCORES
from rvos.score.protocols import PROTOCOLS, Protocol, UnitScores, means_of
from rvos.score.sources import TruthSource


@dataclass(frozen=True)
class Change:
    """A unit that counts otherwise than under the protocol that a variant belongs to."""

    video: str
    name: str
    before: float | None  # J&F; None where it is in no mean
    after: float | None

    @property
    def size(self) -> float:
        """How much it matters; what is left out comes first."""
        if self.before is None or self.after is None:
            return 1.0
        return abs(self.after - self.before)


@dataclass(frozen=True)
class Scored:
    """What the masks score under one protocol."""

    protocol: Protocol
    units: Sequence[UnitScores]
    beside: str  # the protocol that it is compared with; empty for the first
    difference: float  # of J&F
    changes: Sequence[Change]  # the largest first

    @property
    def means(self) -> dict[str, float]:
        """J, F, J&F and what the protocol measures."""
        means = means_of((unit.group, unit.means) for unit in self.units)
        return {"J": means.pop("J"), "F": means.pop("F")} | {"J&F": _jf(self.units)} | means

    def as_dict(self) -> dict[str, Any]:
        """As `--json` has it."""
        return {
            **self.means,
            "names": len(self.units),
            "quirk": self.protocol.quirk,
            "beside": self.beside,
            "difference": self.difference,
            "changes": [vars(change) for change in self.changes],
        }


def fitting(truth: TruthSource, first: Protocol, of_dataset: str) -> list[Protocol]:
    """The other protocols of a truth: the variants of `first`, then all that papers may mean.

    For expressions these are the plain mean and that of the dataset, else all that score objects.
    """
    families = [_family(first.name), _family(of_dataset), "expressions"]
    others = [kind() for kind in PROTOCOLS.values() if kind.name != first.name]
    others.sort(key=lambda other: _family(other.name) != families[0])
    objects = not truth.split.videos
    of_kind = (o for o in others if _family(o.name) in families or (objects and o.of_objects))
    return [other for other in of_kind if _fits(other, truth)]


def _family(name: str) -> str:
    return name.partition(":")[0]


def _fits(protocol: Protocol, truth: TruthSource) -> bool:
    try:
        protocol.check(truth.split, truth.kind)
    except InputError:
        return False
    return True


def compared(of: Sequence[tuple[Protocol, Sequence[UnitScores]]]) -> list[Scored]:
    """Each protocol beside the one that it is a variant of, or beside the first."""
    units = {protocol.name: found for protocol, found in of}
    first, scored = of[0][0].name, []
    for protocol, found in of:
        base = _family(protocol.name)
        if base not in units or protocol.name in (base, first):
            base = first
        beside = "" if protocol.name == first else base
        changes = _changes(units[base], found)
        scored.append(Scored(protocol, found, beside, _jf(found) - _jf(units[base]), changes))
    return scored


def _jf(units: Sequence[UnitScores]) -> float:
    means = means_of((unit.group, unit.means) for unit in units)
    return (means["J"] + means["F"]) / 2


def _changes(before: Sequence[UnitScores], after: Sequence[UnitScores]) -> list[Change]:
    """Units of both by video, name and group; none where they are of another kind."""
    sides = [
        {(u.video, u.name, u.group): (u.means["J"] + u.means["F"]) / 2 for u in units}
        for units in (before, after)
    ]
    if not sides[0].keys() & sides[1].keys():
        return []
    keys = [key for key in sides[0] | sides[1] if sides[0].get(key) != sides[1].get(key)]
    changes = [Change(*key[:2], *(side.get(key) for side in sides)) for key in keys]
    return sorted(changes, key=lambda change: -change.size)


def print_protocols(console: Console, scored: Sequence[Scored], count: int) -> None:
    """A table protocol x number, and up to `count` units that make each difference, in percent."""
    table = Table(title="Protocols (percent)", title_justify="left")
    for column in ("protocol", *SCORES, "names", "J&F beside", "what it does otherwise"):
        left = column in ("protocol", "what it does otherwise")
        table.add_column(column, justify="left" if left else "right")
    for one in scored:
        numbers = [f"{100 * one.means[key]:.2f}" for key in SCORES]
        beside = f"{100 * one.difference:+.3f}" if one.beside else ""
        text = one.protocol.quirk or one.protocol.text
        table.add_row(one.protocol.name, *numbers, str(len(one.units)), beside, text)
    console.print(table)
    table = Table(title="Where the differences come from: J&F", title_justify="left")
    for column in ("protocol", "beside", "video", "name", "there", "here"):
        table.add_column(column, justify="right" if column in ("there", "here") else "left")
    for one in scored:
        for change in one.changes[:count]:
            values = (change.before, change.after)
            cells = ["left out" if value is None else f"{100 * value:.3f}" for value in values]
            table.add_row(one.protocol.name, one.beside, change.video, change.name, *cells)
        if len(one.changes) > count:
            table.add_row(one.protocol.name, one.beside, f"{len(one.changes) - count} more")
    if table.row_count:
        console.print(table)
