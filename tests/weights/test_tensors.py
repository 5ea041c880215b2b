"""Checkpoints as other programs write them, with what they keep beside the tensors."""

import argparse
import collections
import pathlib
import sys
import types

import numpy as np
import pytest
import torch
from tiny_mutr import tiny, tiny_settings

from rvos import InputError
from rvos.app.checkpoint import main as checkpoint_command
from rvos.app.weights import fits
from rvos.mutr import build_mutr
from rvos.mutr.checkpoint import load_weights, to_official
from rvos.tracking.sam2_package import load_package
from rvos.tracking.sam2_weights import load_transformers, read_meta_file
from rvos.weights.tensors import read_content, read_state


class CfgNode(dict):
    """Stands where yacs' class stands: pickles name it, this machine does not have it."""


@pytest.fixture
def yacs(monkeypatch):
    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    module = types.ModuleType("yacs.config")
    module.CfgNode = CfgNode
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    config = CfgNode(MODEL=CfgNode(NAME="swin"), TAG="default")
    config.__dict__["__immutable__"] = True
    return config


def save(content, path, *, legacy):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)


def official(model, prefix=""):
    """What the official training script keeps: all of it, of a training that has begun."""
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = {prefix + name: value for name, value in to_official(model).items()}
    state[f"{prefix}total_ops"] = state[f"{prefix}input_proj.0.0.total_params"] = torch.zeros(1)
    options = argparse.Namespace(
        lr=1e-4,
        output_dir=pathlib.Path("out"),
        lr_drop=[3, 5],
        seed=np.int64(42),
        scale=np.float64(0.5),
        sizes=np.arange(3),
        nested=argparse.Namespace(backbone="swin_l_p4w7"),
        counts=collections.Counter([1]),
        device=torch.device("cpu"),
    )
    return {
        "model": state,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "epoch": 1,
        "args": options,
    }


def same(a, b) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_files_of_mutr(tmp_path, legacy, prefix, capsys):
    model = tiny(seed=2)
    path = tmp_path / "checkpoint.pth"
    save(official(model, prefix), path, legacy=legacy)
    with pytest.raises(Exception, match="argparse.Namespace"):  # torch's own reader refuses it
        torch.load(path, weights_only=True)
    other = tiny(seed=1)
    load_weights(other, path)
    assert same(other, model)
    assert same(build_mutr(**tiny_settings(weights=str(path))), model)
    assert checkpoint_command([str(path)]) == 0
    assert "all keys fit" in capsys.readouterr().out
    assert "for coarse.checkpoint or model.weights" in str(fits(path))


@pytest.mark.parametrize("legacy", [True, False])
def test_a_bare_state_dict(tmp_path, legacy):
    model = tiny(seed=2)
    save(to_official(model), tmp_path / "bare.pth", legacy=legacy)
    other = tiny(seed=1)
    load_weights(other, tmp_path / "bare.pth")
    assert same(other, model)


