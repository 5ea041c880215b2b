"""ImageNet and Kinetics files into a backbone: names as published, values at their places."""

import json
import re

import pytest
import torch
import torchvision
from made_data import REPOSITORY
from tiny_mutr import tiny_settings

from rvos import InputError
from rvos.app.weights import fits
from rvos.mutr import build_mutr
from rvos.mutr.checkpoint import to_official

MANIFEST = REPOSITORY / "tests" / "golden" / "state_dict_manifest.json"
BODY = "backbone.0.body."


def build(backbone, path, **changes):
    return build_mutr(**tiny_settings(backbone=backbone, backbone_weights=str(path), **changes))


def official_body(backbone):
    """{name: tensor of random numbers} as the official code names the backbone's parameters."""
    rows = json.loads(MANIFEST.read_text())["models"][f"{backbone}_p4w7"]
    generator = torch.Generator().manual_seed(0)
    return {
        name.removeprefix(BODY): torch.randn(shape, generator=generator)
        for name, shape, dtype in rows
        if name.startswith(BODY) and dtype == "float32"
    }


def check(model, expected):
    found = to_official(model)
    for name, value in expected.items():
        assert torch.equal(found[BODY + name], value), name


def test_torchvisions_resnet(tmp_path):
    torch.manual_seed(0)
    state = torchvision.models.resnet50().state_dict()  # with fc and num_batches_tracked
    state["bn1.running_mean"] = torch.randn(64)
    torch.save(state, tmp_path / "resnet50.pth")
    found = build("resnet50", tmp_path / "resnet50.pth").backbone.body.state_dict()
    assert found.keys() == {k for k in state if "fc." not in k and "num_batches" not in k}
    assert all(torch.equal(found[name], state[name]) for name in found)
    assert fits(tmp_path / "resnet50.pth").backbone == "resnet50"


def test_swin(tmp_path):
    """The file has a norm and a head at the end; MUTR's norms on the outputs stay as they were."""
    body = official_body("swin_t")
    state = {name: value for name, value in body.items() if not re.match(r"norm\d", name)}
    beside = {"norm.weight": 768, "norm.bias": 768, "head.weight": 1000, "head.bias": 1000}
    more = {name: torch.ones(size) for name, size in beside.items()}
    more["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    torch.save({"model": state | more}, tmp_path / "swin.pth")
    model = build("swin_t", tmp_path / "swin.pth")
    check(model, state)
    assert all((norm.weight == 1).all() for norm in model.backbone.norms)
    assert fits(tmp_path / "swin.pth").backbone == "swin_t"
    with pytest.raises(InputError, match=r"does not fit model.backbone \(\d+\):\n +missing: "):
        build("swin_s", tmp_path / "swin.pth")
    del state["layers.3.blocks.1.mlp.fc2.bias"]
    state["layers.4.x"] = state.pop("patch_embed.proj.bias")
    torch.save({"model": state}, tmp_path / "swin.pth")
    with pytest.raises(InputError) as error:
        build("swin_t", tmp_path / "swin.pth")
    for line in (
        "missing: patch_embed.proj.bias",
        "missing: layers.3.bl",
        "unexpected: layers.4.x",
    ):
        assert line in str(error.value)


def test_video_swin(tmp_path):
    """A patch spans two frames in the file, and the sum of both in one frame here."""
    body = official_body("video_swin_t")
    state = {re.sub(r"^downsamples\.(\d)", r"layers.\1.downsample", n): v for n, v in body.items()}
    patch = body["patch_embed.proj.weight"]  # (96, 3, 1, 4, 4)
    state["patch_embed.proj.weight"] = torch.cat([patch - 2, torch.full_like(patch, 2)], 2)
    state = {f"backbone.{name}": value for name, value in state.items()}
    state |= {"backbone.norm.weight": torch.ones(768), "cls_head.fc_cls.bias": torch.ones(400)}
    torch.save({"state_dict": state}, tmp_path / "video.pth")
    model = build("video_swin_t", tmp_path / "video.pth")
    rest = {name: value for name, value in body.items() if name != "patch_embed.proj.weight"}
    check(model, rest)
    summed = to_official(model)[f"{BODY}patch_embed.proj.weight"]
    torch.testing.assert_close(summed, patch, rtol=0, atol=1e-6)
    assert fits(tmp_path / "video.pth").backbone == "video_swin_t"


def test_one_of_the_two(tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match="model.backbone_weights: expected null beside weights=x.pth"
    ):
        build("swin_t", "y.pth", weights="x.pth")
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match="python -m rvos weights get backbone_swin_t"):
        build("swin_t", "backbone_swin_t")
