"""What a model replied -> its verdict. A reply that is not clearly one verdict is none.

Text around the JSON does not matter, in any language. A reply that was cut off, or that holds two
different verdicts, cannot be read.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

Verdict = TypeVar("Verdict")
LONGEST = 100_000  # characters
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)


class Misfit(ValueError):
    """A reply that cannot be read; the message says why, to the model too."""


@dataclass(frozen=True)
class Presence:
    """Whether the target is there; `reason` says why not."""

    present: bool
    reason: str = ""


@dataclass(frozen=True)
class Choice:
    """What is said of each numbered masklet; `zoom` are uncertain ones to be shown enlarged."""

    accepted: frozenset[int]
    rejected: frozenset[int]
    uncertain: frozenset[int]
    zoom: frozenset[int] = frozenset()


class _Presence(BaseModel):
    model_config = ConfigDict(strict=True)
    present: bool
    reason: str | None = None


class _Choice(BaseModel):
    model_config = ConfigDict(strict=True)
    accepted: list[int]
    rejected: list[int]
    uncertain: list[int]
    zoom: list[int] = []


def read_presence(text: str, *, whole: bool, reasons: Collection[str]) -> Presence:
    """Raises Misfit. `whole`: the model ended by itself. `reasons`: those that count."""

    def read(value: Any) -> Presence:
        reply = _Presence.model_validate(value)
        if reply.present:
            return Presence(True)
        if reply.reason is None or reply.reason not in reasons:
            raise Misfit(f'"reason" is none of {", ".join(reasons)}')
        return Presence(False, reply.reason)

    return _only_verdict(text, whole, read)


def read_choice(text: str, *, whole: bool, asked: Collection[int]) -> Choice:
    """Raises Misfit. `asked`: the numbers to be judged, each exactly once."""

    def read(value: Any) -> Choice:
        reply = _Choice.model_validate(value)
        judged = [*reply.accepted, *reply.rejected, *reply.uncertain]
        if sorted(judged) != sorted(asked):
            expected = ", ".join(map(str, sorted(asked)))
            raise Misfit(f"expected each of the numbers {expected} in exactly one list")
        uncertain = frozenset(reply.uncertain)
        zoom = uncertain & frozenset(reply.zoom)
        return Choice(frozenset(reply.accepted), frozenset(reply.rejected), uncertain, zoom)

    return _only_verdict(text, whole, read)


def _only_verdict(text: str, whole: bool, read: Callable[[Any], Verdict]) -> Verdict:
    if not whole:
        raise Misfit("it was cut off")
    if len(text) > LONGEST:
        raise Misfit(f"it has more than {LONGEST} characters")
    verdicts: set[Verdict] = set()
    problem = "there is no JSON object in it"
    for value in _objects(_THOUGHTS.sub("", text)):
        try:
            verdicts.add(read(value))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            problem = f"{'.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}"
        except Misfit as error:
            problem = str(error)
    if len(verdicts) > 1:
        raise Misfit("it has several different answers")
    if not verdicts:
        raise Misfit(problem)
    return verdicts.pop()


def _objects(text: str) -> Iterator[Any]:
    """The outermost JSON objects in a text."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates)
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
            yield value
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > len(dict(pairs)):
        raise ValueError("a key occurs twice")
    return dict(pairs)
