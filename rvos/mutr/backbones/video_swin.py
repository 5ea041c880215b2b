"""Video Swin from torchvision's parts: its windows extend over neighbouring frames."""

from einops import rearrange
from torch import Tensor, nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

from rvos.mutr.backbones.base import Backbone

# name: width, blocks per stage, heads per stage
SIZES = {
    "video_swin_t": (96, [2, 2, 6, 2], [3, 6, 12, 24]),
    "video_swin_s": (96, [2, 2, 18, 2], [3, 6, 12, 24]),
    "video_swin_b": (128, [2, 2, 18, 2], [4, 8, 16, 32]),
}


class VideoSwin(Backbone):
    """Video Swin Transformer with patches of a single frame and no norm on its outputs.

    Windows have 8 frames and 7 x 7 positions; on an axis that is shorter, they shrink to it.
    """

    def __init__(self, name: str, *, checkpointing: bool):
        super().__init__(checkpointing=checkpointing)
        width, depths, heads = SIZES[name]
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        body = SwinTransformer3d(
            patch_size=[1, 4, 4],
            embed_dim=width,
            depths=depths,
            num_heads=heads,
            window_size=[8, 7, 7],
            stochastic_depth_prob=0.2,
        )
        self.patch_embed = body.patch_embed
        self.stages = nn.ModuleList(body.features[::2])
        self.merges = nn.ModuleList(body.features[1::2])

    def forward(self, frames: Tensor) -> list[Tensor]:
        x = self.patch_embed(rearrange(frames, "b t c h w -> b c t h w"))  # (B, T, h, w, C)
        features = []
        for index, stage in enumerate(self.stages):
            if index:
                x = self.merges[index - 1](x)
            for block in stage:
                x = self.run(block, x)
            features.append(rearrange(x, "b t h w c -> (b t) c h w"))
        return features
