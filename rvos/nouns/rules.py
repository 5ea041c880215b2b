"""Referring expression -> head noun, by rules for English noun phrases.

The rules read an expression from the left. They pass over what may stand before a head noun
(determiners, numbers, adjectives, participles, nouns of a compound); the noun phrase ends at the
first word that cannot belong to it (preposition, verb, relative pronoun, second determiner), and
its last noun is the head. Word classes come from the lists in words.py, then from
lemminflect's dictionary (InputError without it), then from suffixes. The neighbours of a
word decide whether it is a noun or a verb ("bear walks", "fire trucks").
"""

import importlib
import re
import sys
from functools import cache
from typing import Any

from rvos.errors import InputError
from rvos.nouns import words


def head_noun(expression: str) -> str | None:
    """The head noun of an expression as written, in lower case; None where it has none."""
    tokens = _tokens(expression)
    head = _scan(tokens, _first(tokens))
    for i, token in enumerate(tokens):  # "walking in the park, the brown dog"
        if head is None and token in words.BREAK and _at(tokens, i + 1) in words.OPENING:
            head = _scan(tokens, i + 1)
    return head


@cache
def lemma_of(noun: str) -> str:
    """The singular of a noun; of a hyphenated one, of its last part."""
    prefix, dash, last = noun.rpartition("-")
    if last in words.LEMMAS:
        return prefix + dash + words.LEMMAS[last]
    known = dictionary().getAllLemmas(last, upos="NOUN") or (
        {} if _classes(last) else dictionary().getAllLemmasOOV(last, upos="NOUN")
    )
    return prefix + dash + min(known.get("NOUN", (last,)), key=len)


def _is_plural(noun: str) -> bool:
    return lemma_of(noun) != noun and noun not in words.PEOPLE


# ------------------------------------------------------------------------------- reading


def _tokens(expression: str) -> list[str]:
    """Lower-case words (hyphens kept), "'s" and punctuation apart."""
    text = expression.lower().replace("’", "'").replace("`", "'")
    return re.findall(r"[a-z]+n't\b|'s\b|[^\W_](?:[\w\-.]*\w)?|'(?=\s)|[,;:()/\"!?]", text)


def _at(tokens: list[str], i: int) -> str:
    return tokens[i] if 0 <= i < len(tokens) else ""


def _first(tokens: list[str]) -> int:
    """Index at which the noun phrase may begin: behind "there is", "find", "on the left,"."""
    i = 0
    while _at(tokens, i) in {"please", "the"} and _at(tokens, i + 1) in words.REQUESTS:
        i += 1
    if _at(tokens, i) in words.REQUESTS and _at(tokens, i + 1) in words.DETERMINERS | {"me", "out"}:
        i += 1 + (_at(tokens, i + 1) in {"me", "out"})
    be = {"is", "are", "was", "were", "'s"}
    if _at(tokens, i) in {"there", "this", "these", "it", "that"} and _at(tokens, i + 1) in be:
        i += 2
    if _at(tokens, i) not in words.PREPOSITIONS:
        return i
    if "," in tokens[i:]:
        return tokens.index(",", i) + 1
    content = False  # without comma the phrase ends where the next determiner begins
    for j in range(i + 1, len(tokens)):
        opens = tokens[j] in words.DETERMINERS
        if content and opens and tokens[j - 1] not in words.PREPOSITIONS | {"of"}:
            return j
        content = content or not opens
    return i


