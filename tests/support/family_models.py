"""Models of the families beside SAM 2: tiny ones with random weights, full ones without numbers.

`python tests/support/family_models.py` writes weight_keys.json.gz: names and shapes of all tensors
of the published sizes, from their configs.
"""

from pathlib import Path

import torch

from rvos.masks import write_json

KEYS_FILE = Path(__file__).with_name("weight_keys.json.gz")
SIZE = 64  # of the tiny EdgeTAM's input, pixels
SAM3_SIZE = 56  # of the tiny SAM 3's
# Tokens of its text encoder: letters within words and at their ends.
SAM3_LETTERS = [letter + end for end in ("", "</w>") for letter in "abcdefghijklmnopqrstuvwxyz"]


def repvit(**changes):
    """The config of EdgeTAM's backbone; timm makes it."""
    options = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    return {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m1",
        "num_classes": 1000,
        "model_args": options | changes,
    }


def edgetam_config():
    """As published: yonigozlan/EdgeTAM-hf."""
    from transformers import EdgeTamVideoConfig, EdgeTamVisionConfig

    return EdgeTamVideoConfig(vision_config=EdgeTamVisionConfig(backbone_config=repvit()))


def tiny_edgetam(seed=0):
    """Its masks and object scores vary from frame to frame."""
    from transformers import EdgeTamVideoConfig, EdgeTamVideoModel, EdgeTamVisionConfig

    channels = [8, 16, 24, 32]
    vision = EdgeTamVisionConfig(
        backbone_config=repvit(embed_dim=channels, depth=[1, 1, 2, 1]),
        backbone_channel_list=channels[::-1],
        backbone_feature_sizes=[[SIZE // stride] * 2 for stride in (4, 8, 16)],
    )
    config = EdgeTamVideoConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": SIZE},
        mask_decoder_config={"mlp_dim": 32},
        image_size=SIZE,
        memory_attention_rope_feat_sizes=[SIZE // 16] * 2,
        memory_attention_rope_k_sizes=[4, 4],
        memory_attention_mlp_hidden_size=32,
        memory_fuser_intermediate_dim=32,
        perceiver_resampler_num_latents=16,
        perceiver_resampler_num_latents_2d=16,
    )
    torch.manual_seed(seed)
    model = with_effects(EdgeTamVideoModel(config))
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(2)  # objects are visible
    return model


def with_effects(model):
    """The model in eval mode; parameters that are zero or tiny at birth made random."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1 and value.abs().max() == 0:
                torch.nn.init.normal_(value, std=0.02)
            if name.endswith("scale"):
                value.fill_(0.5)
    return model.eval()


def grounding_config(size):
    """As published: IDEA-Research/grounding-dino-tiny and -base."""
    from transformers import GroundingDinoConfig

    base = {
        "embed_dim": 128,
        "depths": [2, 2, 18, 2],
        "num_heads": [4, 8, 16, 32],
        "window_size": 12,
        "image_size": 384,
    }
    swin = {"model_type": "swin", "out_features": ["stage2", "stage3", "stage4"]}
    return GroundingDinoConfig(backbone_config=swin | (base if size == "base" else {}))


def sam3_config():
    """As published: facebook/sam3."""
    from transformers import Sam3VideoConfig

    return Sam3VideoConfig()


def full_models():
    """{name: the published model on the meta device}."""
    from transformers import EdgeTamVideoModel, GroundingDinoForObjectDetection, Sam3VideoModel

    configs = {
        "grounding-dino-tiny": (GroundingDinoForObjectDetection, grounding_config("tiny")),
        "grounding-dino-base": (GroundingDinoForObjectDetection, grounding_config("base")),
        "edgetam": (EdgeTamVideoModel, edgetam_config()),
        "sam3": (Sam3VideoModel, sam3_config()),
    }
    for name, (model_class, config) in configs.items():
        with torch.device("meta"):
            yield name, model_class(config)


def shapes_of(model):
    """{key: shape}."""
    return {key: list(value.shape) for key, value in model.state_dict().items()}


def tiny_sam3(model_class=None, seed=0, **changes):
    """SAM 3 of half a million parameters whose detections come and go."""
    from transformers import Sam3VideoConfig, Sam3VideoModel

    model_class = model_class or Sam3VideoModel
    grid, width, small = SAM3_SIZE // 14, 128, 32
    vision = {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": small,
            "intermediate_size": small,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SAM3_SIZE,
            "window_size": 2,
            "global_attn_indexes": [1],
            "pretrain_image_size": 28,
        },
        "fpn_hidden_size": width,
        "backbone_feature_sizes": [[grid * 4] * 2, [grid * 2] * 2, [grid] * 2],
    }
    layer = {
        "hidden_size": width,
        "num_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": small,
    }
    detector = {
        "vision_config": vision,
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": 99,
            "hidden_size": small,
            "intermediate_size": small,
            "projection_dim": small,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        "geometry_encoder_config": layer,
        "detr_encoder_config": layer,
        "detr_decoder_config": layer | {"num_queries": 6},
        "mask_decoder_config": {"hidden_size": width, "num_attention_heads": 2},
    }
    tracker = {
        "vision_config": vision,
        "prompt_encoder_config": {
            "hidden_size": width,
            "image_size": SAM3_SIZE,
            "mask_input_channels": 4,
        },
        "mask_decoder_config": {
            "hidden_size": width,
            "mlp_dim": small,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": small,
        },
        "image_size": SAM3_SIZE,
        "memory_attention_hidden_size": width,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": small,
        "memory_attention_rope_feat_sizes": [grid, grid],
        "memory_encoder_hidden_size": width,
        "mask_downsampler_embed_dim": width,
        "memory_fuser_embed_dim": width,
        "memory_fuser_intermediate_dim": small,
    }
    options = {
        "low_res_mask_size": 4 * grid,
        "score_threshold_detection": 0.2,
        "new_det_thresh": 0.2,
        "max_num_objects": 4,
        "suppress_overlapping_based_on_recent_occlusion_threshold": 0.0,
        "hotstart_delay": 3,
        "hotstart_unmatch_thresh": 3,
        "hotstart_dup_thresh": 3,
    }
    config = Sam3VideoConfig(
        detector_config=detector, tracker_config=tracker, **(options | changes)
    )
    torch.manual_seed(seed)
    model = with_effects(model_class(config))
    score_head = model.tracker_model.mask_decoder.pred_obj_score_head
    score_head.proj_out.bias.data.fill_(2)  # objects are visible
    return model


def sam3_processor():
    """Its processor for the tiny size, with a tokenizer of a few words."""
    from transformers import (
        CLIPTokenizerFast,
        Sam2VideoVideoProcessor,
        Sam3ImageProcessor,
        Sam3VideoProcessor,
    )

    special = ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: i for i, word in enumerate([*SAM3_LETTERS, *special])}
    tokenizer = CLIPTokenizerFast(vocab=vocab, merges=[])
    size = {"height": SAM3_SIZE, "width": SAM3_SIZE}
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    return Sam3VideoProcessor(
        image_processor=Sam3ImageProcessor(size=size),
        video_processor=Sam2VideoVideoProcessor(size=size, **half),
        tokenizer=tokenizer,
    )


if __name__ == "__main__":
    write_json(KEYS_FILE, {name: shapes_of(model) for name, model in full_models()})
