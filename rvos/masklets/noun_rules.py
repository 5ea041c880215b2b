"""Referring expression -> head noun, by rules for English noun phrases.

An expression is read from the left: what may stand before a head noun (determiners, numbers,
adjectives, participles, nouns of a compound) is passed over, and the noun phrase ends at the first
word that cannot belong to it (preposition, verb, relative pronoun, second determiner). Its last
noun is the head. Word classes come from the closed lists below, then from lemminflect's dictionary
(`ModuleNotFoundError` without it), then from suffixes; a word that may be noun or verb ("bear
walks", "fire trucks") is decided by its neighbours.
"""

import importlib
import re
import sys
from functools import cache
from typing import Any

Head = tuple[str, bool]  # the head noun as written (lower case), whether several are meant


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARTICLES = _words("a an the")
POSSESSIVES = _words("my your his her its our their")
NUMBERS = _words("""
    two three four five six seven eight nine ten eleven twelve twenty thirty several many few both
    these those multiple various numerous""")
DETERMINERS = (
    ARTICLES
    | POSSESSIVES
    | NUMBERS
    | _words("""
    this that some any no each every all either neither another one which whichever what such
    same""")
)
OBJECT_MARKS = (
    ARTICLES
    | POSSESSIVES
    | _words(  # what opens a verb's object
        "another him them it itself himself herself themselves each"
    )
)
SINGULAR = _words("a an one this that each every another either neither whichever")
PREPOSITIONS = _words("""
    about above across after against along alongside amid among around as at before behind below
    beneath beside besides between beyond by despite down during except facing following for from
    in inside into like near off on onto opposite out outside over past per since through
    throughout to toward towards under underneath until up upon via with within without""")
CLOSED = _words("""
    is are was were be been being am has have had having does do did isn't aren't wasn't doesn't
    don't can could will would may might must shall should who whom whose that which where when
    while then than because so if although though whether i you he she it we they me him them us
    itself himself herself themselves something anything everything nothing others ones it's he's
    she's who's there""")
ADVERBS = _words("""
    very quite really too rather more most less least almost nearly always never not non just only
    also already now soon later again once twice here together away forward forwards backward
    backwards sideways ahead apart aside upside upright instead still well even away back""")
SPATIAL = _words("""
    left right front back rear top bottom middle center centre upper lower far near central
    leftmost rightmost left-most right-most topmost foreground background""")
MODIFIERS = SPATIAL | _words("""
    first second third fourth fifth sixth last next final other single only sole main whole entire
    black white red green blue yellow brown grey gray pink purple golden beige dark bright colored
    big small little large huge tiny long short tall high low wide thin thick fat slim heavy
    young old older oldest elder eldest new fast slow quick quiet still calm wild tame close
    closest nearer nearest opposite alone round flat empty full open closed wet dry hot
    cold warm soft hard loose tight pretty dead alive live bare bold clean dirty double real
    fake""")
COLLECTIVES = _words("""
    group groups pair pairs couple herd flock bunch pack crowd school swarm number lot lots set
    row line series team family litter colony trio dozen dozens hundreds half rest majority plenty
    variety cluster troop shoal pod gaggle type kind sort piece pieces member members part""")
NOUNS_IN_ING = _words("""
    building painting drawing clothing railing ceiling wedding pudding bedding earring carving
    crossing sibling duckling gosling""")
# Verbs of doing and moving whose plain and -s forms rarely name a thing one refers to.
ACTIONS = _words("""
    walk jump run move turn stand sit fly fall roll swim climb eat look play ride stop start spin
    crawl hop leap dance chase follow push pull carry hold throw catch kick hit lift raise wave
    rotate lie lean bend sleep wait pass enter leave approach return rise sink dive float drift
    glide graze feed bite lick scratch bark fight wrestle hug kiss touch grab pick put take give
    hide peek stretch wander rush dash sprint march trot gallop charge flap spread shoot dribble
    bounce tumble hunt attack yawn smile laugh talk speak cry sing clap nod squat kneel crouch
    stay keep go come get make appear disappear emerge collapse tilt reverse overtake use wear
    drive skate jog stroll sniff shake swing slide step land head""")
NOUNS_TOO = _words("shake swing slide step land head ride hit jump dive")  # as "water slide"
DIRECTIONS = _words("""
    away back forward forwards backward backwards into onto toward towards past along""")
