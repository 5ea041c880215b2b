"""ResNets: the official ones with frozen norms, and a tiny one that trains from scratch."""

from functools import partial

import torch
import torchvision
from einops import rearrange
from timm.layers import GroupNorm
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from rvos.mutr.backbones.base import Backbone


class FrozenResNet(Backbone):
    """torchvision's ResNet with frozen batch norms (eps 1e-5), stem and first stage."""

    channels = (256, 512, 1024, 2048)

    def __init__(self, name: str, *, checkpointing: bool):
        super().__init__(checkpointing=checkpointing)
        self.body = getattr(torchvision.models, name)(norm_layer=FrozenBatchNorm2d)
        del self.body.fc
        for part in (self.body.conv1, self.body.layer1):
            part.requires_grad_(False)

    def forward(self, frames: Tensor) -> list[Tensor]:
        body = self.body
        x = body.maxpool(body.relu(body.bn1(body.conv1(frames.flatten(0, 1)))))
        features = []
        for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
            for block in stage:
                x = self.run(block, x)
            features.append(x)
        return features


class TinyResNet(Backbone):
    """timm's ResNet with one block per stage and group norms, for CPU work; 1.3 M parameters."""

    channels = (32, 64, 128, 256)

    def __init__(self, *, checkpointing: bool):
        super().__init__(checkpointing=checkpointing)
        self.body = ResNet(
            BasicBlock,
            layers=(1, 1, 1, 1),
            stem_width=16,
            stem_type="deep",
            channels=self.channels,
            norm_layer=partial(GroupNorm, num_groups=8),
            num_classes=0,
            zero_init_last=False,
        )

    def forward(self, frames: Tensor) -> list[Tensor]:
        body = self.body
        x = body.maxpool(body.act1(body.bn1(body.conv1(frames.flatten(0, 1)))))
        features = []
        for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
            x = self.run(stage, x)
            features.append(x)
        return features


class SpaceTime(nn.Module):
    """Adds to a frame's map what convolutions over the frames before and after it find.

    Two 3 x 3 x 3 convolutions on `WIDTH` channels. It adds nothing before training.
    """

    WIDTH = 48

    def __init__(self, channels: int):
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv3d(channels, self.WIDTH, 1, bias=False),
            nn.GroupNorm(8, self.WIDTH),
            nn.ReLU(),
            nn.Conv3d(self.WIDTH, self.WIDTH, 3, padding=1, bias=False),
            nn.GroupNorm(8, self.WIDTH),
            nn.ReLU(),
            nn.Conv3d(self.WIDTH, self.WIDTH, 3, padding=1, bias=False),
            nn.GroupNorm(8, self.WIDTH),
            nn.ReLU(),
            nn.Conv3d(self.WIDTH, channels, 1),
        )
        nn.init.zeros_(self.mix[-1].weight)
        nn.init.zeros_(self.mix[-1].bias)

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """(B T, C, h, w) -> (B T, C, h, w)."""
        clip = rearrange(x, "(b t) c h w -> b c t h w", b=batch)
        # On CPUs that compute in bfloat16, oneDNN (in torch 2.15) takes unwritten memory into the
        # gradient of a convolution that is padded in time: some weights become NaN.
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                mixed = self.mix(clip.to(self.mix[0].weight.dtype))
        else:
            mixed = self.mix(clip)
        return x + rearrange(mixed, "b c t h w -> (b t) c h w")


class TinyVideoResNet(TinyResNet):
    """`TinyResNet` that sees motion: `SpaceTime` follows the stages of strides 8, 16 and 32."""

    def __init__(self, *, checkpointing: bool):
        super().__init__(checkpointing=checkpointing)
        self.motion = nn.ModuleList(SpaceTime(channels) for channels in self.channels[1:])

    def forward(self, frames: Tensor) -> list[Tensor]:
        body, batch = self.body, len(frames)
        x = body.maxpool(body.act1(body.bn1(body.conv1(frames.flatten(0, 1)))))
        features = [self.run(body.layer1, x)]
        for stage, motion in zip((body.layer2, body.layer3, body.layer4), self.motion, strict=True):
            features.append(motion(self.run(stage, features[-1]), batch))
        return features
