"""Weights as people bring them: not numbers, other endings, other files; what a hub may refuse."""

import os

import numpy as np
import pytest
import torch
from onnx_file import onnx
from safetensors.torch import load_file, save_file
from small_models import package_model, transformers_model
from test_weights import DINO, Machine, hub  # noqa: F401

from rvos.errors import InputError
from rvos.tracking.sam2_weights import load_edgetam, load_transformers, read_meta_file
from rvos.tracking.small_networks import read_network
from rvos.weights.tensors import read_state
from rvos.weights.whole import lacking


def test_tensors_that_are_not_numbers_are_named(tmp_path):
    """A run that diverged; -inf is a value where a mask is a buffer."""
    state = {"a.weight": torch.ones(3), "b.bias": torch.ones(2), "attention_mask": torch.zeros(2)}
    state["attention_mask"][0] = -torch.inf
    torch.save(state, tmp_path / "sound.pth")
    assert read_state(tmp_path / "sound.pth").keys() == state.keys()
    state["a.weight"][1], state["b.bias"][0] = torch.nan, torch.inf
    torch.save({"model": state}, tmp_path / "wrong.pth")
    with pytest.raises(InputError, match=r"(?s)wrong\.pth: tensors .* \(2\):.*a\.weight.*b\.bias"):
        read_state(tmp_path / "wrong.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("name", ["bn.running_var", "pos_embed", "head.weight"])
def test_numbers_of_any_kind_in_any_tensor(tmp_path, dtype, name):
    """Buffers count, and files of safetensors; an optimizer's state is no weight."""
    value = torch.ones(2, dtype=dtype)
    torch.save({"model": {name: value}, "optimizer": torch.tensor(torch.nan)}, tmp_path / "a.pth")
    assert read_state(tmp_path / "a.pth")[name].equal(value)
    value[1] = torch.nan if dtype == torch.float8_e4m3fn else 70_000.0 * 1e35  # beyond its range
    save_file({name: value}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=rf"not numbers .* \(1\):\n  {name}$"):
        read_state(tmp_path / "a.safetensors")


def test_a_network_of_transformers_with_a_tensor_that_is_not_numbers(tmp_path):
    transformers_model(package_model()).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    name = next(name for name in sorted(state) if name.endswith("weight"))
    state[name].view(-1)[0] = torch.nan
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"(?s)not numbers.*{name}"):
        load_transformers(str(tmp_path))


@pytest.mark.parametrize("place", [4, 9])  # as numbers, as bytes
def test_small_networks_with_a_tensor_that_is_not_numbers(tmp_path, place):
    weights, bias = np.ones((4, 3, 3, 3), np.float32), np.zeros(4, np.float32)
    path = tmp_path / "small.onnx"
    path.write_bytes(onnx(weights, bias, place=place))
    network = read_network(path)
    network.setInput(np.ones((1, 3, 8, 8), np.float32))
    assert (network.forward() == 27).all()
    weights[1, 2, 0, 0] = np.nan
    path.write_bytes(onnx(weights, bias, place=place))
    with pytest.raises(
        InputError, match=r"(?s)small\.onnx: .*not numbers \(NaN, inf\) \(1\):\n  w"
    ):
        read_network(path)
    bias[0] = np.inf
    path.write_bytes(onnx(np.ones((4, 3, 3, 3)), bias, place=place))
    with pytest.raises(InputError, match=r"not numbers \(NaN, inf\) \(1\):\n  b"):
        read_network(path)
    path.write_bytes(onnx(np.ones((4, 3, 3, 3)), bias, place=place, constant=True))
    with pytest.raises(InputError, match=r"not numbers \(NaN, inf\) \(1\):\n  a constant"):
        read_network(path)


@pytest.mark.parametrize("name", ["sam2.safetensors", "sam2.ckpt", "SAM2.PT", "sam2.bin"])
def test_metas_weights_in_every_layout(tmp_path, name):
    state = {key: value.clone() for key, value in package_model().state_dict().items()}
    if name.endswith("safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save({"model": state}, tmp_path / name)
    found = read_meta_file(tmp_path / name)
    assert found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)


def test_the_file_of_a_folder_names_the_folder(tmp_path):
    transformers_model(package_model()).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="give the folder that has config.json"):
        load_transformers(str(tmp_path / "model.safetensors"))
    with pytest.raises(InputError, match="got a file"):
        load_edgetam(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>please log in</html>", "an HTML page"),
        (b"\n <HTML><body>Sign in</body></HTML>", "an HTML page"),
    ],
)
def test_what_stands_in_the_place_of_weights_is_said(tmp_path, content, said):
    (tmp_path / "mutr.pth").write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_state(tmp_path / "mutr.pth")
    assert "weights_only" not in str(error.value)
    transformers_model(package_model()).save_pretrained(tmp_path / "sam2")
    (tmp_path / "sam2" / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=f"model.safetensors, which is .*{said}"):
        load_transformers(str(tmp_path / "sam2"))
    (tmp_path / "small.onnx").write_bytes(content)
    with pytest.raises(InputError, match=rf"small\.onnx: no weights but .*{said}"):
        read_network(tmp_path / "small.onnx")
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes(content)
    absent = lacking(tmp_path, "roberta")
    assert len(absent) == 3 and all(said in text for text in absent)


