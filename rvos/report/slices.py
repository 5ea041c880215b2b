"""Expressions of one kind, with intervals: by target, words, length, object size, noun."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rvos.report.bootstrap import Bootstrap, Interval
from rvos.report.run import Run
from rvos.score.ablation import COARSE, REFINED

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
    results, identities = run.expressions, run.identities
    draws = Bootstrap([result.video for result in results], **bootstrap)
    coarse, refined = run.JF(COARSE), run.JF(REFINED)
    position = {i: place for place, i in enumerate(order)}
    spoken = [set(re.findall(r"[\w'-]+", result.expression.lower())) for result in results]
    lengths = [len(result.expression.split()) for result in results]
    listed = {word for of_kind in words.values() for word in of_kind}
    nouns = Counter(result.noun for result in results if result.noun)

    def ranges(values: Sequence[float | None], below: Mapping[str, float]) -> dict[str, list[int]]:
        members: dict[str, list[int]] = {name: [] for name in below}
        for i, value in enumerate(values):
            if value is not None:
                members[next(name for name, end in below.items() if value < end)].append(i)
        return members

    def equal(key: str, value: str) -> list[int]:
        return [i for i, result in enumerate(results) if getattr(result, key) == value]

    def saying(of_kind: set[str]) -> list[int]:
        return [i for i, said in enumerate(spoken) if of_kind & said]

    areas = [sizes[identity] for identity in identities]
    targets = [result.num_targets for result in results]
    kinds: dict[str, dict[str, list[int]]] = {
        "Number of targets": ranges(targets, {"no target": 1, "1": 2, "2": 3, "3 or more": np.inf}),
        "Type": {
            kind: equal("type", kind)
            for kind in dict.fromkeys(result.type for result in results if result.type)
        },
        "Words": {f"{name} words": saying(set(of_kind)) for name, of_kind in words.items()}
        | {"none of these": [i for i, said in enumerate(spoken) if not said & listed]},
        "Words in the expression": ranges(
            lengths, {"up to 4": 5, "5 to 8": 9, "9 or more": np.inf}
        ),
        "Object size, share of the frame": ranges(
            areas, {"below 1 %": 0.01, "1 to 5 %": 0.05, "5 to 20 %": 0.2, "above 20 %": np.inf}
        ),
        "Noun": {noun: equal("noun", noun) for noun, _ in nouns.most_common(_NOUNS)},
    }

    def made(name: str, members: list[int]) -> Slice:
        among = draws.among(members)
        num_videos = len({results[i].video for i in members})
        intervals = map(among.interval, (coarse, refined, refined - coarse))
        return Slice(name, [position[i] for i in members], num_videos, *intervals)

    every = {
        kind: [made(name, members) for name, members in slices.items() if members]
        for kind, slices in kinds.items()
    }
    return {kind: slices for kind, slices in every.items() if len(slices) > 1}
