"""Whole videos against the reference's own inference loop: clip plans, queries, scores, masks."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from mutr_case import build, fill

from rvos.coarse.clips import cut, released_script_lengths
from rvos.coarse.segment import segment_clips
from rvos.coarse.settings import CoarseSettings
from rvos.data.frames import fit, normalise, resize_frame
from rvos.masks import decode

SAMPLING = {"interleaved": ("strided", "per_clip"), "no_sampling": ("contiguous", "long_term")}
MAX_PIXELS, MAX_SCORE = 3, 1e-5  # README.md, tolerances


class GoldenFrames:
    """The case's frames, which are already normalised, at its input size."""

    def __init__(self, config):
        self.frames = fill.video(config["frames"], *config["input_size"], config["video_seed"])
        self.original_size = tuple(config["original_size"])

    def __len__(self):
        return len(self.frames)

    def clip(self, frame_idx, device):
        return self.frames[list(frame_idx)].to(device)


def settings_for(mode, config, **changes):
    sampling, query = SAMPLING[mode]
    values = {"sampling": sampling, "query": query, "clip_length": config["sub_video_len"]}
    return CoarseSettings.preset("mutr", **values | changes)


@cache
def load(golden_file):
    content = json.loads(golden_file.read_text())
    config = {"backbone": "resnet50", **content["config"]}
    return content, build(config, content["text_config"])


def answers(golden_file, mode, plans):
    content, model = load(golden_file)
    config = content["config"]

    def encode_text(idx):
        captions = [config["captions"][i] for i in idx]
        ids, attended = fill.pad_ids([fill.token_ids(n, seed=seed) for n, seed in captions])
        return model.encode_tokens(ids, attended == 0)

    return segment_clips(
        model, GoldenFrames(config), encode_text, plans, settings_for(mode, config)
    )


def check(found, expected, size):
    assert [len(clip.frame_idx) for clip in found.clips] == [c["frames"] for c in expected["clips"]]
    assert [clip.query for clip in found.clips] == [clip["query"] for clip in expected["clips"]]
    for clip, wanted in zip(found.clips, expected["clips"], strict=True):
        assert clip.scores == pytest.approx(wanted["scores"], abs=MAX_SCORE)
    if "long_term" in expected:
        assert found.long_term.query == expected["long_term"]["query"]
        wanted = expected["long_term"]["scores"]
        assert found.long_term.scores == pytest.approx(wanted, abs=MAX_SCORE)
    assert len(found.track) == len(expected["rle_counts"])
    for t, (mask, counts) in enumerate(zip(found.track, expected["rle_counts"], strict=True)):
        wanted = decode({"size": size, "counts": counts})
        pixels = np.zeros_like(wanted) if mask is None else decode(mask)
        assert (pixels != wanted).sum() <= MAX_PIXELS, f"frame {t}"


@pytest.mark.parametrize("mode", SAMPLING)
def test_fixed_clips(golden_file, mode):
    content, _ = load(golden_file)
    config, expected = content["config"], content["modes"][mode]
    clips = cut(config["frames"], config["sub_video_len"], SAMPLING[mode][0])
    first, *later = answers(golden_file, mode, [clips] * len(config["captions"]))
    check(first, expected["first_expression"], content["rle_size"])
    for found, wanted in zip(later, expected["later_expressions_fresh"], strict=True):
        check(found, wanted, content["rle_size"])


@pytest.mark.parametrize("mode", SAMPLING)
def test_released_script(golden_file, mode):
    content, _ = load(golden_file)
    config, expected = content["config"], content["modes"][mode]
    sampling, _ = SAMPLING[mode]
    video = (config["frames"], len(config["captions"]))
    (lengths,) = released_script_lengths([video], config["sub_video_len"], sampling)
    plans = [cut(config["frames"], length, sampling) for length in lengths]
    first, *later = answers(golden_file, mode, plans)
    check(first, expected["first_expression"], content["rle_size"])
    for found, wanted in zip(later, expected["later_expressions_as_upstream"], strict=True):
        check(found, wanted, content["rle_size"])


def test_preprocess(probed_file):
    content = json.loads(probed_file.read_text())
    short_side = settings_for("interleaved", content["config"]).short_side
    for size, probe in content["preprocess"].items():
        height, width = (int(side) for side in size.split("x"))
        image = fill.image_u8(height, width, probe["seed"])
        resized = resize_frame(image, fit((height, width), short_side))
        frame = normalise(torch.from_numpy(resized.copy()).permute(2, 0, 1))  # (3, h, w)
        expected = probe["out"]
        found = fill.summarize(frame, len(expected["values"]))
        assert found["shape"] == expected["shape"], size
        scale = max(abs(expected["min"]), abs(expected["max"]))
        assert found["values"] == pytest.approx(expected["values"], abs=1e-5 * scale), size
        assert found["abs_sum"] == pytest.approx(expected["abs_sum"], rel=1e-5), size
