"""Dynamic mask head (CondInst; Tian et al., ECCV 2020): every query predicts three 1x1 filters.

The first filter reads the pixel decoder's features after one more 3x3 convolution, and the distance
to the query's reference point in pixels. That convolution and the first filter are both linear, so
they are folded into one 3x3 convolution with `channels` outputs per query. For one query this takes
1/32 of the arithmetic and stores neither the 256-channel features nor their copies per query; the
results differ by rounding only.
"""

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from rvos.mutr.attention import MLP

STRIDE = 4


class MaskHead(nn.Module):
    """Features of the pixel decoder and queries -> mask logits at stride 4.

    `channels`: outputs of the first two filters. `rel_coord`: the first filter also reads the
    distance to the query's reference point. `split`: sizes of w0, w1, w2, b0, b1, b2 in the output
    of the controller.
    """

    def __init__(self, dim: int, channels: int, rel_coord: bool):
        super().__init__()
        self.dim, self.channels, self.rel_coord = dim, channels, rel_coord
        self.features = nn.Conv2d(dim, dim, 3, padding=1)
        nn.init.kaiming_uniform_(self.features.weight, a=1)
        nn.init.zeros_(self.features.bias)
        inputs = dim + 2 * rel_coord
        self.split = (channels * inputs, channels**2, channels, channels, channels, 1)
        self.controller = MLP(dim, dim, sum(self.split), 3)
        for layer in self.controller.layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Tensor, queries: Tensor, reference: Tensor, size: Tensor) -> Tensor:
        """Mask logits (B, T, M, h, w) float32 at stride 4.

        maps (B T, C, h, w) of the pixel decoder; queries (B, M, C): M is any number of clip
        queries, of one or of several levels; reference (B, T, M, 2) x, y in 0..1 of the clip's
        unpadded size (B, 2), width and height in pixels.
        """
        params = self.controller(queries)
        with torch.autocast(maps.device.type, enabled=False):  # pixel coordinates need the bits
            params = params.to(torch.promote_types(params.dtype, torch.float32))
            w0, w1, w2, b0, b1, b2 = params.split(self.split, -1)
            w0 = rearrange(w0, "b m (o i) -> b m o i", o=self.channels)
            w1 = rearrange(w1, "b m (o i) -> b 1 m o i", o=self.channels)
            w2 = rearrange(w2, "b m i -> b 1 m 1 i")
            b1 = rearrange(b1, "b m o -> b 1 m o 1")
            b2 = rearrange(b2, "b m o -> b 1 m o 1")
            x = self._first_filter(maps, w0, b0)  # (B, T, M, O, h, w)
            if self.rel_coord:
                x = x + self._distance(w0[..., self.dim :], reference, size, x.shape[-2:])
            h, w = x.shape[-2:]
            x = F.relu(x).flatten(-2)
            x = F.relu(w1 @ x + b1)
            return rearrange(w2 @ x + b2, "b t m 1 (h w) -> b t m h w", h=h, w=w)

    def _first_filter(self, maps: Tensor, w0: Tensor, b0: Tensor) -> Tensor:
        """Features convolution and first filter folded into one: (B, T, M, O, h, w)."""
        batch, queries = w0.shape[:2]
        w0 = w0[..., : self.dim]
        kernel = einsum(w0, self.features.weight.to(w0.dtype), "b m o k, k i y x -> b m o i y x")
        bias = b0 + einsum(w0, self.features.bias.to(w0.dtype), "b m o k, k -> b m o")
        clips = rearrange(maps, "(b t) c h w -> b t c h w", b=batch)
        out = [
            F.conv2d(clip.to(k.dtype), k.flatten(0, 1), b.flatten(), padding=1)
            for clip, k, b in zip(clips, kernel, bias, strict=True)
        ]
        return rearrange(torch.stack(out), "b t (m o) h w -> b t m o h w", m=queries)

    def _distance(
        self, weight: Tensor, reference: Tensor, size: Tensor, shape: tuple[int, int]
    ) -> Tensor:
        """Product of weight (B, M, O, 2) and the distance reference - position: (B, T, M, O, h, w).

        Distances are in pixels, x first, from the centre of each position of the map.
        """
        h, w = shape
        like = {"dtype": weight.dtype, "device": weight.device}
        y = torch.arange(h, **like) * STRIDE + STRIDE // 2
        x = torch.arange(w, **like) * STRIDE + STRIDE // 2
        point = reference * size[:, None, None]  # (B, T, M, 2)
        start = einsum(weight, point.to(weight.dtype), "b m o xy, b t m xy -> b t m o")
        along_x = weight[..., 0, None, None] * x  # (B, M, O, 1, w)
        along_y = weight[..., 1, None, None] * y[:, None]  # (B, M, O, h, 1)
        return start[..., None, None] - (along_x + along_y)[:, None]
