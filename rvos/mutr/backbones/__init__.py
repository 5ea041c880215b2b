"""Backbones: frames -> feature maps of strides 4, 8, 16, 32. They do not depend on the text.

A backbone is a module with `channels` (of the four maps) and `forward(frames (B, T, 3, H, W)) ->
[(B T, C_i, h_i, w_i)] * 4`. With `checkpointing`, the backward pass recomputes the activations of
its blocks.
"""

from importlib import import_module

from rvos.errors import InputError
from rvos.mutr.backbones.base import Backbone

RESNETS = ("resnet50", "resnet101", "resnet10_tiny", "resnet10_video")
SWINS = ("swin_t", "swin_s", "swin_b", "swin_l")
VIDEO_SWINS = ("video_swin_t", "video_swin_s", "video_swin_b")
CONVNEXTS = ("convnext_large", "convnext_xxlarge")
CONVMAES = ("convmae_base", "convmae_large")
NAMES = (*RESNETS, *SWINS, *VIDEO_SWINS, *CONVNEXTS, *CONVMAES)


def build_backbone(name: str, *, checkpointing: bool) -> Backbone:
    """The backbone of a name, or of the dotted name of a class (docs/extending.md).

    `swin_l_p4w7`, as the official options call it, is `swin_l`. Raises InputError.
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
    expected = f"expected one of {', '.join(NAMES)}, or the dotted name of a class of your own"
    if "." not in name:
        raise InputError(f"model.backbone={name}: {expected}")
    module, _, cls = name.rpartition(".")
    try:
        return getattr(import_module(module), cls)(checkpointing=checkpointing)
    except (ImportError, AttributeError) as error:
        raise InputError(f"model.backbone={name}: {expected}: {error}") from None
