"""Files: official and own, prefixes, leftovers of old versions, damage, wrong models."""

import pytest
import torch
from tiny_mutr import tiny

from rvos import InputError
from rvos.app.checkpoint import main
from rvos.mutr.checkpoint import load_weights, save_official, to_official


def same(a, b) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


def test_official_file_travels_both_ways(tmp_path, model):
    save_official(model, tmp_path / "weights.pth")
    other = tiny(seed=1)
    assert not same(other, model)
    load_weights(other, tmp_path / "weights.pth")
    assert same(other, model)
    assert other.text.word_tokenizer.words() == model.text.word_tokenizer.words()
    assert [f.name for f in tmp_path.iterdir()] == ["weights.pth"]


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "model.module."])
@pytest.mark.parametrize("official", [True, False])
def test_prefixes_and_leftovers(tmp_path, model, prefix, official):
    state = to_official(model) if official else model.state_dict()
    text = "text_encoder" if official else "text.roberta"
    state = {prefix + name: value for name, value in state.items()}
    state[f"{prefix}{text}.embeddings.position_ids"] = torch.arange(5)[None]
    key = "state_dict" if prefix == "model." else "model"
    torch.save({key: state, "epoch": 3}, tmp_path / "file.pth")
    other = tiny(seed=1)
    load_weights(other, tmp_path / "file.pth")
    assert same(other, model)


def test_wrong_model_is_named(tmp_path, model):
    save_official(model, tmp_path / "tiny.pth")
    other = tiny(num_queries=7)
    with pytest.raises(InputError) as error:
        load_weights(other, tmp_path / "tiny.pth")
    message = str(error.value)
    assert "query_embed.weight is (5, 64), expected (7, 64)" in message
    assert "backbone resnet10_video" in message and "5 queries" in message


def test_truncated_and_foreign_files_are_named(tmp_path, model):
    path = tmp_path / "cut.pth"
    save_official(model, path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match="cut.pth: not a readable checkpoint of 20000 bytes"):
        load_weights(model, path)
    with pytest.raises(InputError, match="no such checkpoint"):
        load_weights(model, tmp_path / "none.pth")
    torch.save({"model": {"epoch": 3}}, tmp_path / "empty.pth")
    with pytest.raises(InputError, match="holds no tensors"):
        load_weights(model, tmp_path / "empty.pth")


class Command:
    """Something a checkpoint must not be able to run."""

    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path, model, capsys):
    torch.save({"model": Command()}, tmp_path / "code.pth")
    with pytest.raises(InputError, match="holds no tensors|expected a state dict"):
        load_weights(model, tmp_path / "code.pth")
    assert "executed" not in capsys.readouterr().out


def test_command_tells_what_a_file_is(tmp_path, model, capsys):
    save_official(model, tmp_path / "good.pth")
    assert main([str(tmp_path / "good.pth")]) == 0
    told = capsys.readouterr().out
    assert "official MUTR, backbone resnet10_video, box refinement on, 1 classes, 5 queries" in told
    assert "all keys fit" in told
    state = to_official(model)
    state["class_embed.0.weight"] = torch.zeros(1, 63)
    state["stray"] = torch.zeros(2)
    del state["mti.decoder_norm.bias"]
    torch.save(state, tmp_path / "bad.pth")
    assert main([str(tmp_path / "bad.pth")]) == 1
    told = capsys.readouterr().out
    assert "class_embed.0.weight is (1, 63), expected (1, 64)" in told
    assert "missing: mti.decoder_norm.bias" in told and "unexpected: stray" in told
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    assert main([str(tmp_path / "other.pth")]) == 1


def test_without_box_refinement(tmp_path):
    model = tiny(box_refine=False)
    save_official(model, tmp_path / "plain.pth")
    assert main([str(tmp_path / "plain.pth")]) == 0
    other = tiny(seed=1, box_refine=False)
    load_weights(other, tmp_path / "plain.pth")
    assert same(other, model)
