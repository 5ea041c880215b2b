"""A backbone trained on ImageNet or Kinetics -> the backbone of a MUTR, before its training.

The files are those of torchvision (ResNet), microsoft/Swin-Transformer and
SwinTransformer/Video-Swin-Transformer; `python -m rvos weights get backbone_<name>` fetches them.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rvos.errors import InputError, list_problems
from rvos.mutr.backbones import build_backbone
from rvos.mutr.backbones.base import Backbone
from rvos.mutr.checkpoint import differing_tensors, official_name
from rvos.mutr.model import MUTR
from rvos.mutr.settings import RESNETS, SWINS, VIDEO_SWINS
from rvos.weights.tensors import read_state

BODY = "backbone.0.body."  # where official MUTR files keep the names of these files
# What the files hold beside the backbone: heads, the norm before them, what follows from shapes.
_BESIDE = re.compile(
    r"(fc|head|cls_head|norm)\..*|.*(num_batches_tracked|attn_mask|relative_position_index)"
)
_OWN = re.compile(r"norm\d\..*")  # MUTR's norms on the outputs of Swin: not in the files


def load_backbone(model: MUTR, path: str | Path) -> None:
    """Fill the backbone from a file of ImageNet or Kinetics weights.

    Raises InputError that lists what does not fit.
    """
    tensors, problems = _matched(read_state(path), model.backbone)
    if problems:
        raise InputError(
            list_problems(f"model.backbone_weights: {path}: does not fit model.backbone", problems)
        )
    model.backbone.load_state_dict(model.backbone.state_dict() | tensors)


def fitting(state: Mapping[str, Tensor]) -> str | None:
    """The backbone that such a file's tensors fit; None: no backbone that rvos reads."""
    for name in (*RESNETS, *SWINS, *VIDEO_SWINS):
        with torch.device("meta"):
            backbone = build_backbone(name, checkpointing=False)
        if not _matched(state, backbone)[1]:
            return name
    return None


def _matched(
    state: Mapping[str, Tensor], backbone: Backbone
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors by the backbone's own names, and what does not fit.

    Patches of video Swin span two frames in the files and one here: their weights are summed, as
    in upstream's models/video_swin_transformer.py.
    """
    state = {name.removeprefix("backbone."): value for name, value in state.items()}
    own = backbone.state_dict()
    names = {official_name(f"backbone.{name}").removeprefix(BODY): name for name in own}
    if "downsamples.0.reduction.weight" in names:  # video Swin: MUTR took them out of the layers
        state = {
            re.sub(r"^layers\.(\d)\.downsample", r"downsamples.\1", k): state[k] for k in state
        }
        patches = state.get("patch_embed.proj.weight")
        if patches is not None and patches.ndim == 5:
            state["patch_embed.proj.weight"] = patches.sum(2, keepdim=True)  # (C, 3, 1, 4, 4)
    beside = {n for n in [*state, *names] if _BESIDE.fullmatch(n) or _OWN.fullmatch(n)}
    state = {n: tensor for n, tensor in state.items() if n in names or not _BESIDE.fullmatch(n)}
    shapes = {n: own[names[n]].shape for n in names if n in state or n not in beside}
    renamed = {names[name]: value for name, value in state.items() if name in names}
    return renamed, differing_tensors(state, shapes)
