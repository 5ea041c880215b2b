"""A training step equals the official one: losses, matching, gradients."""

import json

import numpy as np
import pytest
import torch
from mutr_case import (
    assert_close,
    assert_probe,
    build,
    features,
    fill,
    mix_clips_in_mti,
)
from torch import nn

from rvos.mutr.checkpoint import official_name
from rvos.mutr.losses import MutrLoss, Targets

MULTIPLE = 32  # training pads to multiples of this


def batch_targets(config: dict) -> Targets:
    videos = config["videos"]
    height, width = (-(-max(v[i] for v in videos) // MULTIPLE) * MULTIPLE for i in (1, 2))
    clips = [
        fill.targets(t, h, w, seed, valid)
        for (t, h, w, _), (seed, valid) in zip(videos, config["targets"], strict=True)
    ]
    masks = torch.zeros(len(clips), videos[0][0], height, width, dtype=torch.bool)
    for row, clip in zip(masks, clips, strict=True):
        h, w = clip["masks"].shape[-2:]
        row[:, :h, :w] = clip["masks"]
    return Targets(
        masks=masks,
        boxes=torch.stack([clip["boxes"] for clip in clips]),
        valid=torch.stack([clip["valid"] for clip in clips]).bool(),
    )


def without_dropout(model: nn.Module) -> None:
    """Dropout and stochastic depth 0, as in the golden cases."""
    for module in model.modules():
        for name in ("p", "dropout", "drop_prob", "attn_drop"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """Official name as the golden data registers it -> gradient."""
    found = {}
    for own, parameter in model.named_parameters():
        if parameter.grad is not None:
            name = official_name(own)
            if name.startswith("bbox_embed.") and model.box_refine:
                name = f"transformer.decoder.{name}"
            found[name] = parameter.grad
    return found


@pytest.mark.slow
def test_train(golden_case):
    file, name = golden_case
    content = json.loads(file.read_text())
    case, config = content["cases"][name], content["cases"][name]["config"]
    model = build(config, content["text_config"]).train()
    without_dropout(model)
    mix_clips_in_mti(model, len(config["videos"]))
    targets = batch_targets(config)
    predictions = model.forward_pairs(*features(model, config, MULTIPLE))
    weights = {key.removeprefix("loss_"): case["weight_dict"][key] for key in case["weight_dict"]}
    loss = MutrLoss(**{key: weights[key] for key in ("ce", "bbox", "giou", "mask", "dice")})(
        predictions, targets, float(targets.valid.sum())
    )
    loss.total.backward()

    check_predictions(file, name, predictions)
    levels = ["final", *(f"aux{i}" for i in range(len(loss.query) - 1))]
    for level, query in zip(levels, loss.query.roll(1, 0), strict=True):
        assert [[q] for q in query.tolist()] == case["matched_query"][level], level
    assert loss.parts.keys() == case["losses"].keys()
    for key, value in case["losses"].items():
        assert loss.parts[key].item() == pytest.approx(value, rel=3e-5), key
    assert loss.total.item() == pytest.approx(case["total"], rel=1e-5)
    check_gradients(model, case)


def check_predictions(file, name, predictions):
    arrays = np.load(file.with_suffix(".npz"))
    num_frames = predictions.boxes.shape[2]
    logits = predictions.logits[:, :, None].expand(-1, -1, num_frames, -1, -1).detach()
    if f"{name}.pred_masks" not in arrays.files:
        return  # of `.per_clip` cases only losses and gradients are stored
    for key, ours, bound in (
        ("pred_logits", logits, 2e-5),
        ("pred_boxes", predictions.boxes.detach(), 5e-6),
    ):
        reference = arrays[f"{name}.{key}"]
        assert ours.shape == reference.shape, key
        assert np.abs(ours.numpy() - reference).max() <= bound, key
    final = predictions.mask_logits[-1].detach()
    assert_close("pred_masks", final, arrays[f"{name}.pred_masks"], rel=2e-5)


def check_gradients(model, case):
    grads = gradients(model)
    total = torch.stack([grad.norm() for grad in grads.values()]).norm().item()
    assert total == pytest.approx(case["grad_norm_total"], rel=5e-4)
    assert set(case["grad_norms"]) == set(grads)
    negligible = 1e-5 * case["grad_norm_total"]
    for key, norm in case["grad_norms"].items():
        if norm > negligible:
            assert grads[key].norm().item() == pytest.approx(norm, rel=2e-3), key
    for key, probe in case["grad_probes"].items():
        assert_probe(key, grads[key], probe, rel=2e-3, moments=False)