def test_backbone_files_hold_their_programs_settings(tmp_path, yacs):
    """yacs' CfgNode (Swin); numpy's scalars and text in `meta` (mmcv: video Swin)."""
    from torchvision.models import resnet50

    state = resnet50().state_dict()
    beside = {"config": yacs, "max_accuracy": np.float64(81.3), "optimizer": {"step": np.int64(3)}}
    save({"model": state, **beside}, tmp_path / "yacs.pth", legacy=False)
    beside = {"meta": {"epoch": np.int32(30), "mmcv_version": "1.2", "hook": collections.deque()}}
    save({"meta": beside, "state_dict": state}, tmp_path / "mmcv.pth", legacy=True)
    for name in ("yacs", "mmcv"):
        assert (
            str(fits(tmp_path / f"{name}.pth")) == "backbone resnet50, for model.backbone_weights"
        )
        found = read_state(tmp_path / f"{name}.pth")
        assert all(torch.equal(found[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ("name", "legacy", "wrap"),
    [
        ("sam2.1_hiera_tiny.pt", False, lambda state: {"model": state}),
        ("fine-tuned.pth", True, lambda state: {"model": state, "args": argparse.Namespace(a=1)}),
        ("bare.pth", False, lambda state: {f"module.{k}": v for k, v in state.items()}),
    ],
)
def test_files_of_metas_package(tmp_path, name, legacy, wrap, monkeypatch):
    from small_models import TINY, package_model

    package = package_model()
    path = tmp_path / name
    save(wrap(package.state_dict()), path, legacy=legacy)
    state = read_meta_file(path)
    assert state.keys() == package.state_dict().keys()
    monkeypatch.setattr("rvos.tracking.sam2_weights.size_of", lambda state: TINY)
    loaded = load_transformers(str(path)).state_dict()
    assert torch.equal(loaded["no_memory_embedding"], state["no_mem_embed"])
    monkeypatch.setattr("rvos.tracking.sam2_package.size_of", lambda state: TINY)
    monkeypatch.setattr("rvos.tracking.sam2_package.build_package", lambda _: package_model(seed=1))
    assert same(load_package(str(path)), package)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_every_kind_of_tensor(tmp_path, legacy, protocol):
    """Views, parameters, types of numbers, empty and shared ones: as torch's own reader gives."""
    base = torch.arange(24.0).reshape(2, 3, 4)
    content = {
        "view": base[1, :, ::2],
        "turned": base.permute(2, 0, 1),
        "shared": base,
        "parameter": torch.nn.Parameter(base),
        "buffer": torch.nn.Buffer(base + 1),
        "empty": torch.zeros(0, 3),
        "number": torch.tensor(3),
        "expanded": torch.ones(1).expand(5),
    }
    types_of = (torch.bfloat16, torch.float16, torch.float64, torch.uint8, torch.int16, torch.bool)
    content |= {str(kind): base.to(kind) for kind in (*types_of, torch.complex64, torch.uint16)}
    content["torch.float8"] = base.to(torch.float8_e4m3fn)
    marked = torch.nn.Parameter(base * 2)
    marked.note = "with an attribute"
    content["marked"] = marked
    path = tmp_path / "kinds.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    found = read_content(path)
    assert found.keys() == content.keys()
    for name, value in content.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        assert (
            found[name].view(torch.uint8).equal(value.detach().view(torch.uint8))
            if (value.is_contiguous() and value.ndim)
            else torch.equal(found[name], value)
        ), name
    plain = {"a": [1, 2.5, "x", None, True, (1, 2), b"y"], "type": torch.float16}
    save(plain, path, legacy=legacy)
    found = read_content(path)
    assert found["type"] == torch.float16 and found["a"][:6] == plain["a"][:6]


@pytest.mark.parametrize("legacy", [True, False])
def test_a_whole_network_is_named(tmp_path, legacy):
    save(torch.nn.Linear(2, 2), tmp_path / "whole.pth", legacy=legacy)
    with pytest.raises(InputError, match=r"holds a 'torch.nn.modules.linear.Linear', expected a"):
        read_state(tmp_path / "whole.pth")


def test_damage_is_said_in_one_plain_line(tmp_path):
    for legacy in (True, False):
        path = tmp_path / f"{'legacy' if legacy else 'zip'}.pth"
        save(official(tiny()), path, legacy=legacy)
        whole = path.read_bytes()
        for size in (0, 3, 40, 5_000, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(InputError) as error:
                read_state(path)
            said = str(error.value)
            assert str(path) in said and "\n" not in said and "\x1b" not in said, said
            assert "weights_only" not in said and "fetch it again" in said, said
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(InputError, match="damaged: the checksum of .*fetch it again"):
        read_state(path)
    path.write_text("<!DOCTYPE html><title>Google Drive - Quota exceeded</title>")
    with pytest.raises(InputError, match="an HTML page"):
        read_state(path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(InputError, match="a TorchScript program"):
        read_state(path)


def test_an_official_file_is_no_run_to_resume(tmp_path):
    from rvos.train.run import check_fits

    save(official(tiny()), tmp_path / "checkpoint.pth", legacy=True)
    with pytest.raises(InputError, match="of another program.*model.weights=.*checkpoint.pth"):
        check_fits(tmp_path / "checkpoint.pth", None, None)  # told before either is looked at
