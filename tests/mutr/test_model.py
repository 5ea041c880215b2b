"""Batches, sizes, precisions, switches: one answer however it is asked for."""

import pytest
import torch
from tiny_mutr import SENTENCES, close, frames, tiny

from rvos import InputError, SettingsError
from rvos.mutr.backbones.resnet import SpaceTime
from rvos.mutr.build import load_model

SIZE = (64, 96)


def predict(model, clips, sentences, **options):
    with torch.no_grad():
        return model(model.encode_video(clips), model.encode_text(sentences), **options)


def fields(predictions):
    return {"logits": predictions.logits, "boxes": predictions.boxes} | {
        "masks": predictions.mask_logits,
        "states": predictions.decoder_states,
    }


def test_expressions_of_one_video_equal_each_alone(model):
    clip = frames(1, 3, 3, *SIZE)
    together = fields(predict(model, clip, SENTENCES, masks="all"))
    for index, sentence in enumerate(SENTENCES):
        alone = fields(predict(model, clip, [sentence], masks="all"))
        for name, value in alone.items():
            assert close(together[name][index], value[0]), name


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_clips_of_one_size_equal_each_alone(mode):
    """Captions of different length in one batch included. Train mode: dropout of tiny is 0."""
    clips = frames(3, 3, 3, *SIZE)
    model = tiny().train(mode == "train")
    with torch.no_grad():
        together = model.forward_clips(clips, None, SENTENCES)
        for index, sentence in enumerate(SENTENCES):
            alone = model.forward_clips(clips[index : index + 1], None, [sentence])
            for name in ("logits", "boxes", "mask_logits"):
                assert close(getattr(together, name)[:, index], getattr(alone, name)[:, 0]), name


def test_pairs_equal_each_alone(model):
    clips = frames(3, 3, 3, *SIZE)
    together = fields(predict(model, clips, SENTENCES, masks="all"))
    for index, sentence in enumerate(SENTENCES):
        alone = fields(predict(model, clips[index : index + 1], [sentence], masks="all"))
        for name, value in alone.items():
            assert close(together[name][index], value[0]), name


def test_padding_of_a_clip_changes_only_what_norms_and_convolutions_mix(model):
    """The padded clip's own size enters the masks' coordinates: not the padded one."""
    clip = torch.zeros(1, 2, 3, 96, 128)
    clip[..., :64, :96] = frames(1, 2, 3, 64, 96)
    padding = torch.ones(1, 96, 128, dtype=torch.bool)
    padding[:, :64, :96] = False
    assert model.encode_video(clip, padding).frame_size.tolist() == [[96, 64]]
    assert model.encode_video(clip).frame_size.tolist() == [[128, 96]]


def test_chosen_mask_is_that_of_the_best_query(model):
    clip = frames(1, 3, 3, *SIZE)
    every = predict(model, clip, SENTENCES, masks="all")
    chosen = predict(model, clip, SENTENCES)
    assert chosen.query.tolist() == every.scores.argmax(-1).tolist()
    for index, query in enumerate(chosen.query):
        assert close(chosen.mask_logits[index, :, 0], every.mask_logits[index, :, query])
    assert predict(model, clip, SENTENCES, masks="none").mask_logits is None


def test_scores_of_a_whole_video_are_those_of_a_clip_for_one_clip(model):
    predictions = predict(model, frames(1, 5, 3, *SIZE), SENTENCES[:1])
    with torch.no_grad():
        assert close(model.score_queries(predictions.decoder_states), predictions.scores)
        twice = predictions.decoder_states.repeat(1, 2, 1, 1)
        assert model.score_queries(twice).shape == predictions.scores.shape


def test_last_heads_are_those_of_training(model):
    """`heads=last` is the final level of the training forward (one window: no shift to differ)."""
    clip = frames(1, 3, 3, *SIZE)
    last = predict(model, clip, SENTENCES[:1], masks="all", heads="last")
    with torch.no_grad():
        levels = model.forward_clips(clip, None, SENTENCES[:1])
    assert close(last.logits, levels.logits[-1])
    assert close(last.boxes, levels.boxes[-1])
    assert close(last.mask_logits, levels.mask_logits[-1])
    upstream = predict(model, clip, SENTENCES[:1])
    assert not close(upstream.boxes, last.boxes)


