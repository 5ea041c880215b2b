"""Every backbone alone equals the official one."""

import json

import pytest
import torch
from einops import repeat
from mutr_case import assert_probe, fill, without_random_values

from rvos.mutr.backbones import build_backbone
from rvos.mutr.checkpoint import official_name
from rvos.mutr.pixel_decoder import as_maps
from rvos.mutr.positions import sine_map

POSITION_CHANNELS = 256


@pytest.mark.slow
@torch.no_grad()
def test_backbones(golden_case):
    file, name = golden_case
    case = json.loads(file.read_text())["cases"][name]
    with without_random_values():
        backbone = build_backbone(name, checkpointing=False).eval()
    fill.fill_(backbone, case["param_seed"], lambda own: official_name(f"backbone.{own}"))
    assert sum(p.numel() for p in backbone.parameters()) == case["params"]
    assert list(backbone.channels) == case["num_channels"]
    for run in case["runs"].values():
        num_frames, height, width = run["input"]
        video = fill.video(num_frames, height, width, run["video_seed"])
        maps = backbone(video[None])
        for level, x in enumerate(maps):
            assert_probe(f"{name} feature {level}", x, run["features"][level], rel=2e-5)
            mask = torch.zeros(1, *x.shape[-2:], dtype=torch.bool)
            positions = as_maps(sine_map(mask, POSITION_CHANNELS), x.shape[-2:])
            positions = repeat(positions, "1 c h w -> t c h w", t=num_frames)
            assert_probe(f"{name} position {level}", positions, run["positions"][level])
