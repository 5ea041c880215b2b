"""Backbones: frames -> feature maps of strides 4, 8, 16, 32. They do not depend on the text.

A backbone is a module with `channels` (of the four maps) and `forward(frames (B, T, 3, H, W)) ->
[(B T, C_i, h_i, w_i)] * 4`. With `checkpointing`, the backward pass recomputes the activations of
its blocks.
"""

from rvos.mutr.backbones.base import Backbone
from rvos.mutr.settings import CONVMAES, CONVNEXTS, RESNETS, SWINS, VIDEO_SWINS
from rvos.settings import named


def build_backbone(name: str, *, checkpointing: bool) -> Backbone:
    """The backbone of a name, or of the dotted name of a class (docs/extending.md).

    `swin_l_p4w7`, as the official options call it, is `swin_l`. Raises InputError for a class that
    cannot be imported.
    """
    name = name.removesuffix("_p4w7")
    if name in RESNETS:
        from rvos.mutr.backbones.resnet import FrozenResNet, TinyResNet, TinyVideoResNet

        tiny = {"resnet10_tiny": TinyResNet, "resnet10_video": TinyVideoResNet}
        if name in tiny:
            return tiny[name](checkpointing=checkpointing)
        return FrozenResNet(name, checkpointing=checkpointing)
    if name in SWINS:
        from rvos.mutr.backbones.swin import Swin

        return Swin(name, checkpointing=checkpointing)
    if name in VIDEO_SWINS:
        from rvos.mutr.backbones.video_swin import VideoSwin

        return VideoSwin(name, checkpointing=checkpointing)
    if name in CONVNEXTS:
        from rvos.mutr.backbones.convnext import ConvNeXt

        return ConvNeXt(name, checkpointing=checkpointing)
    if name in CONVMAES:
        from rvos.mutr.backbones.convmae import ConvMAE

        return ConvMAE(name, checkpointing=checkpointing)
    backbone: Backbone = named("model.backbone", name)(checkpointing=checkpointing)
    return backbone
