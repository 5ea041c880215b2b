"""Tokenizers: words from the data, ids as RoBERTa lays them out, clear refusals."""

import pytest
import torch
from tiny_mutr import tiny

from rvos import InputError
from rvos.mutr.text import WordTokenizer


def test_words_have_stable_ids():
    tokenizer = WordTokenizer(20)
    assert tokenizer.add(["the cat", "The DOG, left!"]) == 6  # words sorted: ! , cat dog left the
    assert tokenizer(["the cat", "a dog"]) == [[0, 9, 6, 2], [0, 3, 7, 2]]
    assert tokenizer.add(["cat"]) == 0
    assert tokenizer.add(["zebra and ant"]) == 3  # after the known ones: their ids stay
    assert tokenizer(["the cat"]) == [[0, 9, 6, 2]]


def test_vocabulary_travels_in_the_state_dict():
    tokenizer, other = WordTokenizer(20), WordTokenizer(20)
    tokenizer.add(["the éléphant's trunk"])
    other.load_state_dict(tokenizer.state_dict())
    assert other.words() == tokenizer.words() == ["the", "trunk", "éléphant's"]


def test_vocabulary_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="8 different words do not fit .*vocab_size=10"):
        WordTokenizer(10).add(["a b c d e f g h"])


def test_too_long_and_unreadable(tmp_path):
    with pytest.raises(InputError, match="an expression has 202 tokens, at most 64"):
        tiny().encode_text(["circle", "circle " * 200])
    with pytest.raises(InputError, match="202 tokens, at most 64"):  # before the first step
        tiny().add_words(["circle", "circle " * 200])
    model = tiny(tokenizer=str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="model.tokenizer=.*nothing: no such weights"):
        model.encode_text(["circle"])


def test_padding_and_single_expressions(model):
    with torch.no_grad():
        text = model.encode_text(["circle", "the red circle"])
    assert text.padding.tolist() == [[False] * 3 + [True] * 2, [False] * 5]
    assert text.one(0).words.shape[1] == 3
    assert text.one(0).padding is None


def test_folder_with_tokenizer_files(tmp_path):
    """Any folder that transformers reads: here a byte-level one of RoBERTa's kind."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "red": 4, "circle": 5}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )
    fast.save_pretrained(tmp_path)
    ids, padding = tiny(tokenizer=str(tmp_path)).text.tokenize(["red circle", "circle"])
    assert ids.tolist() == [[0, 4, 5, 2], [0, 5, 2, 1]]
    assert padding.tolist() == [[False] * 4, [False] * 3 + [True]]
