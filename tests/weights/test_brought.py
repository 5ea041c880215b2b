"""Weights as people bring them: not numbers, other endings, other files; what a hub may refuse."""

import errno
import os
import ssl
from contextlib import contextmanager
from io import StringIO

import httpx
import numpy as np
import pytest
import requests
import torch
from onnx_file import onnx
from safetensors.torch import load_file, save_file
from small_models import package_model, transformers_model
from test_weights import DINO, Machine, hub  # noqa: F401

from rvos.errors import InputError
from rvos.tracking.sam2_weights import load_edgetam, load_transformers, read_meta_file
from rvos.tracking.small_networks import read_network
from rvos.weights.failures import usable_proxy
from rvos.weights.tensors import check_numbers, read_state
from rvos.weights.whole import lacking


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # PyTorch is to drop them
def test_tensors_that_are_not_numbers_are_named(tmp_path):
    """A run that diverged; -inf is a value where a mask is a buffer, or a maximum of nothing."""
    state = {"a.weight": torch.ones(3), "b.bias": torch.ones(2), "attention_mask": torch.zeros(2)}
    state["attention_mask"][0] = -torch.inf
    state |= {
        "val_metric.min_value": torch.tensor(torch.inf),
        "a.max_val": torch.tensor(-torch.inf),
    }
    torch.save(state, tmp_path / "sound.pth")
    assert read_state(tmp_path / "sound.pth").keys() == state.keys()
    state["a.weight"][1], state["b.bias"][0] = torch.nan, torch.inf
    torch.save({"model": state}, tmp_path / "wrong.pth")
    with pytest.raises(InputError, match=r"(?s)wrong\.pth: tensors .* \(2\):.*a\.weight.*b\.bias"):
        read_state(tmp_path / "wrong.pth")
    check_numbers({"x": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, "x")


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


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_forward_module.model."],
)
@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict", "module"])
def test_a_network_in_its_wrappers(tmp_path, prefix, key):
    """DDP, torch.compile, Fabric, Lightning, DeepSpeed; blocks that were compiled or sharded."""
    names = ["a.weight", "blocks.0._orig_mod.b", "blocks.1._fsdp_wrapped_module.module.b"]
    state = {prefix + name: torch.ones(2) for name in names}
    torch.save({key: state, "epoch": 3}, tmp_path / "x.pth")
    assert [*read_state(tmp_path / "x.pth")] == ["a.weight", "blocks.0.b", "blocks.1.module.b"]


