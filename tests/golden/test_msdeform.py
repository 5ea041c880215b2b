"""Multi-scale deformable attention equals the official one, gradients included."""

import json

import numpy as np
import torch
from mutr_case import assert_close, assert_probe, fill

from rvos.mutr.deform_attn import DeformableAttention, deform_attn

REL = 1e-5


def tensor(name: str, shape: tuple, seed: int) -> torch.Tensor:
    return torch.from_numpy(fill.noise(name, shape, seed)).float()


def test_msdeform(golden_case):
    file, name = golden_case
    case = json.loads(file.read_text())["cases"][name]
    arrays = np.load(file.with_suffix(".npz"))
    expected = {
        k.removeprefix(f"{name}."): arrays[k] for k in arrays.files if k.startswith(f"{name}.")
    }
    sizes = [tuple(size) for size in case["spatial_shapes"]]
    check = check_core if name == "core" else check_module
    check(name, case, sizes, expected)


def check_core(name, case, sizes, expected):
    seed, total = case["seed"], sum(h * w for h, w in sizes)
    value = tensor("core/value", (2, total, 2, 8), seed).requires_grad_()
    noise = fill.noise("core/loc", (2, 6, 2, 2, 3, 2), seed)
    locations = torch.from_numpy(0.5 * noise + 0.5).float().requires_grad_()
    weights = tensor("core/att", (2, 6, 2, 2, 3), seed).requires_grad_()
    out = deform_attn(value, sizes, locations, weights)
    out.backward(tensor("core/grad", tuple(out.shape), seed))
    assert_close("output", out.detach(), expected["output"], rel=REL)
    for key, leaf in (("value", value), ("loc", locations), ("att", weights)):
        assert_close(key, leaf.grad, expected[f"grad_{key}"], rel=REL)


def check_module(name, case, sizes, expected):
    seed, total, levels = case["seed"], sum(h * w for h, w in sizes), len(sizes)
    module = DeformableAttention(256, 8, levels, 4, "torch")
    fill.fill_(module, seed, lambda own: f"msdeform.{own}")
    query = tensor("msdeform/query", (2, 7, 256), seed).requires_grad_()
    memory = tensor("msdeform/input", (2, total, 256), seed).requires_grad_()
    axes = 2 if name.endswith("2") else 4
    reference = 0.35 * fill.noise("msdeform/ref", (2, 7, levels, axes), seed) + 0.5
    if axes == 4:
        wh = fill.noise("msdeform/wh", (2, 7, levels, 2), seed)
        reference[..., 2:] = 0.3 * np.abs(wh) + 0.05
    reference = torch.from_numpy(reference).float().requires_grad_()
    padding = torch.cat([padded(h, w) for h, w in sizes])
    padding = torch.stack((torch.zeros_like(padding), padding))
    locations, weights = module.sampling(query, reference, sizes)
    assert_close("locations", locations.detach(), expected["sampling_locations"], rel=REL)
    assert_close("weights", weights.detach(), expected["attention_weights"], rel=REL)
    out = module(query, reference, memory, sizes, padding)
    out.backward(tensor("msdeform/grad", tuple(out.shape), seed))
    assert_close("output", out.detach(), expected["output"], rel=REL)
    assert_close("grad_query", query.grad, expected["grad_query"], rel=REL)
    assert_close("grad_reference", reference.grad, expected["grad_reference"], rel=REL)
    grads = {key: p.grad for key, p in module.named_parameters()} | {"input": memory.grad}
    stored = [summaries for key, summaries in case.items() if key.startswith("grad")]
    assert stored, "the case stores gradients of the parameters"
    for summaries in stored:
        if "shape" in summaries:
            assert_probe("input", memory.grad, summaries, rel=REL, moments=False)
            continue
        for key, summary in summaries.items():
            assert_probe(key, grads[key], summary, rel=REL, moments=False)


def padded(h: int, w: int) -> torch.Tensor:
    """(h w,) bool: the last columns of a level, as the golden README has them."""
    mask = torch.zeros(h, w, dtype=torch.bool)
    mask[:, -max(1, w // 4) :] = True
    return mask.flatten()