REFUSALS = {
    "an expired token": ((401, None, "Invalid credentials in Authorization header"), "hf auth log"),
    "a request under review": ((403, "GatedRepo", "awaiting a review from the authors"), "review"),
    "a token without the right": ((403, None, "your token lacks a scope"), "your token may read"),
    "too many requests": ((429, None, "slow down"), "asks you to wait"),
    "a fault of the hub": ((503, None, "maintenance"), "answers 503: .*maintenance"),
    "a proxy that wants a name": ((407, None, "who are you"), "wants a name and password"),
    "something else": ((451, None, "legal reasons"), "refuses it with 451: legal reasons"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_hub_refuses_has_its_cause_and_remedy(tmp_path, hub, name, monkeypatch):  # noqa: F811
    from rvos.weights import hub as fetching

    answer, said = REFUSALS[name]
    hub.refusals = {DINO: answer}
    monkeypatch.setattr(fetching, "endpoint", lambda: hub.address)
    monkeypatch.setattr(fetching._constants(), "HF_HUB_OFFLINE", False)
    with pytest.raises(InputError, match=said) as error:
        fetching.listing(DINO, "main", ["*.json"])
    assert "Traceback" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize("status, said", [(404, "refuses it with 404"), (429, "asks you to wait")])
def test_what_another_server_refuses_is_its_answer_and_not_the_networks(
    tmp_path,
    hub,  # noqa: F811
    monkeypatch,
    status,
    said,
):
    """A file with an address of its own, such as a release of GitHub."""
    from rvos.weights import hub as fetching

    monkeypatch.setattr(fetching._constants(), "HF_HUB_OFFLINE", False)
    hub.refusals = {"one.pth": (status, None, None)}
    with pytest.raises(InputError, match=f"^{hub.address}/one.pth: {hub.address} {said}") as error:
        fetching.fetch_url(f"{hub.address}/one.pth", tmp_path / "one.pth")
    assert not isinstance(error.value, fetching.Unreachable) and not any(tmp_path.iterdir())


def test_a_slow_proxy_has_the_time_that_huggingface_hub_is_given(tmp_path, hub, monkeypatch):  # noqa: F811
    """It answers after 0.6 s: too late for a limit of 0.2 s, and in time for one of 20 s."""
    from rvos.weights import hub as fetching

    monkeypatch.setattr(fetching, "endpoint", lambda: hub.address)
    monkeypatch.setattr(fetching._constants(), "HF_HUB_OFFLINE", False)
    hub.delay = 0.6
    monkeypatch.setattr(fetching._constants(), "HF_HUB_ETAG_TIMEOUT", 0.2)
    with pytest.raises(fetching.Unreachable, match="timed out"):
        fetching.listing(DINO, "main", ["*.json"])
    monkeypatch.setattr(fetching._constants(), "HF_HUB_ETAG_TIMEOUT", 20)
    assert fetching.listing(DINO, "main", ["*.json"]).files


def test_hosts_without_a_proxy_are_no_proxy(monkeypatch):
    """Clusters set no_proxy, which Python lists among the proxies."""
    from rvos.weights import hub as fetching

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    assert fetching._in_a_line(OSError("refused")) == "refused"
    monkeypatch.setenv("https_proxy", "http://user:word@proxy:3128")
    assert fetching._in_a_line(OSError("refused")) == "refused; by the proxy http://proxy:3128"


def test_a_socks_proxy_names_its_package(tmp_path, hub):  # noqa: F811
    machine = Machine(tmp_path, hub.address)
    said = machine.weights("get", DINO, status=1, ALL_PROXY="socks5://user:word@127.0.0.1:9")
    assert "httpx[socks]" in said and "word" not in said and "Traceback" not in said


def test_nothing_is_locked_where_nothing_is_fetched(tmp_path, hub):  # noqa: F811
    """A cache that another user has filled, in which this one cannot write."""
    machine = Machine(tmp_path, hub.address)
    machine.weights("get", DINO)
    patch = "from rvos.weights import hub\ndef locked(folder): raise SystemExit('locked')\n"
    said = machine.patched(patch + "hub.locked = locked", "get", DINO)
    assert str(machine.snapshot()) in said
    (machine.snapshot() / "config.json").unlink()
    assert "locked" in machine.patched(patch + "hub.locked = locked", "get", DINO, status=1)
