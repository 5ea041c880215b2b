"""Settings of conf/model -> MUTR, with weights where a file is given."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rvos.mutr.model import MUTR


def build_mutr(*, weights: str | None, **settings) -> MUTR:
    """`weights`: official or own checkpoint to start from, loaded strictly; None: random."""
    model = MUTR(**settings)
    if weights is not None:
        from rvos.mutr.checkpoint import load_weights

        load_weights(model, weights)
    return model


def settings_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Settings that fit a state dict, official or own.

    Heads are not visible in the shapes: 64 channels per head in the text encoder, 32 elsewhere, as
    in the official model, unless the tensors are too small for that (the tiny preset's 4).
    """
    from rvos.mutr.checkpoint import guess_backbone, is_official, official_name

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