PAST_FORMS = _words("""
    hit cut fell shot bit put broke left held led ran sat stood went flew stuck hurt""")
ANIMATE = _words("""
    person man woman boy girl child kid baby lady guy player rider adult dog cat puppy kitten
    horse cow bull calf sheep goat lamb pig bird duck goose swan chicken hen rooster parrot
    pigeon eagle owl penguin fish shark whale dolphin turtle tortoise frog lizard snake monkey
    ape gorilla panda bear tiger lion leopard elephant giraffe zebra deer fox wolf rabbit
    squirrel mouse rat hamster kangaroo camel donkey otter seal insect bee spider crab""")
MASS_OBJECTS = _words("""
    grass food water hay bamboo leaves lunch meat fruit hands tennis golf hockey chess cards
    guitar piano violin drums games""")
PLURAL_MODIFIERS = _words("sports clothes glasses goods arms news")
REQUESTS = _words("""
    find show segment track locate identify select highlight detect mark spot follow""")
PEOPLE = _words("someone somebody anyone anybody everyone everybody")
LEMMAS = {
    "people": "person",
    "persons": "person",
    "leaves": "leaf",
    "dice": "dice",
    "men": "man",
    "women": "woman",
    "children": "child",
    "mice": "mouse",
    "police": "police",
    **dict.fromkeys(PEOPLE, "person"),
    **{
        word: word
        for word in _words("""
              sunglasses goggles scissors pants trousers jeans shorts clothes binoculars pajamas
              species series""")
    },
}
BREAK = _words(', ; : ( ) / " ! ?')
NEVER_NOUNS = (
    CLOSED | DETERMINERS | PREPOSITIONS | ADVERBS | MODIFIERS | BREAK | _words("and or but of n't")
)
DIRECTED = PREPOSITIONS | ADVERBS | BREAK | {"", "and"}  # what follows a verb of motion
AFTER_OPENING_VERB = DIRECTED | SPATIAL | OBJECT_MARKS
NOT_OWNED = DETERMINERS | CLOSED | {"not", ""}
BARE_ADJECTIVES = MODIFIERS - SPATIAL
ONLY_ACTIONS = ACTIONS - NOUNS_TOO
AFTER_PARTICIPLE = DETERMINERS | PREPOSITIONS | {""}  # ends "jumping over ...", names no one
PASSED_OVER = BREAK | MODIFIERS | ADVERBS | {"and", "or", "but", "of"}


def head_noun(expression: str) -> Head | None:
    """The head noun of what an expression refers to; None where it names none."""
    tokens = _tokens(expression)
    head = _scan(tokens, _first(tokens))
    for i, token in enumerate(tokens):  # "walking in the park, the brown dog"
        if head is None and token in BREAK and _at(tokens, i + 1) in ARTICLES | NUMBERS:
            head = _scan(tokens, i + 1)
    return head


@cache
def lemma_of(noun: str) -> str:
    """The singular of a noun; of a hyphenated one, of its last part."""
    prefix, dash, last = noun.rpartition("-")
    if last in LEMMAS:
        return prefix + dash + LEMMAS[last]
    known = dictionary().getAllLemmas(last, upos="NOUN") or (
        {} if _classes(last) else dictionary().getAllLemmasOOV(last, upos="NOUN")
    )
    return prefix + dash + min(known.get("NOUN", (last,)), key=len)


def is_plural(noun: str) -> bool:
    return lemma_of(noun) != noun and noun not in PEOPLE


# ------------------------------------------------------------------------------- reading


def _tokens(expression: str) -> list[str]:
    """Lower-case words (hyphens kept), "'s" and punctuation apart."""
    text = expression.lower().replace("’", "'").replace("`", "'")
    return re.findall(r"[a-z]+n't\b|'s\b|[^\W_](?:[\w\-.]*\w)?|'(?=\s)|[,;:()/\"!?]", text)


def _at(tokens: list[str], i: int) -> str:
    return tokens[i] if 0 <= i < len(tokens) else ""


