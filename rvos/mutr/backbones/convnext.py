"""ConvNeXt from timm, with a norm on every stage's output."""

from timm.models import convnext
from torch import Tensor, nn

from rvos.mutr.backbones.base import Backbone

# name: width, blocks per stage, eps of the norms inside the blocks
SIZES = {
    "convnext_large": (192, (3, 3, 27, 3), 1e-6),
    "convnext_xxlarge": (384, (3, 4, 30, 3), 1e-5),
}


class ConvNeXt(Backbone):
    """timm's ConvNeXt. Frames are not padded: the stride-4 map has floor(H / 4) rows."""

    def __init__(self, name: str, *, checkpointing: bool):
        super().__init__(checkpointing=checkpointing)
        width, depths, eps = SIZES[name]
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        self.body = convnext.ConvNeXt(
            depths=depths,
            dims=self.channels,
            norm_eps=eps,
            drop_path_rate=0.5,
            num_classes=0,
        )
        del self.body.norm_pre, self.body.head
        self.norm_layers = nn.ModuleList(nn.LayerNorm(channel) for channel in self.channels)

    def forward(self, frames: Tensor) -> list[Tensor]:
        x = self.body.stem(frames.flatten(0, 1))
        features = []
        for stage, norm in zip(self.body.stages, self.norm_layers, strict=True):
            x = stage.downsample(x)
            for block in stage.blocks:
                x = self.run(block, x)
            features.append(norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return features
