"""Official MUTR checkpoints <-> ours, strictly both ways.

Official files name their tensors after the official code's modules; that is a public format. The
table `NAMES` renames ours to theirs; shapes are equal. `python -m rvos checkpoint FILE` says what
a file is.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rvos.errors import InputError, list_problems
from rvos.mutr.backbones import build_backbone
from rvos.mutr.model import MUTR
from rvos.mutr.settings import BACKBONES
from rvos.weights.tensors import read_state, write_content

State = dict[str, Tensor]

# Start of own name -> start of official name. # is a number, #+1 and #-1 its neighbours.
NAMES = {
    "backbone": "backbone.0",
    "backbone.body.layers.#.downsample": "backbone.0.body.layers.#-1.downsample",  # Swin
    "backbone.norms.#": "backbone.0.body.norm#",  # Swin
    "backbone.stages.#.#": "backbone.0.body.layers.#.blocks.#",  # Video Swin, here and below
    "backbone.stages.#.#.mlp.0": "backbone.0.body.layers.#.blocks.#.mlp.fc1",
    "backbone.stages.#.#.mlp.3": "backbone.0.body.layers.#.blocks.#.mlp.fc2",
    "backbone.merges.#": "backbone.0.body.downsamples.#",
    "backbone.patch_embed": "backbone.0.body.patch_embed",
    "projection": "input_proj",
    "text.roberta": "text_encoder",
    "text.projection": "resizer.fc",
    "text.norm": "resizer.layer_norm",
    "fusion.attention": "fusion_module.multihead_attn",
    "mta.attention": "MTA.layers.0.multihead_attn",
    "mta.norm": "MTA.layers.0.norm1",
    "mta.ffn": "MTA.layers.0",
    "mta.ffn.norm": "MTA.layers.0.norm2",
    "level_embed": "transformer.level_embed",
    "encoder.layers.#.attention": "transformer.encoder.layers.#.self_attn",
    "encoder.layers.#.norm": "transformer.encoder.layers.#.norm1",
    "encoder.layers.#.ffn": "transformer.encoder.layers.#",
    "encoder.layers.#.ffn.norm": "transformer.encoder.layers.#.norm2",
    "decoder.queries": "query_embed",
    "decoder.reference": "transformer.reference_points",
    "decoder.layers.#.self_attention": "transformer.decoder.layers.#.self_attn",
    "decoder.layers.#.self_norm": "transformer.decoder.layers.#.norm2",
    "decoder.layers.#.cross_attention": "transformer.decoder.layers.#.cross_attn",
    "decoder.layers.#.cross_norm": "transformer.decoder.layers.#.norm1",
    "decoder.layers.#.ffn": "transformer.decoder.layers.#",
    "decoder.layers.#.ffn.norm": "transformer.decoder.layers.#.norm3",
    "mti.window_layers.#.attention": "mti.enc_self_attn.#.self_attn",
    "mti.window_layers.#.norm": "mti.enc_self_attn.#.norm",
    "mti.window_layers.#.ffn": "mti.enc_ffn.#",
    "mti.clip_layers.#.cross_attention": "mti.transformer_cross_attention_layers.#.multihead_attn",
    "mti.clip_layers.#.cross_norm": "mti.transformer_cross_attention_layers.#.norm",
    "mti.clip_layers.#.self_attention": "mti.transformer_self_attention_layers.#.self_attn",
    "mti.clip_layers.#.self_norm": "mti.transformer_self_attention_layers.#.norm",
    "mti.clip_layers.#.ffn": "mti.transformer_ffn_layers.#",
    "mti.frame_positions": "mti.fq_pos",
    "mti.clip_positions": "mti.query_embed",
    "mti.clip_queries": "mti.query_feat",
    "mti.norm": "mti.decoder_norm",
    "pixel_decoder.levels.#.lateral": "pixel_decoder.adapter_#+1",
    "pixel_decoder.levels.#.lateral_norm": "pixel_decoder.adapter_#+1.norm",
    "pixel_decoder.levels.#.smooth": "pixel_decoder.layer_#+1",
    "pixel_decoder.levels.#.smooth_norm": "pixel_decoder.layer_#+1.norm",
    "pixel_decoder.levels.#.block.self_attention": "pixel_decoder.cross_attn_#+1.self_attn",
    "pixel_decoder.levels.#.block.self_norm": "pixel_decoder.cross_attn_#+1.norm1",
    "pixel_decoder.levels.#.block.cross_attention": "pixel_decoder.cross_attn_#+1.multihead_attn",
    "pixel_decoder.levels.#.block.cross_norm": "pixel_decoder.cross_attn_#+1.norm2",
    "pixel_decoder.levels.#.block.ffn": "pixel_decoder.cross_attn_#+1",
    "pixel_decoder.levels.#.block.ffn.norm": "pixel_decoder.cross_attn_#+1.norm3",
    "mask_head.features": "pixel_decoder.mask_features",
    "mask_head.controller": "controller",
    "class_heads": "class_embed",
    "box_heads": "bbox_embed",
}


@cache
def _patterns() -> list[tuple[re.Pattern, str]]:
    """`NAMES` as patterns, the longest own name first, so that the most specific one applies."""
    rows = sorted(NAMES.items(), key=lambda row: -len(row[0]))
    return [
        (re.compile(re.escape(own).replace(r"\#", r"(\d+)") + r"(?=\.|$)"), official)
        for own, official in rows
    ]


def official_name(own: str) -> str:
    """`decoder.queries.weight` -> `query_embed.weight`."""
    for pattern, official in _patterns():
        if match := pattern.match(own):
            for number in match.groups():
                step = re.search(r"#([+-]1)?", official)
                assert step is not None
                index = str(int(number) + int(step[1] or 0))
                official = official[: step.start()] + index + official[step.end() :]
            return official + own[match.end() :]
    return own


def official_names(model: MUTR) -> dict[str, str]:
    """Official name -> own name. Heads that share one tensor have several official names."""
    names = {official_name(own): own for own in model.state_dict()}
    levels = len(model.decoder.layers)
    for official, own in list(names.items()):
        head, _, rest = official.partition(".0.")
        if model.box_refine and official.startswith("bbox_embed."):
            names[f"transformer.decoder.{official}"] = own
        elif not model.box_refine and head in ("class_embed", "bbox_embed"):
            names |= {f"{head}.{level}.{rest}": own for level in range(1, levels)}
    return names


def _constants(model: MUTR) -> State:
    """Tensors that official files hold although the architecture determines them."""
    constants = model.backbone.index_buffers()
    return {official_name(f"backbone.{name}"): tensor for name, tensor in constants.items()}


def to_official(model: MUTR) -> State:
    """The official state dict of a model."""
    own = model.state_dict()
    renamed = {official: own[name] for official, name in official_names(model).items()}
    return renamed | _constants(model)


def from_official(state: Mapping[str, Tensor], model: MUTR) -> State:
    """Official state dict -> ours, for `model`.

    Raises InputError listing the keys that are missing, unexpected or of another shape.
    """
    if problems := differing_tensors(state, _shapes(to_official(model))):
        raise InputError(list_problems("the checkpoint does not fit the model", problems))
    return {own: state[official] for official, own in official_names(model).items()}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def differing_tensors(state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> list[str]:
    """Which tensors of a state dict are missing, unexpected, or of another shape than expected."""
    missing = [f"missing: {name} {tuple(shapes[name])}" for name in shapes if name not in state]
    surplus = [
        f"unexpected: {name} {tuple(state[name].shape)}" for name in state if name not in shapes
    ]
    other = [
        f"shape: {name} is {tuple(state[name].shape)}, expected {tuple(shape)}"
        for name, shape in shapes.items()
        if name in state and state[name].shape != shape
    ]
    return [*other, *missing, *surplus]


def is_official(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the official names: only they begin with `transformer.`."""
    return any(name.startswith("transformer.") for name in state)


