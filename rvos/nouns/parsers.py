"""Referring expression -> head noun, by a parser with a trained model: benepar or spaCy."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rvos.errors import InputError
from rvos.nouns.words import COLLECTIVES

MANY_SENTENCES = 256  # parsed together


class Benepar:
    """The Berkeley neural parser (Kitaev, Cao and Klein, ACL 2019), which the paper uses.

    The noun is the head of the leftmost highest noun phrase. `model`: installed name or folder.
    Raises InputError that says how to install what is missing.
    """

    def __init__(self, model: str):
        try:
            import benepar
        except ImportError:
            raise InputError(
                "masklets.noun.method=benepar needs benepar: pip install benepar"
            ) from None
        from benepar.integrations.downloader import locate_model
        from benepar.parse_chart import ChartParser

        try:
            folder = locate_model(model)
        except LookupError as error:
            raise InputError(
                f"masklets.noun.model={model}: no such benepar model; get it with "
                f"python -c \"import benepar; benepar.download('{model}')\" (behind a proxy it "
                f"only prints an error: `python -m rvos weights get benepar_en3` checks what came) "
                f"or give the folder of one (searched: {_in_a_line(error)})"
            ) from None

        class Loader(ChartParser):
            def load_state_dict(self, state_dict, *args, **kwargs):
                # A buffer that transformers < 4.31 stored and later ones compute.
                kept = {k: v for k, v in state_dict.items() if not k.endswith("position_ids")}
                return super().load_state_dict(kept, *args, **kwargs)

        with _special_tokens_method():
            chart_parser = Loader.from_trained(folder).eval()
        self._parser = object.__new__(benepar.Parser)  # its __init__ would load the model itself
        self._parser.__dict__.update(
            _parser=chart_parser,
            _language_code="en",
            _tokenizer_lang="english",
            batch_size=MANY_SENTENCES,
        )
        self._sentence = benepar.InputSentence

    def __call__(self, expressions: Sequence[str]) -> list[str | None]:
        sentences = [self._sentence(words=words_of(text)) for text in expressions]
        return [head_of_tree(tree) for tree in self._parser.parse_sents(sentences)]


class Spacy:
    """The root of the first noun chunk. `model`: name or folder of a pipeline with a parser."""

    def __init__(self, model: str):
        try:
            import spacy
        except ImportError:
            raise InputError("masklets.noun.method=spacy needs spaCy: pip install spacy") from None
        try:
            self._pipeline = spacy.load(model)
        except OSError as error:
            raise InputError(
                f"masklets.noun.model={model}: no such spaCy model; get it with "
                f"python -m spacy download {model} (searched: {_in_a_line(error)})"
            ) from None

    def __call__(self, expressions: Sequence[str]) -> list[str | None]:
        docs = self._pipeline.pipe(expressions, batch_size=MANY_SENTENCES)
        return [head_of_doc(doc) for doc in docs]


def words_of(text: str) -> list[str]:
    """Words with their hyphens, "'s", "n't" and punctuation, split as in the Penn Treebank."""
    return re.findall(r"\w+(?=n't\b)|n't\b|'s\b|\w+(?:-\w+)*|[^\w\s]", text) or ["."]


def head_of_tree(tree: Any) -> str | None:
    """The head noun of the leftmost highest noun phrase of an nltk constituency tree."""
    level = [tree]
    while level:
        for node in level:
            if _label(node) == "NP":
                return _head_of_phrase(node)
        level = [child for node in level for child in node if not isinstance(child, str)]
    return None


def head_of_doc(doc: Any) -> str | None:
    """The root of the first noun chunk of a parsed spaCy Doc, "a group of" passed over."""
    for chunk in doc.noun_chunks:
        root = chunk.root
        if root.pos_ not in ("NOUN", "PROPN"):
            return None
        following = doc[root.i + 1].lower_ if root.i + 1 < len(doc) else ""
        if root.lower_ not in COLLECTIVES or following != "of":
            return root.lower_
    return None


def _head_of_phrase(phrase: Any) -> str | None:
    """The last noun of a phrase, else of its first noun phrase; "group of sheep" -> "sheep"."""
    words = [child[0].lower() for child in phrase if _label(child).startswith("NN")]
    if words:
        return words[-1]
    inner = [child for child in phrase if _label(child) == "NP"]
    head = _head_of_phrase(inner[0]) if inner else None
    if head in COLLECTIVES:
        for child in phrase:
            if _label(child) == "PP" and child.leaves()[0].lower() == "of":
                return head_of_tree(child)
    return head


def _label(node: Any) -> str:
    return "" if isinstance(node, str) else node.label().split("-")[0]


@contextmanager
def _special_tokens_method() -> Iterator[None]:
    """Give fast tokenizers `build_inputs_with_special_tokens` while a model is loaded.

    benepar 0.2.0 calls it and transformers 5 removed it.
    """
    from transformers import PreTrainedTokenizerFast

    def build(tokenizer, ids):
        plain = tokenizer("a", add_special_tokens=False)["input_ids"]
        full = tokenizer("a")["input_ids"]
        start = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
        return [*full[:start], *ids, *full[start + len(plain) :]]

    name = "build_inputs_with_special_tokens"
    if hasattr(PreTrainedTokenizerFast, name):
        yield
        return
    setattr(PreTrainedTokenizerFast, name, build)
    try:
        yield
    finally:
        delattr(PreTrainedTokenizerFast, name)


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split())