def _scan(tokens: list[str], start: int) -> str | None:
    """The head of the noun phrase that begins at `start`."""
    i, several, owner = start, False, None
    while i < len(tokens):
        word, following = tokens[i], _at(tokens, i + 1)
        if word in words.COLLECTIVES and following == "of":
            several = several or word not in {"part", "piece", "half", "type", "kind", "sort"}
            i += 2
        elif word == "one" and following == "of":
            return _scan(tokens, i + 2)
        elif word in {"number", "no"} and following.isdigit():
            i += 2
        elif word == "from" and i > start:  # "the second from the left"
            behind = _behind_place(tokens, i)
            if behind is None:
                return owner
            i = behind
        elif word in words.NUMBERS or (word.isdecimal() and word.lstrip("0") not in ("", "1")):
            several, i = True, i + 1
        elif _stands_before_noun(tokens, i):
            i += 1
        elif not _is_noun_here(tokens, i, start):
            return owner
        else:
            end = _compound_end(tokens, i, several)
            if not _owns(tokens, end + 1):
                return tokens[end]
            owner, several, i = tokens[end], False, end + 2
    return owner


def _behind_place(tokens: list[str], i: int) -> int | None:
    """Index behind "from the far left" when only places follow `from`, else None."""
    j = i + 1
    while _at(tokens, j) in words.ARTICLES | words.SPATIAL | {"side", "hand"}:
        j += 1
    return j if any(token in words.SPATIAL for token in tokens[i:j]) else None


def _owns(tokens: list[str], i: int) -> bool:
    """Whether "'s" marks a possessor ("the man's hat") and is not "is" ("the cat's running")."""
    if _at(tokens, i) not in {"'s", "'"}:
        return False
    following = _at(tokens, i + 1)
    return not (
        following in words.NOT_OWNED
        or (_is_participle(following) and not _may_be_noun(_at(tokens, i + 2)))
    )


def _stands_before_noun(tokens: list[str], i: int) -> bool:
    """Whether word `i` is a determiner, adjective, adverb, participle, or "and" between these."""
    word, following = tokens[i], _at(tokens, i + 1)
    if word == "can" and _at(tokens, i - 1) in words.ARTICLES:
        return False
    if word in words.DETERMINERS:
        return True
    if word == "down" and _at(tokens, i - 1) == "upside":
        return True
    if word in {"about", "around", "over"} and following in words.NUMBERS:
        return True
    if word in words.CLOSED | words.PREPOSITIONS:
        return False
    if word in words.PASSED_OVER or word.isdigit():
        return True
    if _is_participle(word):
        bare = _at(tokens, i - 1) not in words.DETERMINERS
        if bare and (following in words.MASS_OBJECTS or following.endswith("ball")):
            return False  # "playing basketball" names no player
        return following not in words.AFTER_PARTICIPLE or (
            following in words.DETERMINERS and _at(tokens, i - 1) in {"and", "or"}
        )
    classes = _classes(word)
    if classes and "NOUN" not in classes:
        return "ADJ" in classes or "ADV" in classes
    joins = following in {"and", ",", "or"} and "ADJ" in classes  # "orange and white cat"
    behind = _at(tokens, i + 2)
    return joins and (behind in words.MODIFIERS or "NOUN" not in (_classes(behind) or {"NOUN"}))


def _is_noun_here(tokens: list[str], i: int, start: int) -> bool:
    """Whether word `i` begins a noun phrase and is no verb that opens the text ("jumps over")."""
    word, following = tokens[i], _at(tokens, i + 1)
    if word == "can" and _at(tokens, i - 1) in words.ARTICLES:
        return True
    if not _may_be_noun(word) or (_is_participle(word) and word not in words.NOUNS_IN_ING):
        return False
    opens = i == start or _at(tokens, i - 1) in words.ADVERBS
    acts = _verb(word) in words.ACTIONS
    return not (
        opens and acts and (following in words.AFTER_OPENING_VERB or following.endswith("ly"))
    )


def _compound_end(tokens: list[str], head: int, several: bool) -> int:
    """Index of the last noun of a compound ("hot air balloon") that begins at `head`."""
    i = head + 1
    while i < len(tokens):
        word, following = tokens[i], _at(tokens, i + 1)
        if word == "being" and tokens[head] == "human":
            return head
        if _continues(tokens, head, i, several):
            head = i
        elif word not in words.BARE_ADJECTIVES:
            return head
        elif not _may_be_noun(following) or _is_participle(following):
            return head
        i += 1
    return head