def is_network(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a whole MUTR, official or own, and not of a backbone."""
    return any(name.startswith(("transformer.", "decoder.")) for name in state)


def load_weights(model: MUTR, path: str | Path) -> None:
    """Load an official file or our own into `model`, strictly.

    Raises InputError that names the file, what it is and every key that does not fit.
    """
    state = read_state(path)
    try:
        own = from_official(state, model) if is_official(state) else state
        if problems := differing_tensors(own, _shapes(model.state_dict())):
            raise InputError(list_problems("the checkpoint does not fit the model", problems))
    except InputError as error:
        raise InputError(f"{path}: {error}\nThe file is: {summary(state)[0]}") from error
    model.load_state_dict(own)


def save_official(model: MUTR, path: str | Path) -> None:
    """Write `{"model": official state dict}`, atomically."""
    write_content(Path(path), {"model": to_official(model)})


def guess_backbone(state: Mapping[str, Tensor]) -> tuple[str, list[str]]:
    """Name of the backbone that fits a state dict best, and the keys that do not fit it."""
    tensors = {n: v for n, v in state.items() if n.startswith("backbone.")}
    official = is_official(state)
    differences = {n: differing_tensors(tensors, _backbone_shapes(n, official)) for n in BACKBONES}
    return min(differences.items(), key=lambda row: len(row[1]))


@cache
def _backbone_shapes(name: str, official: bool) -> dict[str, torch.Size]:
    with torch.device("meta"):
        backbone = build_backbone(name, checkpointing=False)
    entries = {f"backbone.{key}": value.shape for key, value in backbone.state_dict().items()}
    if not official:
        return entries
    constants = backbone.index_buffers()
    entries |= {f"backbone.{key}": value.shape for key, value in constants.items()}
    return {official_name(key): shape for key, shape in entries.items()}


def summary(state: Mapping[str, Tensor]) -> tuple[str, list[str]]:
    """One line that says what a state dict is, and the keys of its backbone that do not fit."""
    backbone, problems = guess_backbone(state)
    official = is_official(state)
    query = "query_embed.weight" if official else "decoder.queries.weight"
    classes = "class_embed.0.weight" if official else "class_heads.0.weight"
    refined = "transformer.decoder.bbox_embed.0.layers.0.weight" if official else "box_heads.1."
    facts = [
        "official MUTR" if official else "MUTR of this package",
        f"backbone {backbone}" + ("" if not problems else f" (nearest; {len(problems)} differ)"),
        "box refinement " + ("on" if any(n.startswith(refined) for n in state) else "off"),
        f"{len(state[classes]) if classes in state else 'unknown'} classes",
        f"{len(state[query]) if query in state else 'unknown'} queries",
        f"{sum(v.numel() for v in state.values()) / 1e6:.1f} M numbers in {len(state)} tensors",
    ]
    return ", ".join(facts), problems


def settings_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of MUTR that fit a state dict, official or own.

    Shapes do not tell the number of attention heads: it follows from 64 channels per head in the
    text encoder and 32 elsewhere, as in the official model; below 256 channels it is 4, as in the
    tiny preset. Raises KeyError for a tensor that the state dict lacks.
    """
    backbone, _ = guess_backbone(state)
    refined = "transformer.decoder.bbox_embed."  # without refinement all levels share one head
    if not is_official(state):
        refined = "bbox_embed.1."
        state = {official_name(name): value for name, value in state.items()}

    def count(pattern: str) -> int:
        return len({m[1] for name in state if (m := re.match(pattern, name))})

    def rows(name: str) -> int:
        return len(state[name])

    num_queries, dim = state["query_embed.weight"].shape
    vocab_size, text_dim = state["text_encoder.embeddings.word_embeddings.weight"].shape
    heads, text_heads = (dim // 32, text_dim // 64) if dim >= 256 else (4, 4)
    num_levels = rows("transformer.level_embed")
    samples = rows("transformer.encoder.layers.0.self_attn.attention_weights.bias")
    decoder_layers = count(r"transformer\.decoder\.layers\.(\d+)\.")
    channels = 8
    controller = rows("controller.layers.2.bias")
    rel_coord = controller == (dim + 2) * channels + channels**2 + 3 * channels + 1
    return {
        "backbone": backbone,
        "tokenizer": "words" if "text.word_tokenizer.vocabulary" in state else "roberta-base",
        "deform_attn": "torch",
        "freeze_text_encoder": False,
        "num_classes": rows("class_embed.0.weight"),
        "num_queries": num_queries,
        "hidden_dim": dim,
        "ffn_dim": rows("transformer.encoder.layers.0.linear1.weight"),
        "num_heads": heads,
        "num_levels": num_levels,
        "num_points": samples // (heads * num_levels),
        "encoder_layers": count(r"transformer\.encoder\.layers\.(\d+)\."),
        "decoder_layers": decoder_layers,
        "mti_layers": count(r"mti\.enc_self_attn\.(\d+)\."),
        "mti_window": 4,
        "dropout": 0.0,
        "mti_dropout": 0.0,
        "box_refine": any(name.startswith(refined) for name in state),
        "rel_coord": rel_coord,
        "mask_channels": channels,
        "text_dim": text_dim,
        "text_layers": count(r"text_encoder\.encoder\.layer\.(\d+)\."),
        "text_heads": text_heads,
        "text_ffn_dim": rows("text_encoder.encoder.layer.0.intermediate.dense.weight"),
        "vocab_size": vocab_size,
        "max_tokens": rows("text_encoder.embeddings.position_embeddings.weight") - 2,
        "checkpoint_backbone": False,
        "checkpoint_encoder": False,
    }


def misfits(state: Mapping[str, Tensor]) -> list[str]:
    """Keys that do not fit the model that `settings_of` describes."""
    try:
        settings = settings_of(state)
    except KeyError as error:
        return [f"missing: {error.args[0]}; without it this is no MUTR"]
    with torch.device("meta"):
        model = MUTR(**settings)
    expected = to_official(model) if is_official(state) else model.state_dict()
    return differing_tensors(state, _shapes(expected))
