"""Expression -> word features: tokenizer, RoBERTa, projection to the model's width."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase, RobertaConfig, RobertaModel

from rvos.errors import InputError
from rvos.mutr.positions import sine_words
from rvos.weights.local import local_folder

BOS, PAD, EOS, UNKNOWN = 0, 1, 2, 3  # RoBERTa's ids
WORDS = "words"  # `tokenizer: words`


@dataclass(frozen=True)
class TextFeatures:
    """E expressions of at most L tokens (bos and eos included), padded on the right."""

    words: Tensor  # (E, L, C)
    positions: Tensor  # (E, L, C) float32
    padding: Tensor | None  # (E, L) bool, True where there is no word; None: all of length L

    def __len__(self) -> int:
        return len(self.words)

    def one(self, index: int) -> TextFeatures:
        """Features of the expression at `index` alone, without its padding."""
        length = self.words.shape[1]
        if self.padding is not None:
            length -= int(self.padding[index].sum())
        part = slice(index, index + 1)
        return TextFeatures(self.words[part, :length], self.positions[part, :length], None)


class WordTokenizer(nn.Module):
    """Tokenizer whose tokens are whole words; its vocabulary is built from the data.

    A buffer of the model holds the vocabulary, so a checkpoint is complete without other files.
    """

    vocabulary: Tensor

    def __init__(self, vocab_size: int):
        super().__init__()
        self.capacity = vocab_size - UNKNOWN - 1
        bytes_per_word = 12  # on average, its separator included
        buffer = torch.zeros(self.capacity * bytes_per_word, dtype=torch.uint8)
        self.register_buffer("vocabulary", buffer)

    def words(self) -> list[str]:
        text = bytes(self.vocabulary.tolist()).rstrip(b"\0").decode()
        return text.split("\n") if text else []

    def add(self, expressions: Iterable[str]) -> int:
        """Add the unknown words of the expressions, sorted; returns how many there are.

        Raises InputError when the vocabulary becomes too large.
        """
        known = self.words()
        new = {word for expression in expressions for word in split_words(expression)}
        new -= set(known)
        words = [*known, *sorted(new)]
        data = "\n".join(words).encode()
        if len(words) > self.capacity or len(data) > len(self.vocabulary):
            raise InputError(
                f"{len(words)} different words do not fit into model.vocab_size="
                f"{self.capacity + UNKNOWN + 1}: raise it to {2 * len(words)}"
            )
        padded = data.ljust(len(self.vocabulary), b"\0")
        self.vocabulary.copy_(torch.tensor(list(padded), dtype=torch.uint8))
        return len(new)

    def __call__(self, expressions: list[str]) -> list[list[int]]:
        ids = {word: index for index, word in enumerate(self.words(), start=UNKNOWN + 1)}
        return [
            [BOS, *(ids.get(word, UNKNOWN) for word in split_words(expression)), EOS]
            for expression in expressions
        ]


def split_words(expression: str) -> list[str]:
    """Lower-case words and single punctuation marks."""
    return re.findall(r"[\w']+|[^\w\s]", expression.lower())


class TextEncoder(nn.Module):
    """RoBERTa, and a projection of its hidden states to the model's width.

    `tokenizer`: "words", or the hub name or folder of a RoBERTa tokenizer.
    """

    def __init__(
        self,
        dim: int,
        *,
        tokenizer: str,
        text_dim: int,
        text_layers: int,
        text_heads: int,
        text_ffn_dim: int,
        vocab_size: int,
        max_tokens: int,
        dropout: float,
    ):
        super().__init__()
        self.tokenizer_name, self.max_tokens = tokenizer, max_tokens
        self.word_tokenizer = WordTokenizer(vocab_size) if tokenizer == WORDS else None
        self._hub_tokenizer: PreTrainedTokenizerBase | None = (
            None  # read on first use: golden cases bring ids
        )
        config = RobertaConfig(
            vocab_size=vocab_size,
            hidden_size=text_dim,
            num_hidden_layers=text_layers,
            num_attention_heads=text_heads,
            intermediate_size=text_ffn_dim,
            max_position_embeddings=max_tokens + PAD + 1,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            bos_token_id=BOS,
            pad_token_id=PAD,
            eos_token_id=EOS,
            attn_implementation="sdpa",
        )
        self.roberta = RobertaModel(config)
        # The official files hold a pooler. Nothing reads it, so it takes no part in training.
        self.roberta.pooler.requires_grad_(False)
        self.projection = nn.Linear(text_dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def tokenize(self, expressions: list[str]) -> tuple[Tensor, Tensor | None]:
        """Token ids (E, L) int64, and padding (E, L) bool or None.

        Raises InputError for an empty expression and for one with too many tokens.
        """
        for index, expression in enumerate(expressions):
            if not expression.strip():
                raise InputError(f"expression {index} of {len(expressions)} is empty")
        if self.word_tokenizer is not None:
            tokens = self.word_tokenizer(expressions)
        else:
            tokens = self._hub()(expressions)["input_ids"]
        if problems := _too_long(expressions, tokens, self.max_tokens):
            raise InputError(problems[0])
        ids = torch.full((len(tokens), max(map(len, tokens))), PAD)
        for row, tokens_of_one in zip(ids, tokens, strict=True):
            row[: len(tokens_of_one)] = torch.tensor(tokens_of_one)
        padding = ids == PAD
        return ids, padding if padding.any() else None

    def _hub(self) -> PreTrainedTokenizerBase:
        if self._hub_tokenizer is None:
            self._hub_tokenizer = load_tokenizer(self.tokenizer_name)
        return self._hub_tokenizer

    def forward(self, ids: Tensor, padding: Tensor | None) -> TextFeatures:
        """ids (E, L) int64, padding (E, L) bool -> features of every token."""
        mask = None if padding is None else (~padding).long()
        hidden = self.roberta(input_ids=ids, attention_mask=mask).last_hidden_state
        words = self.dropout(self.norm(self.projection(hidden)))
        blank = torch.zeros_like(ids, dtype=torch.bool) if padding is None else padding
        return TextFeatures(words, sine_words(blank, words.shape[-1]), padding)


def too_long(expressions: Iterable[str], tokenizer: str, max_tokens: int) -> list[str]:
    """What to say of those that have too many tokens, as found without the network."""
    # A token has a byte at least, and two stand around them: most are short enough for certain.
    doubtful = [text for text in expressions if len(text.encode()) + 2 > max_tokens]
    if not doubtful:
        return []
    if tokenizer == WORDS:
        return _too_long(doubtful, WordTokenizer(UNKNOWN + 1)(doubtful), max_tokens)
    return _too_long(doubtful, load_tokenizer(tokenizer)(doubtful)["input_ids"], max_tokens)


def _too_long(
    expressions: Sequence[str], tokens: Sequence[Sequence[int]], max_tokens: int
) -> list[str]:
    return [
        f"an expression has {len(ids)} tokens, at most {max_tokens} are possible: {text[:60]!r}..."
        for text, ids in zip(expressions, tokens, strict=True)
        if len(ids) > max_tokens
    ]


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """RoBERTa's tokenizer, of a folder or a name on the hub. Raises InputError."""
    folder = local_folder(name, key="model.tokenizer")
    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # of many kinds, where a file is damaged
        raise InputError(
            f"model.tokenizer={name}: cannot be read ({' '.join(str(error).split()):.200}). Give a"
            " folder that holds RoBERTa's tokenizer files, or a name on the hub"
        ) from error
