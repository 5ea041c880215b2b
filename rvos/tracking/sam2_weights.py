"""Weights of SAM 2 or EdgeTAM -> a loaded model: Hugging Face folder or name, or Meta's file.

Renaming turns Meta's state dicts into those of transformers' `Sam2VideoModel`, which load strictly;
only the four point embeddings become one tensor, and the shared positional matrix is stored twice.
Sizes: the configs in Meta's repository facebookresearch/sam2, sam2/configs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rvos.errors import InputError
from rvos.tracking.pretrained import load_strictly, missing
from rvos.weights.kinds import names_file
from rvos.weights.tensors import read_state

DOWNLOAD = (
    "https://github.com/facebookresearch/sam2#download-checkpoints (.pt) or "
    "https://huggingface.co/facebook/sam2.1-hiera-large"
)
EDGETAM = "https://huggingface.co/yonigozlan/EdgeTAM-hf"


@dataclass(frozen=True)
class Size:
    """One published size of the image encoder (Hiera)."""

    name: str  # as in the file names of Meta's configs
    embed_dim: int
    num_heads: int
    stages: tuple[int, ...]
    global_blocks: tuple[int, ...]
    windows: tuple[int, ...]
    background: int  # side of the window positional embedding's background


SIZES = (
    Size("t", 96, 1, (1, 2, 7, 2), (5, 7, 9), (8, 4, 14, 7), 7),
    Size("s", 96, 1, (1, 2, 11, 2), (7, 10, 13), (8, 4, 14, 7), 7),
    Size("b+", 112, 2, (2, 3, 16, 3), (12, 16, 20), (8, 4, 14, 7), 14),
    Size("l", 144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8), 7),
)

# Meta's name -> transformers' name: first the one prefix that matches applies, then all of PARTS.
PREFIXES = (
    ("maskmem_tpos_enc", "memory_temporal_positional_encoding"),
    ("no_mem_embed", "no_memory_embedding"),
    ("no_mem_pos_enc", "no_memory_positional_encoding"),
    ("no_obj_ptr", "no_object_pointer"),
    ("no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
    ("image_encoder.trunk.", "vision_encoder.backbone."),
    ("image_encoder.neck.", "vision_encoder.neck."),
    ("sam_prompt_encoder.", "prompt_encoder."),
    ("sam_mask_decoder.", "mask_decoder."),
    ("obj_ptr_tpos_proj.", "temporal_positional_encoding_projection_layer."),
    ("obj_ptr_proj.", "object_pointer_proj."),
)
# Of three layers; those of two stand in transformers.
PERCEPTRON = r"(hypernetworks_mlps\.\d+|prediction_head|score_head|object_pointer_proj)"
PARTS = (
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"(neck\.convs\.\d+)\.conv\.", r"\1."),
    (
        r"(blocks\.\d+|transformer\.layers\.\d+|memory_attention\.layers\.\d+)\.norm(\d)\.",
        r"\1.layer_norm\2.",
    ),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"(attn|image|token)\.out_proj\.", r"\1.o_proj."),
    (r"^memory_attention\.norm\.", "memory_attention.layer_norm."),
    (r"norm_final_attn\.", "layer_norm_final_attn."),
    (PERCEPTRON + r"\.layers\.0\.", r"\1.proj_in."),
    (PERCEPTRON + r"\.layers\.1\.", r"\1.layers.0."),
    (PERCEPTRON + r"\.layers\.2\.", r"\1.proj_out."),
    # mask decoder and prompt encoder
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    # memory encoder
    (r"mask_downsampler\.encoder\.12\.", "mask_downsampler.final_conv."),
    (r"pix_feat_proj\.", "feature_projection."),
    (r"memory_encoder\.out_proj\.", "memory_encoder.projection."),
    (r"fuser\.(layers\.\d+)\.gamma", r"memory_fuser.\1.scale"),
    (r"fuser\.(layers\.\d+)\.dwconv\.", r"memory_fuser.\1.depthwise_conv."),
    (r"fuser\.(layers\.\d+)\.norm\.", r"memory_fuser.\1.layer_norm."),
    (r"fuser\.(layers\.\d+)\.pwconv(\d)\.", r"memory_fuser.\1.pointwise_conv\2."),
)
POINTS = re.compile(r"sam_prompt_encoder\.point_embeddings\.(\d)\.weight")
POSITIONS = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
DOWNSAMPLER = re.compile(r"(memory_encoder\.mask_downsampler)\.encoder\.(\d|10)\.(.*)")


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of transformers' `Sam2VideoModel` with the tensors of Meta's state dict."""
    converted: dict[str, Tensor] = {}
    points: dict[int, Tensor] = {}
    for key, value in state.items():
        if match := POINTS.fullmatch(key):
            points[int(match[1])] = value
        elif key == POSITIONS:
            converted["shared_image_embedding.positional_embedding"] = value
            converted["prompt_encoder.shared_embedding.positional_embedding"] = value
        else:
            converted[_renamed(key)] = value
    if points:
        converted["prompt_encoder.point_embed.weight"] = torch.cat(
            [points[i] for i in sorted(points)]
        )  # (4, C)
    return converted