def _first(tokens: list[str]) -> int:
    """Where the noun phrase may begin: behind "there is", "find", "on the left,"."""
    i = 0
    while _at(tokens, i) in {"please", "the"} and _at(tokens, i + 1) in REQUESTS:
        i += 1
    if _at(tokens, i) in REQUESTS and _at(tokens, i + 1) in DETERMINERS | {"me", "out"}:
        i += 1 + (_at(tokens, i + 1) in {"me", "out"})
    be = {"is", "are", "was", "were", "'s"}
    if _at(tokens, i) in {"there", "this", "these", "it", "that"} and _at(tokens, i + 1) in be:
        i += 2
    if _at(tokens, i) not in PREPOSITIONS:
        return i
    if "," in tokens[i:]:
        return tokens.index(",", i) + 1
    content = False  # without comma the phrase ends where the next determiner begins
    for j in range(i + 1, len(tokens)):
        if content and tokens[j] in DETERMINERS and tokens[j - 1] not in PREPOSITIONS | {"of"}:
            return j
        content = content or tokens[j] not in DETERMINERS
    return i


def _scan(tokens: list[str], start: int) -> Head | None:
    """The head of the noun phrase that begins at `start`."""
    i, several, owner = start, False, None
    while i < len(tokens):
        word, following = tokens[i], _at(tokens, i + 1)
        if word in COLLECTIVES and following == "of":
            several = several or word not in {"part", "piece", "half", "type", "kind", "sort"}
            i += 2
        elif word == "one" and following == "of":
            one = _scan(tokens, i + 2)
            return one and (one[0], False)
        elif word in {"number", "no"} and following.isdigit():
            i += 2
        elif word == "from" and i > start:  # "the second from the left"
            behind = _behind_place(tokens, i)
            if behind is None:
                return owner
            i = behind
        elif word in NUMBERS or (word.isdigit() and int(word) > 1):
            several, i = True, i + 1
        elif _stands_before_noun(tokens, i, start):
            i += 1
        elif not _is_noun_here(tokens, i, start):
            return owner
        else:
            end = _compound_end(tokens, i, several)
            head = (tokens[end], several or is_plural(tokens[end]))
            if not _owns(tokens, end + 1):
                return head
            owner, several, i = head, False, end + 2
    return owner


def _behind_place(tokens: list[str], i: int) -> int | None:
    """Behind "from the far left" when nothing but places follows `from`, else None."""
    j = i + 1
    while _at(tokens, j) in ARTICLES | SPATIAL | {"side", "hand"}:
        j += 1
    return j if any(token in SPATIAL for token in tokens[i:j]) else None


def _owns(tokens: list[str], i: int) -> bool:
    """ "'s" of a possessor ("the man's hat"), not of "is" ("the cat's running away")."""
    if _at(tokens, i) not in {"'s", "'"}:
        return False
    following = _at(tokens, i + 1)
    return not (
        following in NOT_OWNED
        or (_is_participle(following) and not _may_be_noun(_at(tokens, i + 2)))
    )


def _stands_before_noun(tokens: list[str], i: int, start: int) -> bool:
    """Determiners, adjectives, adverbs, participles, "and" between adjectives."""
    word, following = tokens[i], _at(tokens, i + 1)
    if word == "can" and _at(tokens, i - 1) in ARTICLES:
        return False
    if word in DETERMINERS:
        return True
    if word == "down" and _at(tokens, i - 1) == "upside":
        return True
    if word in {"about", "around", "over"} and following in NUMBERS:
        return True
    if word in CLOSED | PREPOSITIONS:
        return False
    if word in PASSED_OVER or word.isdigit():
        return True
    if _is_participle(word):
        bare = _at(tokens, i - 1) not in DETERMINERS
        if bare and (following in MASS_OBJECTS or following.endswith("ball")):
            return False  # "playing basketball" names no player
        return following not in AFTER_PARTICIPLE or (
            following in DETERMINERS and _at(tokens, i - 1) in {"and", "or"}
        )
    classes = _classes(word)
    if classes and "NOUN" not in classes:
        return "ADJ" in classes or "ADV" in classes
    joins = following in {"and", ",", "or"} and "ADJ" in classes  # "orange and white cat"
    behind = _at(tokens, i + 2)
    return joins and (behind in MODIFIERS or "NOUN" not in (_classes(behind) or {"NOUN"}))


