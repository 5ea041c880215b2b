"""Nouns: rules on English of many forms, parsers, fallback, corrected files, the command."""

import csv
import json
from pathlib import Path

import pytest
from commands import command

from rvos import InputError, SettingsError
from rvos.data.split import Expression, Split, Video
from rvos.nouns.finder import NounFinder, parts, read_nouns, write_nouns
from rvos.nouns.parsers import head_of_doc, head_of_tree, words_of
from rvos.nouns.rules import head_noun, lemma_of

main = command("noun")

TABLE = Path(__file__).with_name("expressions.tsv")  # 218 written for this test
RULES = NounFinder("rules", "video")


def rows():
    with open(TABLE, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["expression"][:40])
def test_rules(row):
    noun = RULES.find([row["expression"]])[0]
    assert ((noun.text, noun.lemma) if noun else ("", "")) == (row["noun"], row["lemma"])


@pytest.mark.parametrize(
    "expression",
    ["", "   ", "!?", "...", "'s", "the", "of of", "12", "the 5² dogs", f"the {'9' * 5000} dogs"],
    ids=lambda expression: expression[:12],
)
def test_what_is_no_expression_has_no_noun_or_one_but_does_not_fail(expression):
    head_noun(expression)


def test_lemmas():
    words = "people children mice knives wolves buses sheep leaves skateboarders t-shirts capybaras"
    assert [lemma_of(word) for word in words.split()] == [
        "person",
        "child",
        "mouse",
        "knife",
        "wolf",
        "bus",
        "sheep",
        "leaf",
        "skateboarder",
        "t-shirt",
        "capybara",
    ]


# ------------------------------------------------------------------------------ whole splits


def split_of(tmp_path, texts):
    """{video: [text]}; expression ids are positions."""
    videos = tuple(
        Video(
            name,
            ("0", "1"),
            tuple(Expression(name, str(i), text, ()) for i, text in enumerate(of_video)),
        )
        for name, of_video in texts.items()
    )
    return Split(tmp_path, "valid_u", videos, "0" * 64)


def test_fallback_takes_all_nouns_of_the_video(tmp_path):
    split = split_of(
        tmp_path,
        {
            "v": ["the two dogs", "moving to the left", "a cat", "dog that barks"],
            "w": ["jumping up and down"],
        },
    )
    nouns = RULES.for_split(split)
    assert nouns["v"] == {"0": "dog", "1": "dog. cat", "2": "cat", "3": "dog"}
    assert nouns["w"] == {"0": "object"}
    assert parts("dog. cat") == ["dog", "cat"]
    assert NounFinder("rules", "animal").for_split(split)["w"] == {"0": "animal"}


def test_the_file_can_be_corrected_by_hand(tmp_path):
    split = split_of(tmp_path, {"v": ["the two dogs", "a cat"]})
    path = tmp_path / "nouns.json"
    write_nouns(path, RULES.for_split(split))
    assert '"0": "dog"' in path.read_text().splitlines()[2]  # one line each
    content = json.loads(path.read_text())
    content["v"]["1"] = "kitten"
    path.write_text(json.dumps(content))
    assert read_nouns(path, split) == {"v": {"0": "dog", "1": "kitten"}}
    content["v"] = {"0": " . "}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"(?s)without noun \(2\).*expression 0.*expression 1"):
        read_nouns(path, split)
    content["v"] = {"0": "dog", "1": "caf\udce9"}  # could not be written again
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"without noun \(1\)"):
        read_nouns(path, split)


# ------------------------------------------------------------------------------- the command


def table(tmp_path, *lines):
    path = tmp_path / "nouns.tsv"
    path.write_text("\n".join(["expression\tnoun\tlemma", *lines]) + "\n")
    return path


def test_command_prints_misses_and_the_count(tmp_path, capsys):
    path = table(
        tmp_path,
        "two dogs\tdogs\tdog",
        "jumping around\t\t",
        "a cat\tkitten\tkitten",
        "running away\tcat\tcat",
        "walking off",
        "a dog\u2028barking\x85at\x1cme\tdog\tdog",  # no ends of lines
    )
    assert main(["--tsv", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "a cat: expected kitten (kitten), found cat (cat)",
        "running away: expected cat (cat), found no noun",
        "4/6 correct",
    ]


def test_command_names_a_file_that_is_missing_or_of_another_form(tmp_path, capsys):
    assert main(["--tsv", str(tmp_path / "none.tsv")]) == 1
    assert "none.tsv: no such file" in capsys.readouterr().err
    (tmp_path / "x.tsv").write_text("a,b\n")
    assert main(["--tsv", str(tmp_path / "x.tsv")]) == 1
    assert "x.tsv: expected a tab-separated table" in capsys.readouterr().err


# --------------------------------------------------------------------------------- parsers


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ("(S (NP (DT the) (JJ little) (NN cat)) (VP (VBZ jumps)))", "cat"),
        ("(NP (NP (DT the) (NN man) (POS 's)) (NN hat))", "hat"),
        (
            "(NP (NP (DT the) (JJ front) (NN wheel)) (PP (IN of) (NP (DT the) (NN motorcycle))))",
            "wheel",
        ),
        ("(NP (NP (DT a) (NN group)) (PP (IN of) (NP (NN sheep))))", "sheep"),
        ("(S (VP (VBG jumping) (PP (IN over) (NP (DT the) (NN fence)))))", "fence"),
        ("(S (VP (VBG jumping) (ADVP (RB around))))", None),
        # the highest, not the first: the inner phrase lies deeper on the left
        (
            "(S (PP (IN on) (NP (DT the) (NN left))) (NP (CD two) (NNS dogs)) (VP (VBP bark)))",
            "dogs",
        ),
    ],
)
def test_head_of_the_leftmost_highest_noun_phrase(tree, expected):
    nltk = pytest.importorskip("nltk")
    assert head_of_tree(nltk.Tree.fromstring(f"(TOP {tree})")) == expected