def _continues(tokens: list[str], head: int, i: int, several: bool) -> bool:
    """Whether word `i` is a further noun of the compound, and no verb or next phrase."""
    word, noun, following = tokens[i], tokens[head], _at(tokens, i + 1)
    if word == "can" and following not in {"not", "be"} and not _is_base_verb(following):
        return True
    if not _may_be_noun(word) or word == "number" and following.isdigit():
        return False
    plural = _is_plural(noun) and noun not in words.PLURAL_MODIFIERS
    verb = _verb(word)
    if verb is None:
        return not plural
    if word in words.NOUNS_IN_ING:
        return not plural and following not in words.OBJECT_MARKS
    finite = word != verb or verb in words.ACTIONS  # "eats the", "eat the", not "car window the"
    if plural or _is_participle(word) or finite and following in words.OBJECT_MARKS:
        return False
    direction = following in words.DIRECTED or following.endswith("ly")
    if word in words.PAST_FORMS and direction:
        return False
    if word.endswith("s") and word != verb:
        if several and verb not in words.ONLY_ACTIONS:
            return True
        if _at(tokens, head - 1) in words.SINGULAR or verb in words.ONLY_ACTIONS:
            return False
        if lemma_of(noun) in words.ANIMATE:  # "elephant drinks water", but "dog toys lying about"
            return following in words.CLOSED or _is_participle(following)
        return not following.endswith("ly") and following not in words.DIRECTIONS
    return not (verb in words.ONLY_ACTIONS and direction)


# -------------------------------------------------------------------------- word classes


@cache
def dictionary() -> Any:
    """The module lemminflect, imported without spaCy.

    lemminflect imports an installed spaCy, and torch with it, only to register extensions. That
    takes seconds, so this function hides spaCy from it. Raises InputError without lemminflect.
    """
    if "spacy" not in sys.modules:
        sys.meta_path.insert(0, _NoSpacy)
    try:
        return importlib.import_module("lemminflect")
    except ImportError:
        raise InputError(
            "masklets.noun.method=rules needs lemminflect: pip install lemminflect"
        ) from None
    finally:
        if _NoSpacy in sys.meta_path:
            sys.meta_path.remove(_NoSpacy)


class _NoSpacy:
    """Import finder that makes `import spacy` fail."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "spacy":
            raise ImportError(name)


@cache
def _classes(word: str) -> frozenset[str]:
    """Universal word classes of a dictionary word; empty for a word not in the dictionary."""
    return frozenset(dictionary().getAllLemmas(word.rpartition("-")[2]))


@cache
def _verb(word: str) -> str | None:
    """The base form of the verb of which a word is a form, or None."""
    if "-" in word:
        return None
    return (dictionary().getAllLemmas(word, upos="VERB").get("VERB") or (None,))[0]


def _is_base_verb(word: str) -> bool:
    return _verb(word) == word


@cache
def _is_participle(word: str) -> bool:
    """Whether a word is a participle (-ing, -ed or irregular) and not first of all a noun."""
    if word in words.NOUNS_IN_ING | words.LIKE_PARTICIPLES:
        return False
    classes, verb = _classes(word), _verb(word)
    if "-" in word:
        return word.endswith(("ed", "ing")) or "VERB" in classes and "NOUN" not in classes
    if not classes:
        return word.endswith(("ing", "ed")) and len(word) > 5
    if verb is None or verb == word:
        return False
    return word.endswith(("ing", "ed")) or not word.endswith("s") and "NOUN" not in classes


@cache
def _may_be_noun(word: str) -> bool:
    """Whether a word is a noun of the dictionary, or unknown and without another class's suffix."""
    if word in words.NEVER_NOUNS or not word[:1].isalpha():
        return False
    classes = _classes(word)
    if "-" in word and word.endswith(("ed", "ing", "old", "like", "colored", "most", "sized")):
        return False
    if classes:
        return "NOUN" in classes
    return not word.endswith(("ly", "ing", "less", "ous", "ful"))
