"""ResNets: the official ones with frozen norms, and a tiny one that trains from scratch."""

from functools import partial

import torchvision
from timm.layers import GroupNorm
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor
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