def test_words_as_in_the_treebank():
    assert words_of("The man's hat isn't red-hot.") == [
        "The",
        "man",
        "'s",
        "hat",
        "is",
        "n't",
        "red-hot",
        ".",
    ]


@pytest.fixture(scope="module")
def benepar_model(tmp_path_factory):
    """A tiny random benepar model in the form in which trained ones are published."""
    benepar = pytest.importorskip("benepar")
    import torch
    from benepar import nkutil
    from benepar.parse_chart import ChartParser
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from rvos.nouns.parsers import _special_tokens_method

    assert benepar
    folder = tmp_path_factory.mktemp("benepar_tiny")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "cat", "two", "dogs"]
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    settings = dict(
        d_model=16,
        num_layers=1,
        num_heads=2,
        d_kv=8,
        d_ff=16,
        d_label_hidden=8,
        d_tag_hidden=8,
        relu_dropout=0.0,
        residual_dropout=0.0,
        attention_dropout=0.0,
        morpho_emb_dropout=0.0,
        encoder_max_len=64,
        use_chars_lstm=False,
        use_pretrained=True,
        use_encoder=True,
        predict_tags=True,
        tag_loss_scale=1.0,
        force_root_constituent=True,
        pretrained_model=str(folder),
    )
    labels = {"": 0, "NP": 1, "S": 2, "WHNP": 3, "WHADJP": 4, "SINV": 5, "SQ": 6}
    with _special_tokens_method():
        parser = ChartParser({"UNK": 0, "NN": 1, "DT": 2}, labels, {}, nkutil.HParams(**settings))
    state = parser.state_dict()
    # as models saved by transformers < 4.31 have it
    state["pretrained_model.embeddings.position_ids"] = torch.arange(64)[None]
    torch.save(state, folder / "benepar_model.bin")
    config.benepar = {
        "tag_vocab": {"UNK": 0, "NN": 1, "DT": 2},
        "label_vocab": labels,
        "char_vocab": {},
        "hparams": settings,
    }
    config.save_pretrained(folder)
    return folder


def test_benepar_loads_and_parses(benepar_model):
    """Random weights: the trees mean nothing, but every expression gets a result."""
    finder = NounFinder("benepar", "video", str(benepar_model))
    texts = ["the cat", "two dogs", "a cat and the dogs", "the cat's"]
    first = finder.find(texts)
    assert len(first) == len(texts) and first == finder.find(texts)


@pytest.mark.parametrize(
    ("method", "how"),
    [("benepar", "benepar.download('no_such_model')"), ("spacy", "spacy download no_such_model")],
)
def test_a_missing_model_says_how_to_get_it(method, how):
    pytest.importorskip(method)
    with pytest.raises(InputError) as error:
        NounFinder(method, "video", "no_such_model").find(["a cat"])
    assert how in str(error.value) and "searched" in str(error.value)


def test_spacy_head():
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import Doc

    english = spacy.blank("en")

    def doc(words, pos, heads, deps):
        return Doc(
            english.vocab, words=words.split(), pos=pos.split(), heads=heads, deps=deps.split()
        )

    two = doc("two dogs run", "NUM NOUN VERB", [1, 2, 2], "nummod nsubj ROOT")
    assert head_of_doc(two) == "dogs"
    group = doc("a group of sheep", "DET NOUN ADP NOUN", [1, 1, 1, 2], "det ROOT prep pobj")
    assert head_of_doc(group) == "sheep"
    assert head_of_doc(doc("jumping around", "VERB ADV", [0, 0], "ROOT advmod")) is None


def test_unknown_method():
    with pytest.raises(SettingsError, match="^method: expected rules or benepar or spacy"):
        NounFinder("guess", "video")


def test_the_rules_have_no_model():
    with pytest.raises(SettingsError, match="^model: expected null, since method=rules has none"):
        NounFinder("rules", "video", "en_core_web_lg")
