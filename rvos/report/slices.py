"""Expressions of one kind, with intervals: by target, words, length, object size, noun."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rvos.report.bootstrap import Bootstrap, Interval
from rvos.report.run import Run

_NOUNS = 12  # the most frequent


@dataclass(frozen=True)
class Slice:
    """Expressions of one kind; scores are J&F in 0..1."""

    name: str
    rows: list[int]  # their positions in the table
    num_videos: int  # without a second one there is no interval
    coarse: Interval
    refined: Interval
    change: Interval  # paired


def slices_of(
    run: Run,
    order: Sequence[int],
    sizes: Mapping[tuple[str, str], float | None],
    words: Mapping[str, Sequence[str]],
    **bootstrap: Any,
) -> dict[str, list[Slice]]:
    """The slices by what they are about; what does not tell expressions apart is left out.

    `order` has the position of each row of the table, `sizes` the share of the frame that the
    target covers, `words` the lists of the settings, `bootstrap` its settings.
    """
    rows, identities = run.expressions, run.identities
    draws = Bootstrap([row["video"] for row in rows], **bootstrap)
    coarse, refined = run.scores("coarse_J&F"), run.scores("J&F")
    position = {i: place for place, i in enumerate(order)}
    spoken = [set(re.findall(r"[\w'-]+", row["expression"].lower())) for row in rows]
    lengths = [len(row["expression"].split()) for row in rows]
    listed = {word for own in words.values() for word in own}
    nouns = Counter(row["noun"] for row in rows if row["noun"])

    def of_range(values: Sequence[float | None], low: float, high: float) -> list[int]:
        return [i for i, value in enumerate(values) if value is not None and low <= value < high]

    def equal(key: str, value: str) -> list[int]:
        return [i for i, row in enumerate(rows) if row.get(key) == value]

    def saying(own: set[str]) -> list[int]:
        return [i for i, said in enumerate(spoken) if own & said]

    areas = [sizes[identity] for identity in identities]
    targets = [row.get("num_targets") for row in rows]
    kinds: dict[str, dict[str, list[int]]] = {
        "Number of targets": {
            "no target": of_range(targets, 0, 1),
            "1": of_range(targets, 1, 2),
            "2": of_range(targets, 2, 3),
            "3 or more": of_range(targets, 3, np.inf),
        },
        "Type": {
            kind: equal("type", kind)
            for kind in dict.fromkeys(row["type"] for row in rows if row.get("type"))
        },
        "Words": {f"{name} words": saying(set(own)) for name, own in words.items()}
        | {"none of these": [i for i, said in enumerate(spoken) if not said & listed]},
        "Words in the expression": {
            "up to 4": of_range(lengths, 0, 5),
            "5 to 8": of_range(lengths, 5, 9),
            "9 or more": of_range(lengths, 9, np.inf),
        },
        "Object size, share of the frame": {
            "below 1 %": of_range(areas, 0, 0.01),
            "1 to 5 %": of_range(areas, 0.01, 0.05),
            "5 to 20 %": of_range(areas, 0.05, 0.2),
            "above 20 %": of_range(areas, 0.2, np.inf),
        },
        "Noun": {noun: equal("noun", noun) for noun, _ in nouns.most_common(_NOUNS)},
    }

    def made(name: str, members: list[int]) -> Slice:
        among = draws.among(members)
        num_videos = len({rows[i]["video"] for i in members})
        intervals = map(among.interval, (coarse, refined, refined - coarse))
        return Slice(name, [position[i] for i in members], num_videos, *intervals)

    found = {
        kind: [made(name, members) for name, members in slices.items() if members]
        for kind, slices in kinds.items()
    }
    return {kind: slices for kind, slices in found.items() if len(slices) > 1}