def test_where_a_state_dict_may_be_is_said(tmp_path):
    torch.save({"ema": {"a.weight": torch.ones(2)}, "epoch": 3}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"holds no tensors; a state dict may be in \['ema'\]"):
        read_state(tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"a folder, expected a file of weights; it holds x\.pth"):
        read_state(tmp_path)
    np.savez(tmp_path / "x.npz", a=np.ones(2))
    with pytest.raises(InputError, match=r"a zip file without one data.pkl; it holds \['a.npy'\]"):
        read_state(tmp_path / "x.npz")


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
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an HTML page"),
        (b"\xef\xbb\xbf<head><title>Quota</title></head>", "an HTML page"),
        (b"", "an empty file"),
        (b"\x1f\x8b\x08\0" + bytes(60), "an archive: unpack it"),
        (b"mutr.pth".ljust(257, b"\0") + b"ustar".ljust(255, b"\0"), "an archive: unpack it"),
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
    "a fault of the hub": ((503, None, "maintenance"), "answers 503: maintenance.*start again"),
    "a login that it wants": ((401, None, None), "wants a token"),
    "a proxy that wants a name": ((407, None, "who are you"), "wants a name and password"),
    "something else": ((451, None, "legal reasons"), "refuses it with 451: legal reasons"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_hub_refuses_has_its_cause_and_remedy(tmp_path, hub, name, monkeypatch):  # noqa: F811
    from rvos.weights import hub as fetching

    answer, said = REFUSALS[name]
    hub.refusals = {DINO: answer}
    if name == "an expired token":
        monkeypatch.setenv("HF_TOKEN", "hf_old")
    monkeypatch.setattr(fetching, "endpoint", lambda: hub.address)
    monkeypatch.setattr(fetching._constants(), "HF_HUB_OFFLINE", False)
    with pytest.raises(InputError, match=said) as error:
        fetching.listing(DINO, "main", ["*.json"])
    assert not isinstance(error.value, fetching.Unreachable)
    assert "Traceback" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize(
    "status, said",
    [
        (404, "refuses it with 404"),
        (429, "asks you to wait"),
        (403, "does not give it to you .*: open .*one.pth with a browser"),  # it knows no token
        (502, "answers 502: Bad Gateway. The fault is on its side"),
    ],
)
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


@pytest.mark.parametrize(
    ("content", "said"),
    [(b'{"message": "rate limit"}', "a message came"), (b" \n", "nothing came")],
)
def test_a_message_instead_of_a_file_is_not_kept(tmp_path, hub, monkeypatch, content, said):  # noqa: F811
    """Its hash would be recorded, and no later start would fetch the file."""
    from rvos.weights import hub as fetching

    monkeypatch.setattr(fetching._constants(), "HF_HUB_OFFLINE", False)
    hub.urls["/one.pth"] = content
    with pytest.raises(InputError, match=f"{said} instead of the file.*with a browser"):
        fetching.fetch_url(f"{hub.address}/one.pth", tmp_path / "one.pth")
    assert not any(tmp_path.iterdir())


def test_a_page_in_the_place_of_the_hub_or_of_its_file_is_said(tmp_path, hub, monkeypatch):  # noqa: F811
    from rvos.weights import hub as fetching

    monkeypatch.setattr(fetching, "endpoint", lambda: hub.address)
    monkeypatch.setattr(fetching._constants(), "HF_HUB_OFFLINE", False)
    file = fetching.listing(DINO, "main", ["*.safetensors"]).files[0]
    page = b"<!DOCTYPE html><title>Sign in</title>"
    hub.served = {file.name: page}
    with pytest.raises(InputError, match="a web page came instead of the file"):
        fetching.fetch_file(DINO, "1" * 40, file, tmp_path / "blob")
    hub.served = {file.name: b"\0" * 7}
    with pytest.raises(InputError, match=f"7 of {file.size} bytes came; start again"):
        fetching.fetch_file(DINO, "1" * 40, file, tmp_path / "blob")
    hub.urls[f"/api/models/{DINO}/revision/main"] = page
    with pytest.raises(InputError, match="is not the hub but some other page.*HF_ENDPOINT"):
        fetching.listing(DINO, "main", ["*.json"])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://nowhere.invalid", "nowhere.invalid: .*no such host, or no network"),
        ("hub.example.org", ".*an address begins with http: HF_ENDPOINT"),
    ],
)
def test_a_connection_that_fails_has_its_host_and_remedy(monkeypatch, address, said):
    from rvos.weights import hub as fetching

    monkeypatch.setenv("NO_PROXY", "localhost")  # no proxy of this name
    monkeypatch.setattr(fetching, "endpoint", lambda: address)
    monkeypatch.setattr(fetching._constants(), "HF_HUB_OFFLINE", False)
    with pytest.raises(
        fetching.Unreachable, match=rf"{address} cannot be reached \({said}"
    ) as error:
        fetching.listing(DINO, "main", ["*.json"])
    assert "Errno" not in str(error.value) and "by the proxy" not in str(error.value)


def test_a_certificate_and_a_full_disk_have_their_remedies(tmp_path, monkeypatch):
    from rvos.weights import hub as fetching

    monkeypatch.setattr(fetching._constants(), "HF_HUB_OFFLINE", False)
    with pytest.raises(fetching.Unreachable, match="verify failed; SSL_CERT_FILE names"):
        with fetching.explained("https://host/one.pth", None):
            raise ssl.SSLCertVerificationError(1, "certificate verify failed")
    with pytest.raises(InputError, match="cannot be written to one.part: File too large"):
        with fetching.explained("https://host/one.pth", None):
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), "one.part")
    monkeypatch.setenv("SSL_CERT_FILE", "/none.pem")
    with pytest.raises(InputError, match="^the server: SSL_CERT_FILE=/none.pem names no file$"):
        with usable_proxy("the server"):
            httpx.Client()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/none.pem")
    with pytest.raises(fetching.Unreachable, match="/none.pem; REQUESTS_CA_BUNDLE, or .* no file"):
        with fetching.explained("https://host/one.pth", None):
            requests.get("https://localhost:9")


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
    from rvos.weights.failures import cause

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    assert cause(OSError("refused")) == "refused"
    monkeypatch.setenv("https_proxy", "http://user:word@proxy:3128")
    assert cause(OSError("refused")) == "refused; by the proxy http://proxy:3128"


