"""Teach the small model's backbone what moves how, before it learns sentences.

    python -m rvos data synthesize out=data/synthetic_large num_videos.train=700 seed=1 \
        camera_shake=3
    python demo/teach_motion.py data/synthetic_large runs/demo_pretrain/mutr.pth \
        runs/demo_motion/mutr.pth

Every pixel of every object says how the object moves in its video ("left", "turn", "follow"), from
the maps of each stride. So the backbone sees motion (as one trained on Kinetics does) in minutes;
from MUTR's loss alone it had not learned it after an hour. Needs objects.json, so synthetic data.
"""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from rvos.data.formats import open_split, open_truth
from rvos.data.frames import normalise, resize_frame
from rvos.data.split import Split, Truth, Video
from rvos.data.synthetic import MOTIONS
from rvos.masks import canonical_track, decode
from rvos.mutr import load_model
from rvos.mutr.checkpoint import save_official

SIZE = (96, 144)  # height, width in pixels, of frames as the demo's model sees them
NUM_FRAMES = 5  # of a clip: every 15th frame of the demo's videos
NAMES = list(MOTIONS)
MIRRORED = {"left": "right", "right": "left"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that `rvos data synthesize` wrote")
    parser.add_argument("weights", type=Path, help="of model=mutr_tiny model.num_queries=1")
    parser.add_argument("out", type=Path, help="the same weights with a backbone that sees motion")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=16, help="clips of a step")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    given = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    split = open_split("mevis", given.data, "train")
    truth = open_truth("mevis", split)
    kinds = json.loads((given.data / "train" / "objects.json").read_text())
    model = load_model("mutr_tiny", given.weights, num_queries=1)
    backbone = model.backbone.train()
    heads = nn.ModuleList(
        nn.Sequential(nn.Conv2d(c, 64, 1), nn.ReLU(), nn.Conv2d(64, len(NAMES), 1))
        for c in backbone.channels[1:]
    )
    parameters = [*backbone.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=given.rate, weight_decay=1e-4)
    for step in track(range(given.steps), "Teaching motion"):
        videos = [split.videos[i] for i in rng.integers(len(split.videos), size=given.batch_size)]
        clips = [clip_of(split, truth, video, kinds[video.name], rng) for video in videos]
        frames = torch.stack([x for x, _ in clips])  # (B, T, 3, h, w)
        labels = torch.stack([y for _, y in clips]).flatten(0, 1)[:, 2::4, 2::4]  # (B T, h, w)
        loss = torch.zeros(())
        for maps, head in zip(backbone(frames)[1:], heads, strict=True):
            logits = F.interpolate(head(maps), labels.shape[-2:], mode="bilinear")
            loss = loss + F.cross_entropy(logits, labels, ignore_index=-1)
        share = step / given.steps
        for group in optimizer.param_groups:
            group["lr"] = given.rate * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * share)) / 2
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        if step % 50 == 49 or step == given.steps - 1:
            print(f"step {step + 1}: loss of a level {float(loss) / len(heads):.3f}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    save_official(model, given.out)


def clip_of(
    split: Split, truth: Truth, video: Video, kinds: dict[str, dict], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A strided clip, mirrored at random: (T, 3, h, w) float32; (T, h, w) int64, -1: no object."""
    stride = -(-len(video.frames) // NUM_FRAMES)
    first = int(rng.integers(stride))
    shown = [min(first + i * stride, len(video.frames) - 1) for i in range(NUM_FRAMES)]
    names = tuple(video.frames[t] for t in shown)
    pictures = [resize_frame(f, SIZE) for f in split.open_frames(replace(video, frames=names))]
    frames = normalise(rearrange(torch.from_numpy(np.stack(pictures)), "t h w c -> t c h w"))
    labels = torch.full((NUM_FRAMES, *SIZE), -1)
    mirror = rng.random() < 0.5
    for annotation_id, kind in kinds.items():
        motion = MIRRORED.get(kind["motion"], kind["motion"]) if mirror else kind["motion"]
        masks = canonical_track(truth.track(annotation_id))
        for label, t in zip(labels, shown, strict=True):
            if masks[t] is not None:
                mask = torch.from_numpy(decode(masks[t])).float()[None, None]  # (1, 1, H, W)
                label[F.interpolate(mask, SIZE)[0, 0] > 0] = NAMES.index(motion)
    return (frames.flip(-1), labels.flip(-1)) if mirror else (frames, labels)


if __name__ == "__main__":
    main()