def _renamed(key: str) -> str:
    if match := DOWNSAMPLER.fullmatch(key):  # convolution, norm and activation take turns
        kind = "conv" if int(match[2]) % 3 == 0 else "layer_norm"
        return f"{match[1]}.layers.{int(match[2]) // 3}.{kind}.{match[3]}"
    for prefix, name in PREFIXES:
        if key.startswith(prefix):
            key = name + key.removeprefix(prefix)
            break
    for pattern, name in PARTS:
        key = re.sub(pattern, name, key)
    return key


def size_of(state: Mapping[str, Tensor]) -> Size:
    """The published size of one of Meta's state dicts. Raises InputError for any other size."""
    patches = state.get("image_encoder.trunk.patch_embed.proj.weight")
    blocks = {key.split(".")[3] for key in state if key.startswith("image_encoder.trunk.blocks.")}
    for size in SIZES:
        if (
            patches is not None
            and patches.shape[0] == size.embed_dim
            and len(blocks) == sum(size.stages)
        ):
            return size
    raise InputError(
        "no SAM 2 of a published size: expected Hiera tiny, small, base+ or large, "
        f"found {len(blocks)} blocks"
    )


def config_for(size: Size, *, version: str, image_size: int = 1024) -> Any:
    """transformers' config of one size; `version` is "2.0" or "2.1"."""
    from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VisionConfig

    dims = [size.embed_dim * 2**i for i in range(4)]
    backbone = Sam2HieraDetConfig(
        hidden_size=size.embed_dim,
        num_attention_heads=size.num_heads,
        blocks_per_stage=list(size.stages),
        embed_dim_per_stage=dims,
        num_attention_heads_per_stage=[size.num_heads * 2**i for i in range(4)],
        window_size_per_stage=list(size.windows),
        window_positional_embedding_background_size=[size.background] * 2,
        global_attention_blocks=list(size.global_blocks),
        image_size=[image_size, image_size],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=dims[::-1],
        backbone_feature_sizes=[[image_size // step] * 2 for step in (4, 8, 16)],
    )
    return Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": image_size},
        image_size=image_size,
        memory_attention_rope_feat_sizes=[image_size // 16] * 2,
        enable_occlusion_spatial_embedding=version == "2.1",
        enable_temporal_pos_encoding_for_object_pointers=version == "2.1",
    )


def version_of(state: Mapping[str, Tensor]) -> str:
    """The version of one of Meta's state dicts: "2.1" or "2.0"."""
    return "2.1" if "no_obj_embed_spatial" in state else "2.0"


def read_meta_file(path: Path) -> dict[str, Tensor]:
    """The state dict in one of Meta's files. Raises InputError when it is not one."""
    if not path.is_file():
        raise missing(str(path), download=DOWNLOAD)
    try:
        state = read_state(path)
    except InputError as error:
        raise InputError(f"masklets.weights: {error}") from None
    if any(name.startswith("vision_encoder.") for name in state):
        raise InputError(
            f"masklets.weights: {path}: the weights for transformers: give the folder that has "
            "config.json and model.safetensors"
        )
    return state


def load_state(model: Any, state: Mapping[str, Tensor], path: Path) -> None:
    """Give a network the tensors of one of Meta's files. Raises InputError if they do not fit."""
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"masklets.weights: {path}: {reason:.1000}") from None


def load_transformers(weights: str) -> Any:
    """A `Sam2VideoModel` in eval mode, on the CPU, float32.

    Raises InputError that says where the weights were searched and where you get them.
    """
    from transformers import Sam2VideoModel

    path = Path(weights)
    if names_file(weights):
        state = read_meta_file(path)
        model = Sam2VideoModel(config_for(size_of(state), version=version_of(state)))
        load_state(model, convert(state), path)
        return model.eval()
    return load_strictly(Sam2VideoModel, weights, kind="SAM 2 video", download=DOWNLOAD)


def load_edgetam(weights: str) -> Any:
    """An `EdgeTamVideoModel` in eval mode, on the CPU, float32, from a Hugging Face folder or name.

    Zhou et al., EdgeTAM: On-Device Track Anything Model, 2025: SAM 2 with RepViT-M1 for Hiera and a
    perceiver that compresses the memories. Raises InputError for weights that are missing, or of
    another model.
    """
    from transformers import EdgeTamVideoModel

    return load_strictly(EdgeTamVideoModel, weights, kind="EdgeTAM video", download=EDGETAM)
