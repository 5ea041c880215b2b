"""The kernel against loops over single samples; the compiled kernel's arguments."""

import math
import sys
import types

import torch
from tiny_mutr import close, frames, tiny

from rvos.mutr.deform_attn import DeformableAttention, deform_attn

SIZES = [(3, 4), (2, 2)]


def inputs():
    value = frames(1, 16, 2, 3)  # S = 12 + 4, two heads
    locations = 1.4 * torch.rand(1, 5, 2, 2, 4, 2) - 0.2  # partly outside
    return value, locations, torch.rand(1, 5, 2, 2, 4)


def bilinear(grid: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """grid (h, w, D) at x, y in pixels (centre of the first: 0.5); zero outside."""
    x, y = x - 0.5, y - 0.5
    total = torch.zeros(grid.shape[-1])
    for j in (math.floor(y), math.floor(y) + 1):
        for i in (math.floor(x), math.floor(x) + 1):
            if 0 <= j < grid.shape[0] and 0 <= i < grid.shape[1]:
                total += (1 - abs(x - i)) * (1 - abs(y - j)) * grid[j, i]
    return total


def test_against_loops():
    value, locations, weights = inputs()
    out = deform_attn(value, SIZES, locations, weights).view(5, 2, 3)
    levels = value[0].split([h * w for h, w in SIZES])
    for query in range(5):
        for head in range(2):
            expected = torch.zeros(3)
            for level, (h, w) in enumerate(SIZES):
                grid = levels[level][:, head].view(h, w, 3)
                for point in range(4):
                    x, y = locations[0, query, head, level, point].tolist()
                    sample = bilinear(grid, x * w, y * h)
                    expected += weights[0, query, head, level, point] * sample
            assert close(out[query, head], expected)


def test_mmcv_gets_its_arguments_in_order(monkeypatch):
    """A stand-in with the signature of mmcv's autograd function, computed by our kernel."""

    class MultiScaleDeformableAttnFunction:
        @staticmethod
        def apply(
            value,
            value_spatial_shapes,
            value_level_start_index,
            sampling_locations,
            attention_weights,
            im2col_step,
        ):
            assert value_spatial_shapes.tolist() == [[3, 4], [2, 2]]
            assert value_level_start_index.tolist() == [0, 12]
            batch = len(value)  # as ms_deform_attn_cuda.cu checks it
            assert 0 < im2col_step <= 64 and batch % min(batch, im2col_step) == 0
            sizes = [tuple(row) for row in value_spatial_shapes.tolist()]
            return deform_attn(value, sizes, sampling_locations, attention_weights)

    ops = types.ModuleType("mmcv.ops")
    module = types.ModuleType("mmcv.ops.multi_scale_deform_attn")
    module.MultiScaleDeformableAttnFunction = MultiScaleDeformableAttnFunction
    monkeypatch.setitem(sys.modules, "mmcv", types.ModuleType("mmcv"))
    monkeypatch.setitem(sys.modules, "mmcv.ops", ops)
    monkeypatch.setitem(sys.modules, "mmcv.ops.multi_scale_deform_attn", module)
    torch.manual_seed(0)
    attention = DeformableAttention(8, 2, 2, 4, "mmcv")
    torch.manual_seed(0)
    plain = DeformableAttention(8, 2, 2, 4, "torch")
    for batch in (1, 30, 64, 67, 70, 128):  # 67 is a prime
        query, memory = frames(batch, 5, 8), frames(batch, 16, 8, seed=2)
        reference = torch.rand(batch, 5, 2, 2)
        with torch.no_grad():
            ours = attention(query, reference, memory, SIZES, None)
            assert close(ours, plain(query, reference, memory, SIZES, None))


def test_mmcv_missing_is_named():
    import pytest

    from rvos import InputError

    with pytest.raises(InputError, match="mmcv.ops cannot be imported"):
        tiny(deform_attn="mmcv")
