"""Expression -> the noun whose instances are detected and tracked.

`NounFinder` finds the head noun of each expression. `nouns.json` (`{video: {expression_id: noun}}`)
keeps the lemmas; you can correct it by hand, and it is read back as it stands. An entry may hold
several nouns, joined as Grounding DINO's prompts join them: "cat. dog".

    python -m rvos noun --tsv FILE        # expression, noun, lemma: misses and accuracy
"""

import argparse
import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from rvos.data.split import Split
from rvos.errors import InputError, is_text, list_problems
from rvos.masks import read_json, read_text, split_lines, write_bytes
from rvos.nouns import parsers as noun_parsers
from rvos.nouns import rules as noun_rules
from rvos.settings import Text, checked, wrong

Parser = Literal["rules", "benepar", "spacy"]
Nouns = dict[str, dict[str, str]]  # {video: {expression_id: noun}}

JOIN = ". "  # between the nouns of one entry


@dataclass(frozen=True)
class Noun:
    """The head noun of one expression."""

    text: str  # as written, in lower case
    lemma: str  # its singular


@checked
class NounFinder:
    """Finds the head nouns of referring expressions.

    method: `rules` needs no download; `benepar` (the paper's parser: head of the leftmost highest
        noun phrase) and `spacy` need `model`, the name or folder of an installed model.
    fallback: what an expression without noun ("jumping to the left") gets. "video": all nouns of
        the video's other expressions, or "object" where these have none; any other word: itself.
    """

    method: Parser
    fallback: Text
    model: Text | None = None

    def __post_init__(self) -> None:
        if self.model is not None and self.method == "rules":
            raise wrong("model", "null, since method=rules has none", self.model)

    def find(self, expressions: Sequence[str]) -> list[Noun | None]:
        """The noun of each expression, None where it has none.

        Raises InputError when the parser or its model is not installed.
        """
        heads = _head_finder(self.method, self.model)(expressions)
        return [None if head is None else Noun(head, noun_rules.lemma_of(head)) for head in heads]

    def for_split(self, split: Split) -> Nouns:
        """The noun lemma of every expression of a split; `fallback` where it has no noun."""
        expressions = [e for video in split.videos for e in video.expressions]
        parsed = iter(self.find([e.text for e in expressions]))
        nouns: Nouns = {}
        for video in split.videos:
            by_expression = {e.expression_id: next(parsed) for e in video.expressions}
            fallback = self._fallback([noun.lemma for noun in by_expression.values() if noun])
            nouns[video.name] = {
                id_: noun.lemma if noun else fallback for id_, noun in by_expression.items()
            }
        return nouns

    def _fallback(self, lemmas: Sequence[str]) -> str:
        if self.fallback != "video":
            return self.fallback
        return JOIN.join(lemma for lemma, _ in Counter(lemmas).most_common()) or "object"


def write_nouns(path: Path, nouns: Nouns) -> None:
    """Write `{video: {expression_id: noun}}`, one expression per line, for editing by hand."""
    write_bytes(path, json.dumps(nouns, indent=1, ensure_ascii=False).encode() + b"\n")


def read_nouns(path: Path, split: Split) -> Nouns:
    """The nouns of a split's expressions as the file has them.

    Raises InputError for a file that cannot be read, and listing the expressions without a noun.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected {{video: {{expression_id: noun}}}}")
    problems: list[str] = []
    nouns: Nouns = {}
    for video in split.videos:
        entries = content.get(video.name)
        entries = entries if isinstance(entries, dict) else {}
        nouns[video.name] = {}
        for id_ in (e.expression_id for e in video.expressions):
            noun = entries.get(id_)
            if isinstance(noun, str) and is_text(noun) and parts(noun):
                nouns[video.name][id_] = noun
            else:
                problems.append(
                    f"video {video.name}, expression {id_}: expected a noun, found {noun!r}"
                )
    if problems:
        raise InputError(list_problems(f"{path}: expressions without noun", problems))
    return nouns


def parts(noun: str) -> list[str]:
    """The single nouns of an entry: "cat. dog" -> ["cat", "dog"]."""
    return [part for part in (piece.strip() for piece in noun.split(".")) if part]


def _head_finder(method: Parser, model: str | None) -> Callable[[Sequence[str]], list[str | None]]:
    if method == "rules":
        return lambda expressions: [noun_rules.head_noun(text) for text in expressions]
    if method == "benepar":
        return noun_parsers.Benepar(model or "benepar_en3")
    return noun_parsers.Spacy(model or "en_core_web_sm")


# ------------------------------------------------------------------------------- command


def main(arguments: Sequence[str]) -> int:
    """Compare a parser's nouns with those of a table: print the misses, then `44/45 correct`."""
    parser = argparse.ArgumentParser(prog="python -m rvos noun", description=main.__doc__)
    parser.add_argument(
        "--tsv",
        type=Path,
        required=True,
        help="table with columns expression, noun, lemma (empty: it has no noun)",
    )
    parser.add_argument("--method", choices=get_args(Parser), default="rules")
    parser.add_argument("--model", help="model of benepar or spacy: name or folder")
    options = parser.parse_args(arguments)
    rows = _read_table(options.tsv)
    finder = NounFinder(options.method, "video", options.model)
    nouns = finder.find([row["expression"] for row in rows])
    correct = 0
    for row, noun in zip(rows, nouns, strict=True):
        expected = row["noun"], row["lemma"]
        answer = (noun.text, noun.lemma) if noun else ("", "")
        correct += answer == expected
        if answer != expected:
            print(f"{row['expression']}: expected {_show(expected)}, found {_show(answer)}")
    print(f"{correct}/{len(rows)} correct")
    return 0


def _read_table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    lines = split_lines(read_text(path))
    reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
    if not {"expression", "noun", "lemma"} <= set(reader.fieldnames or ()):
        raise InputError(
            f"{path}: expected a tab-separated table with the columns expression, "
            f"noun, lemma; found {reader.fieldnames}"
        )
    return [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]


def _show(noun: tuple[str, str]) -> str:
    return f"{noun[0]} ({noun[1]})" if noun[0] else "no noun"
