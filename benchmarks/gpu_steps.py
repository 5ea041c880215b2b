"""The steps of benchmarks/gpu.py: each takes the options and a folder, and yields rows."""

import argparse
import csv
import importlib.util
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mutr as peers
import numpy as np
import torch
import transformers
from machine import query_gpu
from masklets import write_frames

import train as steps
from rvos.coarse.segment import segment_video
from rvos.coarse.settings import CoarseSettings
from rvos.data.formats import open_checked
from rvos.data.frames import FrameCache, FrameFolder
from rvos.data.synthetic import synthesize
from rvos.masks import decode
from rvos.mutr import MUTR
from rvos.mutr.checkpoint import load_weights
from rvos.tracking.sam2 import TransformersTracker
from rvos.tracking.sam2_weights import SIZES, Size, config_for
from rvos.tracking.track import track_boxes

EXPRESSIONS = 16
SMALL = (128, 192)  # pixels of the videos of `parity`
Rows = Iterator[dict[str, Any]]


class Sizes(NamedTuple):
    """How large the questions are."""

    clip: tuple[int, int]  # height, width of MUTR's frames
    image: int  # side of the trackers' input
    video: tuple[int, int]  # height, width of the tracked and of the trained video
    frames: int  # of the tracked video
    objects: tuple[int, ...]
    repeats: int
    warm_up: int
    train_steps: int


LARGE = Sizes((360, 640), 1024, (720, 1280), 60, (1, 5, 16), 10, 3, 40)
TINY = Sizes((64, 96), 128, (72, 128), 3, (1, 2), 1, 0, 2)


def set_up(options: argparse.Namespace) -> None:
    """Sizes; float32 means float32; a dry run takes one core."""
    options.sizes = TINY if options.dry_run else LARGE
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if options.device == "cpu":
        torch.set_num_threads(1)


def timed(do: Callable[[], Any], options: argparse.Namespace) -> dict[str, float]:
    """Median time of a call, and that of the first one (which compiles)."""
    seconds = []
    for _ in range(1 + options.sizes.warm_up + options.sizes.repeats):
        started = peers.now(options.device)
        do()
        seconds.append(peers.now(options.device) - started)
    median = statistics.median(seconds[1 + options.sizes.warm_up :])
    return {"ms": round(1000 * median, 2), "first_s": round(seconds[0], 2)}


def fresh(options: argparse.Namespace) -> None:
    """Count the peak of memory from here on."""
    if options.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_mib(options: argparse.Namespace) -> float:
    return peers.memory_mib(options.device, peak=True)


def environment(options: argparse.Namespace, folder: Path) -> Rows:
    """What the numbers were measured on."""
    if options.device == "cpu":
        yield {"device": "cpu"}
        return
    if not torch.backends.cuda.is_built():
        raise RuntimeError(f"torch {torch.__version__} was built without CUDA")
    about = torch.cuda.get_device_properties(0)
    yield {
        "device": about.name,
        "memory_gib": round(about.total_memory / 2**30, 1),
        "driver": query_gpu("--query-gpu=driver_version").splitlines()[0],
        "cuda": torch.version.cuda,
        "bf16": torch.cuda.is_bf16_supported(),
        "cpu_cores": len(os.sched_getaffinity(0)),
    }


def network(options: argparse.Namespace, backbone: str, variant: str = "") -> MUTR:
    """MUTR of conf/model/mutr.yaml; without a GPU and the official code, a small one."""
    if not options.dry_run or options.upstream:
        return peers.ours(backbone)
    swin = backbone == "swin_l" and "compiled" not in variant  # a Swin compiles for long
    return peers.ours("swin_t" if swin else "resnet10_tiny", preset="mutr_tiny")