@pytest.mark.parametrize(
    ("num_frames", "size", "words"), [(1, (64, 96), 3), (2, (75, 109), 1), (5, (50, 33), 100)]
)
def test_any_length_size_and_caption(num_frames, size, words):
    model = tiny(max_tokens=110)
    out = predict(model, frames(1, num_frames, 3, *size), [" ".join(["circle"] * words)])
    height, width = (-(-side // 4) for side in size)
    assert out.mask_logits.shape == (1, num_frames, 1, height, width)
    assert out.mask_logits.isfinite().all()


def test_refusals(model):
    with pytest.raises(InputError, match="7x8 positions, at least 8x8"):
        model.encode_video(frames(1, 1, 3, 28, 32))
    with pytest.raises(InputError, match="expression 1 of 2 is empty"):
        model.encode_text(["circle", "  "])
    with pytest.raises(InputError, match="2 videos and 3 expressions"):
        predict(model, frames(2, 1, 3, *SIZE), SENTENCES)


@pytest.mark.parametrize(
    "key, value, expected",
    [
        (
            "backbone",
            "resnet18",
            "one of resnet50, resnet101, .* or the dotted name of a class of your own",
        ),
        ("deform_attn", "cuda", "torch or mmcv"),
        ("num_levels", 3, "4"),
        ("hidden_dim", 100, "a multiple of 32"),
        ("num_heads", 7, "a divisor of hidden_dim=64"),
        ("text_heads", 5, "a divisor of text_dim=64"),
    ],
)
def test_a_network_that_cannot_be_is_said_in_one_line(key, value, expected):
    with pytest.raises(SettingsError, match=f"^model.{key}: expected {expected}, got {value!r}$"):
        tiny(**{key: value})


def test_float64_and_bfloat16(model):
    clip = frames(1, 3, 3, *SIZE)
    single = predict(model, clip, SENTENCES[:1], masks="all")
    double = predict(tiny().double(), clip.double(), SENTENCES[:1], masks="all")
    assert double.mask_logits.dtype == torch.float64
    assert close(single.mask_logits.double(), double.mask_logits)
    with torch.autocast("cpu", torch.bfloat16):
        half = predict(model, clip, SENTENCES[:1], masks="all")
    assert half.mask_logits.dtype == torch.float32
    assert close(half.mask_logits, single.mask_logits, rel=0.1)


def test_long_inputs_pass_feed_forward_layers_in_parts(model, monkeypatch):
    clip = frames(1, 3, 3, *SIZE)
    whole = predict(model, clip, SENTENCES[:1])
    monkeypatch.setattr("rvos.mutr.attention.CHUNK", 100)
    assert close(predict(model, clip, SENTENCES[:1]).mask_logits, whole.mask_logits)


def test_checkpointing_changes_no_gradient(monkeypatch):
    monkeypatch.setattr("rvos.mutr.attention.CHUNK", 100)  # so that layers pass in several parts
    grads = []
    for switch in (False, True):
        model = tiny(checkpoint_backbone=switch, checkpoint_encoder=switch).train()
        levels = model.forward_clips(frames(1, 2, 3, *SIZE), None, SENTENCES[:1])
        (levels.mask_logits.square().mean() + levels.logits.sum() + levels.boxes.sum()).backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        assert torch.allclose(grads[1][name], grad, rtol=1e-5, atol=1e-7), name


def test_only_the_pooler_is_without_gradient():
    model = tiny().train()
    levels = model.forward_clips(frames(1, 2, 3, *SIZE), None, SENTENCES[:1])
    (levels.mask_logits.sum() + levels.logits.sum() + levels.boxes.sum()).backward()
    idle = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert not idle
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {f"text.roberta.pooler.dense.{part}" for part in ("weight", "bias")}
    frozen = {
        n for n, p in tiny(freeze_text_encoder=True).named_parameters() if not p.requires_grad
    }
    assert frozen == {n for n, _ in model.named_parameters() if n.startswith("text.roberta.")}


def test_folded_mask_head_equals_the_plain_one(model):
    """Independent reference: concatenate features and coordinates, filter position by position."""
    head, dim = model.mask_head, model.mask_head.dim
    maps, queries = frames(2, dim, 8, 9), frames(1, 3, dim, seed=2)
    reference = frames(1, 2, 3, 2, seed=3).sigmoid()
    size = torch.tensor([[36.0, 32.0]])
    with torch.no_grad():
        ours = head(maps, queries, reference, size)
        params = head.controller(queries)[0]
        features = head.features(maps)
        for t in range(2):
            for m in range(3):
                w0, w1, w2, b0, b1, b2 = params[m].split(head.split)
                for y, x in ((0, 0), (3, 8), (7, 4)):
                    point = reference[0, t, m] * size[0] - torch.tensor([4.0 * x + 2, 4.0 * y + 2])
                    hidden = torch.cat((features[t, :, y, x], point))
                    hidden = (w0.view(8, -1) @ hidden + b0).relu()
                    hidden = (w1.view(8, 8) @ hidden + b1).relu()
                    value = (w2 @ hidden + b2)[0]
                    assert close(ours[0, t, m, y, x], value, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_encoder_and_deformable_attention_are_one_graph(backend):
    """Captured whole by torch.compile: `fullgraph` raises at the first break. One layer, since each
    is compiled by itself."""
    model = tiny(encoder_layers=1)
    video, text = model.encode_video(frames(1, 2, 3, *SIZE)), model.encode_text(SENTENCES[:1])
    compiled = tiny(encoder_layers=1)
    compiled.encoder.compile(fullgraph=True, backend=backend)
    with torch.no_grad():
        assert close(compiled(video, text).mask_logits, model(video, text).mask_logits)


def test_convolutions_over_time_stay_float32_under_a_cpus_autocast():
    """In bfloat16 their gradients may be NaN there; on a GPU they follow autocast."""
    torch.manual_seed(0)
    part = SpaceTime(16)
    torch.nn.init.normal_(part.mix[-1].weight)
    given = []
    for module in part.mix:
        if isinstance(module, torch.nn.Conv3d):
            module.register_forward_hook(lambda m, before, after: given.append(after.dtype))
    x = torch.randn(4, 16, 6, 8).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = part(x.bfloat16(), batch=2)
    assert given == [torch.float32] * 4
    assert close(found.float(), part(x.bfloat16().float(), batch=2), rel=1e-5)
    assert part.double()(x.double(), batch=2).dtype == torch.float64


def test_all_wrong_settings_are_said_at_once():
    with pytest.raises(InputError) as error:
        load_model("mutr_tiny", hidden_dim="x", dropout=1, rel_coord=0)
    assert list(error.value.messages) == [
        "model.hidden_dim: expected a multiple of 32, got 'x'",
        "model.dropout: expected a number >= 0 and < 1, got 1",
        "model.rel_coord: expected true or false, got 0",
    ]
    with pytest.raises(InputError, match="no such key: num_querys"):
        load_model("mutr_tiny", num_querys=3)