@pytest.mark.parametrize(
    ("kind", "remedy"), [("socks5", "httpx[socks]"), ("socks4", "Unknown scheme for proxy")]
)
def test_a_socks_proxy_names_its_package(tmp_path, hub, kind, remedy):  # noqa: F811
    machine = Machine(tmp_path, hub.address)
    said = machine.weights("get", DINO, status=1, ALL_PROXY=f"{kind}://user:word@127.0.0.1:9")
    assert remedy in said and "word" not in said and "Traceback" not in said


def test_nothing_is_locked_where_nothing_is_fetched(tmp_path, hub):  # noqa: F811
    """A cache that another user has filled, in which this one cannot write."""
    machine = Machine(tmp_path, hub.address)
    machine.weights("get", DINO)
    patch = "from rvos.weights import hub\ndef locked(folder): raise SystemExit('locked')\n"
    said = machine.patched(patch + "hub.locked = locked", "get", DINO)
    assert str(machine.snapshot()) in said
    (machine.storage() / "rvos.json").unlink()  # as another program leaves a cache
    said = machine.patched(patch + "hub.locked = locked", "get", DINO)
    assert str(machine.snapshot()) in said
    (machine.snapshot() / "config.json").unlink()
    assert "locked" in machine.patched(patch + "hub.locked = locked", "get", DINO, status=1)


@contextmanager
def closed(folder):
    """A folder that somebody else has closed; root, who may read all, is nobody meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0)
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(os.getuid())
        folder.chmod(0o755)


def test_a_cache_that_somebody_else_has_closed(tmp_path, monkeypatch, capsys):
    """Its path and the way out are said; other rows, and doctor's other findings, stay."""
    from rvos.app import doctor
    from rvos.app import weights as command
    from rvos.weights import hub as fetching
    from rvos.weights import local

    monkeypatch.setattr(fetching, "cache_folder", lambda: tmp_path / "hub")
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path / "weights"))
    dino, said = local.find(DINO), "cannot be read: Permission denied. Choose a cache of your own"
    with closed(tmp_path / "hub"):
        with pytest.raises(InputError, match=rf"{tmp_path}/hub/models--IDEA.*: {said}"):
            local.here(dino)
        here, text = command.state_of(dino)
        assert not here and said in text
    monkeypatch.setenv("RVOS_DATA", str(tmp_path / "data" / "mevis"))
    list(doctor.findings())  # imports what it asks, which may be closed to the other user as well
    with closed(tmp_path / "data"):
        found = {finding.what: finding.detail for finding in doctor.findings()}
        assert "data/mevis cannot be read: Permission denied" in found["data"]
        assert {"weights of the hub", "demo's weights"} <= found.keys()


def test_a_lock_that_is_somebody_elses_is_named(tmp_path):
    from rvos.weights import hub as fetching

    (tmp_path / ".rvos.lock").mkdir()  # cannot be opened, as root cannot be kept from a file
    with pytest.raises(InputError, match=r"\.rvos\.lock: cannot be written.*a cache of your own"):
        with fetching.locked(tmp_path):
            pass


def test_without_links_weights_need_twice_the_room(tmp_path, hub):  # noqa: F811
    """A snapshot then copies its blobs: 3 MB of weights do not fit into 5 MB."""
    patch = (
        "import shutil, types, huggingface_hub.file_download as f\n"
        "f.are_symlinks_supported = lambda folder: {}\n"
        "shutil.disk_usage = lambda p: types.SimpleNamespace(free=5_000_000)"
    )
    machine = Machine(tmp_path, hub.address)
    said = machine.patched(patch.format(False), "get", DINO, status=1)
    assert "6 MB are needed, 5 MB are free" in said
    assert str(machine.snapshot()) in machine.patched(patch.format(True), "get", DINO)


@pytest.mark.parametrize("columns", [80, 40])
def test_the_names_to_type_are_whole_in_a_narrow_terminal(columns):
    from rich.console import Console

    from rvos.app.weights import WEIGHTS, show

    console = Console(width=columns, file=StringIO())
    show(console)
    assert [name for name in WEIGHTS if f"│ {name} " not in console.file.getvalue()] == []