def training(options: argparse.Namespace, backbone: str, variants: list[str]) -> Rows:
    """A training step of each variant, one after the other."""
    # As the collate function pads: both sides a multiple of 32.
    size = [-(-side // 32) * 32 for side in options.sizes.clip]
    clip = argparse.Namespace(
        backbone=backbone,
        frames=5,
        size=size,
        upstream=options.upstream,
        device=options.device,
        compile_backend="eager" if options.dry_run else "inductor",
    )
    for variant in variants:
        fresh(options)
        step = steps.make_step(clip, variant, network(options, backbone, variant))
        row = timed(step, options)
        yield (
            {"backbone": backbone, "variant": variant}
            | row
            | {"clips_per_s": round(1000 / row["ms"], 2), "peak_mib": peak_mib(options)}
        )
        del step


def plain_steps(backbone: str) -> Callable:
    def step(options: argparse.Namespace, folder: Path) -> Rows:
        official = ["upstream", "upstream_bf16"] if options.upstream else []
        yield from training(options, backbone, ["float32", "bf16", *official])

    return step


def compiled_step(backbone: str) -> Callable:
    return lambda options, folder: training(options, backbone, ["bf16_compiled"])


def expressions_of(options: argparse.Namespace) -> int:
    return 2 if options.dry_run else EXPRESSIONS


def expressions(options: argparse.Namespace, folder: Path) -> Rows:
    """All expressions of a video on one clip: ours at once, the official code one by one."""
    clip = argparse.Namespace(frames=5, size=options.sizes.clip)
    frames = peers.clip(clip, options.device)
    count = expressions_of(options)
    for backbone in ("resnet50", "swin_l"):
        model = network(options, backbone).to(options.device).eval()
        ids = peers.token_ids(list(range(count))).to(options.device)

        def ours(model=model, ids=ids) -> None:
            peers.run_ours(model, frames, ids)

        sides: dict[str, Callable[[], None]] = {"rvos": ours}
        if options.upstream:
            other, _ = peers.upstream(options.upstream, backbone, model.text.roberta.config)
            other = other.to(options.device).eval()

            def theirs(other=other) -> None:
                for number in range(count):
                    peers.run_upstream(other, frames, number)

            sides["official"] = theirs
        for side, call in sides.items():
            for precision in ("float32", "bf16"):
                fresh(options)
                with torch.autocast(options.device, torch.bfloat16, enabled=precision == "bf16"):
                    row = timed(call, options)
                yield (
                    {"backbone": backbone, "side": side, "precision": precision}
                    | {"expressions": count, "ms": row["ms"]}
                    | {"ms_per_expression": round(row["ms"] / count, 2)}
                    | {"peak_mib": peak_mib(options)}
                )


def parity(options: argparse.Namespace, folder: Path) -> Rows:
    """The shipped weights, which segment these videos, in both precisions."""
    split = synthetic(folder, SMALL, videos=1 if options.dry_run else 8, frames=5)
    settings = CoarseSettings.preset("mutr_tiny", short_side=96)
    model = peers.ours("resnet10_video", preset="mutr_tiny", num_queries=1)
    load_weights(model, peers.REPOSITORY / "checkpoints/mutr_tiny_demo.pth")
    model = model.to(options.device)
    pixels = different = union = intersection = 0
    for video in split.videos:
        texts = [expression.text for expression in video.expressions][: expressions_of(options)]
        tracks = []
        for enabled in (False, True):
            frames = split.open_frames(video)
            with torch.autocast(options.device, torch.bfloat16, enabled=enabled):
                found = segment_video(model, frames, texts, settings)
            tracks.append([mask for one in found for mask in one.track])
        for pair in zip(*tracks, strict=True):
            exact, rounded = (decode(m) if m else np.zeros(SMALL, np.uint8) for m in pair)
            pixels += exact.size
            different += int((exact != rounded).sum())
            union += int((exact | rounded).sum())
            intersection += int((exact & rounded).sum())
    yield {
        "weights": "mutr_tiny_demo",
        "masks_mpixels": round(pixels / 1e6, 2),
        "share_of_pixels_that_differ": different / pixels,
        "iou_of_all_masks": round(intersection / max(union, 1), 5),
    }


def synthetic(folder: Path, size: tuple[int, int], *, videos: int, frames: int):
    """The training split of a made-up dataset."""
    synthesize(
        folder,
        size=size,
        num_videos={"train": videos},
        num_frames=frames,
        num_objects=(3, 5),
        seed=0,
        object_size=(0.2, 0.34),
        camera_shake=1.0,
        pillars=0.3,
        no_target=0.0,
        jpeg_quality=60,
        hidden_truth=[],
        workers=1,
    )
    split, _ = open_checked("mevis", folder, "train", with_truth=True, skip_bad=False)
    return split


def tracking(make: Callable[[Sizes], Any]) -> Callable:
    def step(options: argparse.Namespace, folder: Path) -> Rows:
        sizes = options.sizes
        torch.manual_seed(0)
        model = make(sizes)
        with torch.no_grad():  # every object counts as seen, or no mask would be encoded
            model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(10)
        tracker = TransformersTracker(model, device=options.device, precision="bf16", compile=False)
        boxes = write_frames(folder, sizes.frames, sizes.video)
        names = [f"{t:05d}" for t in range(sizes.frames)]

        def track(count: int, length: int) -> None:
            with FrameCache(FrameFolder(folder, names[:length])) as frames:
                track_boxes(tracker, frames, 0, boxes[:count], objects_at_once=count)

        for count in sizes.objects:
            track(count, min(5, sizes.frames))  # warm up
            fresh(options)
            started = peers.now(options.device)
            track(count, sizes.frames)
            seconds = peers.now(options.device) - started
            yield {
                "objects": count,
                "frames_per_s": round(sizes.frames / seconds, 2),
                "peak_mib": peak_mib(options),
            }

    return step


def sam2_model(sizes: Sizes) -> Any:
    """SAM 2.1 large; the smallest encoder where the images are tiny."""
    large = sizes is LARGE
    size = SIZES[-1] if large else Size("tiny", 16, 1, (1, 1, 2, 1), (3,), (8, 4, 14, 7), 7)
    config = config_for(size, version="2.1", image_size=sizes.image)
    return transformers.Sam2VideoModel(config)


def edgetam_model(sizes: Sizes) -> Any:
    """EdgeTAM as published (RepViT-M1); fewer latents where the images are tiny."""
    side = sizes.image
    backbone = transformers.TimmWrapperConfig(
        architecture="repvit_m1",
        model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
    )
    vision = transformers.EdgeTamVisionConfig(
        backbone_config=backbone, backbone_feature_sizes=[[side // k] * 2 for k in (4, 8, 16)]
    )
    latents = min(side // 64, 16)  # per side of the memory of a frame
    config = transformers.EdgeTamVideoConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": side},
        image_size=side,
        memory_attention_rope_feat_sizes=[side // 16] * 2,
        memory_attention_rope_k_sizes=[latents] * 2,
        perceiver_resampler_num_latents_2d=latents**2,
    )
    return transformers.EdgeTamVideoModel(config)


def loader(options: argparse.Namespace, folder: Path) -> Rows:
    """train.py as it is, in bf16, its own measure of speed (rvos/train/callbacks.py)."""
    sizes = options.sizes
    videos = 2 if options.dry_run else 4
    synthetic(folder / "data", sizes.video, videos=videos, frames=5 if options.dry_run else 20)
    overrides = {
        "data": "mevis",
        "data.root": folder / "data",
        "data.val_split": "null",
        "data.split": "train",
        "data.num_workers": 1 if options.dry_run else 4,
        "data.global_batch_size": 1,
        "model": "mutr_tiny" if options.dry_run else "mutr",
        "model.tokenizer": "words",
        "trainer.accelerator": "cpu" if options.dry_run else "gpu",
        "trainer.precision": "bf16-mixed",
        "trainer.max_steps": sizes.train_steps,
        "trainer.num_sanity_val_steps": 0,
        "trainer.limit_val_batches": 0,
        "trainer.log_every_n_steps": 1,
        "trainer.enable_model_summary": "false",
        "callbacks.progress": "null",
        "callbacks.speed.every_n_steps": max(sizes.train_steps // 4, 1),
        "trainer.enable_progress_bar": "false",
        "output_dir": folder / "run",
    }
    if options.dry_run:
        overrides |= {
            "data.clip.num_frames": 2,
            "data.clip.resizing.short_sides": "[64]",
            "data.clip.resizing.max_long_side": 96,
            "data.clip.resizing.crop_probability": 0,
        }
    sys.argv[1:] = [f"{key}={value}" for key, value in overrides.items()]
    spec = importlib.util.spec_from_file_location("train_program", peers.REPOSITORY / "train.py")
    assert spec and spec.loader
    program = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = program
    spec.loader.exec_module(program)
    program.main()
    (file,) = (folder / "run" / "csv").glob("version_*/metrics.csv")
    rows = [row for row in csv.DictReader(file.open()) if row.get("train/loader_wait_share")]
    last = rows[-1]  # the first ones warm up
    yield {
        "clips_per_s": round(float(last["train/clips_per_second"]), 2),
        "loader_wait_share": round(float(last["train/loader_wait_share"]), 4),
        "workers": overrides["data.num_workers"],
        "peak_gib": round(float(last.get("train/gpu_memory_gib") or 0), 2),
    }


STEPS: dict[str, Callable] = {
    "environment": environment,
    "train_resnet50": plain_steps("resnet50"),
    "train_swin_l": plain_steps("swin_l"),
    "expressions": expressions,
    "parity": parity,
    "sam2": tracking(sam2_model),
    "edgetam": tracking(edgetam_model),
    "loader": loader,
    "compiled_resnet50": compiled_step("resnet50"),
    "compiled_swin_l": compiled_step("swin_l"),
}
