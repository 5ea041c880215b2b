"""The official state dict and ours, both ways, for every backbone of the manifest."""

import json

import pytest
import torch
from mutr_case import settings

from rvos import InputError
from rvos.mutr import MUTR
from rvos.mutr.checkpoint import from_official, guess_backbone, to_official


def meta_model(backbone: str, **changes) -> MUTR:
    values = settings({"backbone": backbone}) | changes
    del values["weights"], values["backbone_weights"]
    with torch.device("meta"):
        return MUTR(**values)


def manifest_shapes(manifest: dict, backbone: str) -> dict[str, list]:
    rows = [*manifest["common"], *manifest["models"][backbone]]
    return {key: [shape, dtype] for key, shape, dtype in rows}


def described(state: dict) -> dict[str, list]:
    return {k: [list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in state.items()}


def test_state_dict(golden_file):
    manifest = json.loads(golden_file.read_text())
    for backbone in manifest["models"]:
        model = meta_model(backbone)
        expected = manifest_shapes(manifest, backbone)
        official = to_official(model)
        assert described(official) == expected, backbone
        back = from_official(official, model)
        assert described(back) == described(model.state_dict()), backbone
        assert guess_backbone(official) == (backbone.removesuffix("_p4w7"), [])
        total = manifest["parameters"][backbone]
        assert sum(p.numel() for p in model.parameters()) == total["total"]
        pooler = sum(p.numel() for p in model.text.roberta.pooler.parameters())  # gets no gradient
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert trainable + pooler == total["trainable"]


def test_variants(golden_file):
    manifest = json.loads(golden_file.read_text())
    full = manifest_shapes(manifest, "resnet50")
    for name, changes in (
        ("no_box_refine", {"box_refine": False}),
        ("no_rel_coord", {"rel_coord": False}),
    ):
        variant = manifest["variants"][name]
        model = meta_model("resnet50", text_layers=2, **changes)
        # the manifest's variants list what a golden (2-layer) text encoder lacks as missing too
        expected = {k: v for k, v in full.items() if k not in variant["missing"]}
        expected |= {key: [shape, dtype] for key, shape, dtype in variant["reshaped"]}
        ours = described(to_official(model))
        text = "text_encoder."
        assert {k: v for k, v in ours.items() if not k.startswith(text)} == {
            k: v for k, v in expected.items() if not k.startswith(text)
        }


def test_values_travel_both_ways(golden_file):
    """Every official tensor ends where it came from; tied ones are one tensor in ours."""
    manifest = json.loads(golden_file.read_text())
    text_config = {
        "hidden_size": 768,
        "num_hidden_layers": 2,
        "num_attention_heads": 12,
        "intermediate_size": 1024,
        "vocab_size": 1000,
        "max_position_embeddings": 66,
    }
    values = settings({"backbone": "swin_t"}, text_config)
    del values["weights"], values["backbone_weights"]
    model = MUTR(**values)
    rows = [row for row in manifest["common"] if not row[0].startswith("text_encoder.")]
    rows += manifest["golden_text_encoder"] + manifest["models"]["swin_t_p4w7"]
    first = {key: group[0] for group in manifest["tied"] for key in group}
    numbers = {key: float(index) for index, (key, _, _) in enumerate(rows)}
    index = "relative_position_index"  # follows from the architecture
    state = {
        key: torch.full(shape, numbers[first.get(key, key)])
        for key, shape, _ in rows
        if index not in key
    }
    constants = {key: value for key, value in to_official(model).items() if index in key}
    model.load_state_dict(from_official(state | constants, model))
    exported = to_official(model)
    assert exported.keys() == state.keys() | constants.keys()
    assert all(torch.equal(exported[key], state[key]) for key in state)


def test_misfit_is_named(golden_file):
    model = meta_model("resnet50")
    state = to_official(meta_model("resnet101"))
    del state["query_embed.weight"]
    state["controller.layers.0.bias"] = torch.zeros(7)
    with pytest.raises(InputError) as error:
        from_official(state, model)
    message = str(error.value)
    assert "missing: query_embed.weight (5, 256)" in message
    assert "controller.layers.0.bias is (7,), expected (256,)" in message
    assert "unexpected: backbone.0.body.layer3.6" in message
