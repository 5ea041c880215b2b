"""Expression -> its noun phrases, and what each says of place, size, motion and number.

"the camel in front and the dog running left" has two: (camel, in front) and (dog, moves left). Only
what words say is read here; which instance it is follows from the boxes.
"""

import re
from dataclasses import dataclass
from typing import Literal

from rvos.nouns.finder import NounFinder
from rvos.nouns.words import DETERMINERS, NUMBERS, POSSESSIVES

# What a phrase asks of its instance; the value is compared among the instances.
Place = Literal["left", "right", "top", "bottom", "middle"]  # in the picture
Size = Literal["large", "small", "front", "back"]  # nearness is size and height
Motion = Literal["moves_left", "moves_right", "moves_up", "moves_down", "moves", "still"]
Ask = Place | Size | Motion

_JOINS = ("and", "together with", "along with", "as well as")
_MOVING = (
    r"(?:mov|walk|run|driv|head|go|turn|swim|fly|fl|rid|jump|cross|com|crawl|march|trot|rac|slid)"
    r"(?:e|es|s|ies|ing|ning|ming|ting)?"
)
_TO = r"(?:\s+(?:\w+\s+)?(?:to|towards?|from)\s+(?:the|its|his|her|their))?"
_SIDE = r"(?:-?hand)?(?:\s+side)?"
_RULES: tuple[tuple[str, Ask], ...] = (  # the first pattern that fits counts
    (rf"\b{_MOVING}\s+(?:from\s+)?(?:the\s+)?right\s+to\s+(?:the\s+)?left\b", "moves_left"),
    (rf"\b{_MOVING}\s+(?:from\s+)?(?:the\s+)?left\s+to\s+(?:the\s+)?right\b", "moves_right"),
    (rf"\b{_MOVING}{_TO}\s+left{_SIDE}\b", "moves_left"),
    (rf"\b{_MOVING}{_TO}\s+right{_SIDE}\b", "moves_right"),
    (rf"\b{_MOVING}\s+up(?:wards?)?\b", "moves_up"),
    (rf"\b{_MOVING}\s+down(?:wards?)?$", "moves_down"),
    (r"\bleft-?(?:most)?\b", "left"),
    (r"\bright-?(?:most)?\b", "right"),
    (r"\b(?:top|upper|highest)(?:-?most)?\b", "top"),
    (r"\b(?:bottom|lower|lowest)(?:-?most)?\b", "bottom"),
    (r"\b(?:middle|center|centre|central)\b", "middle"),
    (r"\b(?:biggest|largest|big|large|huge|bigger|larger|tallest|taller)\b", "large"),
    (r"\b(?:smallest|small|little|tiny|smaller|shortest|shorter)\b", "small"),
    (r"\b(?:in (?:the )?front(?! of)|foreground|closest|nearest)\b", "front"),
    (r"\b(?:in the back|background|behind|farthest|furthest|far away)\b", "back"),
    (r"\b(?:still|stationary|motionless|not mov\w+|parked|without moving)\b", "still"),
    (r"\b(?:moving|fastest|faster|most active)\b", "moves"),
)


@dataclass(frozen=True)
class Phrase:
    """One noun phrase."""

    noun: str  # a singular; empty where the rules find none
    plural: bool  # all instances
    belongs: bool  # to the phrase before it: "its rider", "with his bike"
    ask: Ask | None


def phrases_of(expression: str) -> list[Phrase]:
    """At least one phrase; needs lemminflect's dictionary."""
    texts = _split(expression)
    nouns = NounFinder("rules", "object").find(texts)
    phrases = []
    for text, noun in zip(texts, nouns, strict=True):
        first = text.split(maxsplit=1)[0] if text else ""
        several = noun is not None and noun.text != noun.lemma and noun.text not in ("someone",)
        many = bool(re.search(r"\b(?:all|both|every|each)\b", text)) or first in NUMBERS
        phrases.append(
            Phrase(
                noun.lemma if noun else "",
                several or many,
                first in POSSESSIVES,
                next((ask for pattern, ask in _RULES if re.search(pattern, text)), None),
            )
        )
    return phrases


def _split(expression: str) -> list[str]:
    """The parts of a sentence that begin noun phrases: split before "and the", "and its", ..."""
    text = " ".join(expression.lower().split())
    begins = "|".join(sorted(DETERMINERS))
    joins = "|".join(_JOINS)
    parts = re.split(rf"\s*,?\s+(?:{joins})\s+(?=(?:{begins})\s)", text)
    return [part for part in parts if part] or [text]
