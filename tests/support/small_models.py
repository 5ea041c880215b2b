"""Small models with random weights, and moving pictures, for the masklet tests."""

import numpy as np
import torch

from rvos.tracking.sam2 import TransformersTracker
from rvos.tracking.sam2_package import PackageTracker, build_package
from rvos.tracking.sam2_weights import Size, config_for, convert

# A Hiera of a few blocks with all that the published ones have: pooling, windows, global blocks.
TINY = Size("tiny", 16, 1, (1, 1, 2, 1), (3,), (8, 4, 14, 7), 7)
IMAGE_SIZE = 64


class Pictures:
    """Frames (H, W, 3) uint8: textured squares that move over noise; counts what is read."""

    def __init__(self, num_frames, size=(96, 144), num_objects=2, seed=0):
        random = np.random.default_rng(seed)
        self.size = size
        self.num_frames = num_frames
        self.read: list[int] = []
        self._back = random.integers(0, 120, (*size, 3), dtype=np.uint8)
        self._patches = [
            random.integers(100, 255, (24, 24, 3), dtype=np.uint8) for _ in range(num_objects)
        ]

    def __len__(self):
        return self.num_frames

    def corner(self, i, frame_idx):
        """Top left x, y of square i."""
        height, width = self.size
        x, y = 8 + 30 * i + 2 * frame_idx, 10 + 17 * i + frame_idx
        return x % (width - 24), y % (height - 24)

    def __getitem__(self, frame_idx):
        self.read.append(frame_idx)
        frame = self._back.copy()
        for i, patch in enumerate(self._patches):
            x, y = self.corner(i, frame_idx)
            frame[y : y + 24, x : x + 24] = patch
        return frame

    def boxes(self, frame_idx):
        """(O, 4) float32 xyxy."""
        corners = np.array([self.corner(i, frame_idx) for i in range(len(self._patches))])
        return np.concatenate([corners, corners + 24], 1).astype(np.float32)


def package_model(size=TINY, image_size=IMAGE_SIZE, version="2.1", seed=0):
    """Meta's predictor with random weights whose objects count as present and whose masks vary."""
    torch.manual_seed(seed)
    prefix = "sam2.1/sam2.1" if version == "2.1" else "sam2/sam2"
    grid = image_size // 16
    changes = {"image_size": image_size}
    for attention in ("self_attention", "cross_attention"):
        changes[f"memory_attention.layer.{attention}.feat_sizes"] = [grid, grid]
    if size is TINY:
        trunk = {
            "embed_dim": 16,
            "num_heads": 1,
            "stages": [1, 1, 2, 1],
            "global_att_blocks": [3],
            "window_spec": [8, 4, 14, 7],
            "window_pos_embed_bkg_spatial_size": [7, 7],
        }
        changes |= {f"image_encoder.trunk.{key}": value for key, value in trunk.items()}
        changes["image_encoder.neck.backbone_channel_list"] = [128, 64, 32, 16]
    name = "t" if size is TINY else size.name
    model = build_package(f"{prefix}_hiera_{name}.yaml", changes)
    with torch.no_grad():
        for key, value in model.named_parameters():  # zero at birth, and then without effect
            if value.abs().max() == 0 and value.ndim > 1:
                torch.nn.init.normal_(value, std=0.02)
            if key.endswith("gamma"):
                value.fill_(0.5)
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(10)
    return model


def transformers_model(package, size=TINY, image_size=IMAGE_SIZE, version="2.1"):
    """The same weights in transformers."""
    from transformers import Sam2VideoModel

    model = Sam2VideoModel(config_for(size, version=version, image_size=image_size))
    model.load_state_dict(convert(package.state_dict()), strict=True)
    return model.eval()


def trackers(**options):
    """Both backends on the CPU with the same weights."""
    package = package_model()
    return (
        PackageTracker(package, device="cpu", precision="fp32", **options),
        TransformersTracker(
            transformers_model(package), device="cpu", precision="fp32", compile=False, **options
        ),
    )
