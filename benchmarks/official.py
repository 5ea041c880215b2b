"""Official form of MUTR's files: the same masks from one file, and our files in the official code.

    python benchmarks/official.py --upstream CHECKOUT --video CLIP.mp4

CHECKOUT is MeViS_Track_Solution_2024, whose inference script reads the file. The file is written in
the form of the official training script: legacy pickle, optimizer, schedule, argparse.Namespace.
Both programs read this one file with random weights, and the masks of all expressions are compared
in every pixel. Then the official module loads what `save_official` writes, strictly. As in
benchmarks/coarse.py, the compiled attention is replaced by the checkout's own torch function.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from coarse import TEXTS, Released, coarse_settings, compare_masks, model_of, write_clip
from machine import describe, write

from rvos.coarse.segment import segment_video
from rvos.data.frames import FrameFolder
from rvos.mutr import MUTR, load_model
from rvos.mutr.checkpoint import load_weights, save_official, to_official
from rvos.weights.tensors import read_state

SIZE = (256, 144)  # width, height of the frames: no mask is enlarged much


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upstream", type=Path, required=True, help="its checkout")
    parser.add_argument("--video", type=Path, required=True, help="a clip")
    parser.add_argument("--backbone", default="swin_t", help="swin_t, swin_s, swin_b, swin_l")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--short-side", type=int, default=144, help="pixels")
    parser.add_argument("--expressions", type=int, default=2)
    parser.add_argument("--clip-length", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        write("official", describe(["torch", "torchvision", "transformers"]) | run(options, name))


def run(options: argparse.Namespace, name: str) -> dict[str, Any]:
    folder, texts = Path(name), TEXTS[: options.expressions]
    frames = write_clip(options.video, folder / "JPEGImages" / "clip", options.frames)
    for path in (folder / "JPEGImages" / "clip").iterdir():
        Image.open(path).resize(SIZE).save(path, quality=95)
    random = model_of("mutr", backbone=options.backbone)
    write_as_official_training(random, folder / "mutr.pth")
    # theirs: its script reads the file, which torch loads there without a restriction
    load = torch.load
    torch.load = lambda *args, **more: load(*args, **more | {"weights_only": False})
    released = Released(options, random, folder)
    released.run(folder / "theirs", frames, texts)
    torch.load = load
    # ours: another model, which load_weights fills from the same file
    model = model_of("mutr", backbone=options.backbone)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    load_weights(model, folder / "mutr.pth")
    clip = FrameFolder(folder / "JPEGImages" / "clip")
    answers = segment_video(model, clip, texts, coarse_settings(options))
    rows = [compare_masks(a, folder / "theirs", frames, str(e)) for e, a in enumerate(answers)]
    height, width = clip.size
    # what rvos writes, in the official module
    whole = load_model("mutr", backbone=options.backbone)  # with RoBERTa's tokenizer, as published
    save_official(whole, folder / "ours.pth")
    written = torch.load(folder / "ours.pth", weights_only=True)["model"]
    missing, unexpected = released.model.load_state_dict(written, strict=False)
    return {
        "backbone": options.backbone,
        "frames": len(frames),
        "expressions": len(texts),
        "short_side": options.short_side,
        "pixels_compared": len(frames) * len(texts) * height * width,
        "most_differing_pixels_of_a_frame": max(pixels for pixels, _ in rows),
        "foreground_theirs_ours": [shares for _, shares in rows],
        "tensors_read": len(read_state(folder / "mutr.pth")),
        "missing_in_the_official_code": list(missing),
        "unexpected_in_the_official_code": list(unexpected),
    }


def write_as_official_training(model: MUTR, path: Path) -> None:
    """The form of upstream's train.py and util/misc.py (`save_on_master`)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    content = {
        "model": to_official(model),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "epoch": 1,
        "args": argparse.Namespace(lr=1e-4, output_dir="out", backbone="swin"),
    }
    torch.save(content, path, _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
