"""Multi-scale deformable attention (Deformable DETR, equation 3) in plain torch."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rvos.errors import InputError

Sizes = Sequence[tuple[int, int]]  # (h, w) of each level
MMCV_STEP = 64  # the largest im2col_step: mmcv's default
Kernel = Callable[[Tensor, Sizes, Tensor, Tensor], Tensor]


def deform_attn(value: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples of all levels; samples outside a map are zero.

    value (B, S, M, D), S = sum of h * w over levels; sizes: (h, w) of each level;
    locations (B, Q, M, L, P, 2): x, y in 0..1 of the level's map (align_corners false);
    weights (B, Q, M, L, P). Returns (B, Q, M * D). Differentiable in all three tensors. The
    backward pass recomputes the samples, which per level are P times as large as the output.
    """
    batch, _, heads, _ = value.shape
    grid = rearrange(2 * locations - 1, "b q m l p xy -> l (b m) q p xy")
    weights = rearrange(weights, "b q m l p -> l (b m) 1 q p")
    levels = value.split([h * w for h, w in sizes], dim=1)
    out = None
    for level, (h, w) in enumerate(sizes):
        maps = rearrange(levels[level], "b (h w) m d -> (b m) d h w", h=h, w=w)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            part = checkpoint(
                _sample,
                maps,
                grid[level],
                weights[level],
                use_reentrant=False,
                preserve_rng_state=False,
            )
        else:
            part = _sample(maps, grid[level], weights[level])
        out = part if out is None else out + part
    assert out is not None
    return rearrange(out, "(b m) d q -> b q (m d)", b=batch, m=heads)


def _sample(maps: Tensor, grid: Tensor, weights: Tensor) -> Tensor:
    """One level: maps (BM, D, h, w), grid (BM, Q, P, 2), weights (BM, 1, Q, P) -> (BM, D, Q)."""
    samples = F.grid_sample(maps, grid, align_corners=False)  # (BM, D, Q, P)
    return (samples * weights).sum(-1)


def deform_attn_mmcv(value: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
    """The same as `deform_attn`, computed by the compiled op of `mmcv.ops` on a CUDA device."""
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    shapes = torch.tensor(sizes, dtype=torch.long, device=value.device)
    start = F.pad(shapes.prod(1).cumsum(0)[:-1], (1, 0))
    # The kernel asserts that batch % min(batch, step) == 0. A step is the images per launch.
    step = next(step for step in range(MMCV_STEP, 0, -1) if len(value) % step == 0)
    return MultiScaleDeformableAttnFunction.apply(value, shapes, start, locations, weights, step)


def choose_kernel(name: str) -> Kernel:
    """The function of `torch` or `mmcv`. Raises InputError where it cannot be used."""
    if name == "torch":
        return deform_attn
    try:
        import mmcv.ops  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"model.deform_attn=mmcv: mmcv.ops cannot be imported ({error}). Install mmcv with its"
            " compiled ops, or use model.deform_attn=torch"
        ) from error
    return deform_attn_mmcv


class DeformableAttention(nn.Module):
    """Each query attends to a few sampling points per head and level around its reference point.

    Deformable DETR, section 4.1. `kernel`: `torch` or `mmcv`.
    """

    def __init__(self, dim: int, num_heads: int, num_levels: int, num_points: int, kernel: str):
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.kernel = choose_kernel(kernel)
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(dim, samples * 2)
        self.attention_weights = nn.Linear(dim, samples)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Offsets start as rays: each head has a direction, point p lies p + 1 pixels along it."""
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        ray = torch.stack((angle.cos(), angle.sin()), -1)  # (M, 2)
        ray = ray / ray.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, self.num_points + 1)
        offsets = ray[:, None, None, :] * distance[:, None]  # (M, 1, P, 2)
        offsets = offsets.expand(-1, self.num_levels, -1, -1)
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())
        for zero in (self.attention_weights.weight, self.attention_weights.bias):
            nn.init.zeros_(zero)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def sampling(self, query: Tensor, reference: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor]:
        """Locations (B, Q, M, L, P, 2) and weights (B, Q, M, L, P), float32 at least."""
        heads = {"m": self.num_heads, "p": self.num_points}
        offsets = rearrange(
            self.sampling_offsets(query), "b q (m l p xy) -> b q m l p xy", **heads, xy=2
        )
        weights = rearrange(self.attention_weights(query), "b q (m lp) -> b q m lp", m=heads["m"])
        weights = rearrange(weights.softmax(-1), "b q m (l p) -> b q m l p", p=heads["p"])
        reference = reference[:, :, None, :, None]  # (B, Q, 1, L, 1, 2 or 4)
        if reference.shape[-1] == 2:
            wh = reference.new_tensor([(w, h) for h, w in sizes])[:, None]  # (L, 1, 2)
            return reference + offsets / wh, weights
        half = reference[..., 2:] * 0.5  # of the box's width and height
        return reference[..., :2] + offsets / self.num_points * half, weights

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        memory: Tensor,
        sizes: Sizes,
        padding: Tensor | None,
    ) -> Tensor:
        """query (B, Q, C), memory (B, S, C), padding (B, S) bool or None -> (B, Q, C).

        reference (B or 1, Q, L or 1, 2 or 4): x, y (w, h) in 0..1 of the padded map.
        """
        value = self.value_proj(memory)
        if padding is not None:
            value = value.masked_fill(padding[..., None], 0.0)
        value = rearrange(value, "b s (m d) -> b s m d", m=self.num_heads)
        locations, weights = self.sampling(query, reference, sizes)
        value, weights = value.to(locations.dtype), weights.to(locations.dtype)
        out = self.kernel(value, sizes, locations, weights)
        return self.output_proj(out.to(query.dtype))
