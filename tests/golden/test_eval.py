"""Evaluation mode equals the official model, stage by stage."""

import json

import numpy as np
import pytest
import torch
from einops import rearrange, repeat
from mutr_case import assert_close, assert_probe, build, clips, mix_clips_in_mti, words

from rvos.mutr.pixel_decoder import as_maps


@pytest.fixture(scope="module")
def model_of():
    """The last model is kept: cases of one file mostly share it."""
    kept = {}

    def get(config, text_config):
        key = json.dumps([config["backbone"], config.get("extra"), config["param_seed"]])
        if key not in kept:
            kept.clear()
            kept[key] = build(config, text_config).eval()
        return kept[key]

    return get


def load(golden_case):
    file, case = golden_case
    content = json.loads(file.read_text())
    arrays = np.load(file.with_suffix(".npz"))
    prefix = f"{case}."
    arrays = {k.removeprefix(prefix): arrays[k] for k in arrays.files if k.startswith(prefix)}
    return content["text_config"], content["cases"][case], arrays


@torch.no_grad()
def test_eval(golden_case, model_of):
    text_config, case, arrays = load(golden_case)
    config = case["config"]
    model = model_of(config, text_config)
    batch, num_frames = len(config["videos"]), config["videos"][0][0]
    seen = {}
    hooks = [
        module.register_forward_hook(lambda _m, args, out, name=name: seen.update({name: out}))
        for name, module in model.named_modules()
    ]
    known_hooks = set(model.mti._forward_pre_hooks)
    mix_clips_in_mti(model, batch)
    try:
        video = model.encode_video(*clips(config))
        text = model.encode_tokens(*words(config))
        full = model(video, text, masks="all")
    finally:
        for hook in hooks:
            hook.remove()
        for key in set(model.mti._forward_pre_hooks) - known_hooks:
            del model.mti._forward_pre_hooks[key]
    stages = dict(computed_stages(model, video, text, seen, num_frames))
    for name, reference in case["stats"].items():
        if name == "controller.out":
            continue  # theirs is repeated over frames with clips mixed; pred_masks depend on ours
        assert_probe(name, stages[name], reference)

    suffix = ".per_clip" if "pred_masks.per_clip" in arrays else ""
    logits = repeat(full.logits, "b n k -> b t n k", t=num_frames)
    assert_close("mti_out", seen["mti"][None], arrays["mti_out"], rel=2e-5)
    assert_close("text_resized", text.words, arrays["text_resized"], rel=2e-5)
    assert np.abs(logits.numpy() - arrays["pred_logits" + suffix]).max() <= 2e-5
    assert np.abs(full.boxes.numpy() - arrays["pred_boxes" + suffix]).max() <= 5e-6
    references = seen["decoder"].references
    assert np.abs(references.numpy() - arrays["inter_references"]).max() <= 5e-6
    points = rearrange(references[-2, ..., :2], "(b t) n xy -> b t n xy", b=batch)
    assert np.abs(points.numpy() - arrays["reference_points"]).max() <= 5e-6
    assert_close("pred_masks", full.mask_logits, arrays["pred_masks" + suffix], rel=2e-5)


def computed_stages(model, video, text, seen, num_frames):
    """The names of the golden README -> our tensors in its layouts."""
    batch = len(text)
    frames = {"t": num_frames}

    def maps(tokens, size):
        return rearrange(tokens, "b t (h w) c -> (b t) c h w", h=size[0])

    def per_frame(x, size):  # (B or 1, h w, ...) -> (B T, ...)
        return repeat(x.expand(batch, *x.shape[1:]), "b ... -> (b t) ...", **frames)

    for level, x in enumerate(seen["backbone"]):
        yield f"backbone.feat{level}", x
        size = video.sizes[level]
        positions = per_frame(video.positions[level], size)
        yield f"backbone.pos{level}", as_maps(positions, size)
        if (padding := video.paddings[level]) is not None:
            yield f"backbone.mask{level}", per_frame(padding, size).float()
    roberta = seen["text.roberta"]
    yield "text.last_hidden_state", roberta.last_hidden_state
    yield "text.resized", text.words
    yield "text.resized#1", model.text.norm(model.text.projection(roberta.pooler_output))
    yield "text.pos", rearrange(text.positions, "b l c -> b c l")

    sentence = text.words  # the model takes the first word only, the golden data all
    for level, (keys_values, padding) in enumerate(zip(video.mta, video.mta_padding, strict=True)):
        sentence = model.mta(sentence, text.positions, keys_values, padding)
        yield "mta.out" + (f"#{level}" if level else ""), rearrange(sentence, "b l c -> l b c")
    yield "decoder.tgt", seen["mta"][:, 0]

    sizes = video.pyramid.sizes
    for level, (tokens, size) in enumerate(zip(video.tokens, sizes, strict=True)):
        flat = model.fusion(tokens.flatten(1, 2), text.words, text.positions, text.padding)
        yield f"fused.src{level}", maps(rearrange(flat, "b (t s) c -> b t s c", **frames), size)
    lengths = [h * w for h, w in sizes]
    last = video.pyramid.positions.split(lengths, 1)[-1]
    yield "fused.pos3", as_maps(per_frame(last, sizes[-1]), sizes[-1])
    for index in range(len(model.encoder.layers)):
        yield f"encoder.layer{index}", seen[f"encoder.layers.{index}"]
    memory = rearrange(seen["encoder"], "(b t) s c -> b t s c", **frames).split(lengths, 2)
    for level in range(3):
        yield f"encoder.memory{level}", maps(memory[level], sizes[level])
    decoded = seen["decoder"]
    yield "decoder.init_reference", decoded.initial
    yield "decoder.hs", decoded.states
    yield "decoder.inter_references", decoded.references
    yield "hs_box_returned", rearrange(decoded.states, "d (b t) n c -> d t b n c", **frames)
    yield "mti.out", seen["mti"][None]
    for level in range(4):
        smooth = seen[f"pixel_decoder.levels.{level}.smooth_norm"]
        yield f"pixel_decoder.level{level + 1}", smooth.relu()
    yield "pixel_decoder.out", model.mask_head.features(seen["pixel_decoder"])