def _is_noun_here(tokens: list[str], i: int, start: int) -> bool:
    """A noun with no noun before it; not a verb that opens the expression ("jumps over ...")."""
    word, following = tokens[i], _at(tokens, i + 1)
    if word == "can" and _at(tokens, i - 1) in ARTICLES:
        return True
    if not _may_be_noun(word) or (_is_participle(word) and word not in NOUNS_IN_ING):
        return False
    opens = i == start or _at(tokens, i - 1) in ADVERBS
    acts = _verb(word) in ACTIONS
    return not (opens and acts and (following in AFTER_OPENING_VERB or following.endswith("ly")))


def _compound_end(tokens: list[str], head: int, several: bool) -> int:
    """The last noun of a compound ("hot air balloon") that begins at `head`."""
    i = head + 1
    while i < len(tokens):
        word, following = tokens[i], _at(tokens, i + 1)
        if word == "being" and tokens[head] == "human":
            return head
        if _continues(tokens, head, i, several):
            head = i
        elif not (
            word in BARE_ADJECTIVES and _may_be_noun(following) and not _is_participle(following)
        ):
            return head
        i += 1
    return head


def _continues(tokens: list[str], head: int, i: int, several: bool) -> bool:
    """Whether word `i` is a further noun of the compound, not a verb or the next phrase."""
    word, noun, following = tokens[i], tokens[head], _at(tokens, i + 1)
    if word == "can" and following not in {"not", "be"} and not _is_base_verb(following):
        return True
    if not _may_be_noun(word) or word == "number" and following.isdigit():
        return False
    plural = is_plural(noun) and noun not in PLURAL_MODIFIERS
    verb = _verb(word)
    if verb is None:
        return not plural
    if word in NOUNS_IN_ING:
        return not plural and following not in OBJECT_MARKS
    finite = word != verb or verb in ACTIONS  # "eats the", "eat the", not "car window the"
    if plural or _is_participle(word) or finite and following in OBJECT_MARKS:
        return False
    direction = following in DIRECTED or following.endswith("ly")
    if word in PAST_FORMS and direction:
        return False
    if word.endswith("s") and word != verb:
        if several and verb not in ONLY_ACTIONS:
            return True
        if _at(tokens, head - 1) in SINGULAR or verb in ONLY_ACTIONS:
            return False
        if lemma_of(noun) in ANIMATE:  # "elephant drinks water", but "dog toys lying about"
            return following in CLOSED or _is_participle(following)
        return not following.endswith("ly") and following not in DIRECTIONS
    return not (verb in ONLY_ACTIONS and direction)


# -------------------------------------------------------------------------- word classes


@cache
def dictionary() -> Any:
    """The module lemminflect. Where spaCy is installed it would import it, and torch with it, to
    register extensions; that takes seconds and is kept from happening.
    """
    if "spacy" in sys.modules:
        return importlib.import_module("lemminflect")
    sys.meta_path.insert(0, _NoSpacy)
    try:
        return importlib.import_module("lemminflect")
    finally:
        sys.meta_path.remove(_NoSpacy)


class _NoSpacy:
    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name == "spacy":
            raise ImportError(name)


@cache
def _classes(word: str) -> frozenset[str]:
    """Universal word classes of a dictionary word; empty for a word not in the dictionary."""
    return frozenset(dictionary().getAllLemmas(word.rpartition("-")[2]))


@cache
def _verb(word: str) -> str | None:
    """The verb of which a word is a form, or None."""
    if "-" in word:
        return None
    return (dictionary().getAllLemmas(word, upos="VERB").get("VERB") or (None,))[0]


def _is_base_verb(word: str) -> bool:
    return _verb(word) == word


@cache
def _is_participle(word: str) -> bool:
    """-ing, -ed and irregular participles, unless the word is first of all a noun."""
    if word in NOUNS_IN_ING | {"moped", "bed", "sled", "shed", "seed", "king", "ring", "string"}:
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
    """Dictionary nouns, and unknown words without the suffix of another class."""
    if word in NEVER_NOUNS or not word[:1].isalpha():
        return False
    classes = _classes(word)
    if "-" in word and word.endswith(("ed", "ing", "old", "like", "colored", "most", "sized")):
        return False
    if classes:
        return "NOUN" in classes
    return not word.endswith(("ly", "ing", "less", "ous", "ful"))
