"""Coarse masks of a whole video: speed against the released inference, memory, GPU throughput.

    python benchmarks/coarse.py speed --upstream CHECKOUT --video CLIP.mp4
    python benchmarks/coarse.py memory --frames 100 300 1000
    python benchmarks/coarse.py gpu --video CLIP.mp4

speed: the same random weights, frames and expressions through the inference loop of a checkout of
MeViS_Track_Solution_2024 and through `segment_video`, one after the other in one process. Theirs
includes its reading of JPEGs, the backbone once per expression and its PNGs; ours reading the same
JPEGs and writing the store's file; neither building and loading the model. Its compiled extension
is replaced at run time by the pure torch function of the checkout itself.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from machine import describe, write  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from PIL import Image  # noqa: E402

from rvos.coarse.segment import Segmentation, segment_video  # noqa: E402
from rvos.coarse.settings import CoarseSettings  # noqa: E402
from rvos.data.frames import FrameFolder, Frames, open_frames  # noqa: E402
from rvos.masks import decode, write_json  # noqa: E402
from rvos.mutr import MUTR, build_mutr  # noqa: E402
from rvos.mutr.checkpoint import save_official  # noqa: E402

CONF = REPOSITORY / "conf"
TEXTS = [
    "the dog jumping for the toy",
    "the woman standing on the left",
    "the animal that runs away",
    "the person throwing something",
    "the dog",
    "the thing that flies through the air",
    "the one that does not move",
    "the brown animal turning around",
    "the toy",
    "the tall person",
    "the dog that comes back",
    "the woman with a dog",
    "the object held in a hand",
    "the one moving fastest",
    "the two who play together",
    "the animal next to the woman",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("speed", help="against the released inference")
    speed.add_argument("--upstream", type=Path, required=True, help="its checkout")
    memory = commands.add_parser("memory", help="peak memory for videos of different length")
    memory.add_argument("--frames", type=int, nargs="+", default=[100, 300, 1000])
    memory.add_argument("--size", type=int, nargs=2, default=[1080, 1920], help="height, width")
    memory.add_argument("--query", default="per_clip", choices=["per_clip", "long_term"])
    gpu = commands.add_parser("gpu", help="frames x expressions per second, peak memory, bf16")
    for command in (speed, gpu):
        command.add_argument("--video", type=Path, required=True, help="a real clip")
        command.add_argument("--backbone", default="swin_l", help="swin_t, swin_s, swin_b, swin_l")
        command.add_argument("--repeats", type=int, default=1, help="the best one counts")
    for command, frames in ((speed, 15), (gpu, 200)):
        command.add_argument("--frames", type=int, default=frames, help="of the clip's start")
    for command, short_side in ((speed, 128), (memory, 432), (gpu, 432)):
        command.add_argument("--short-side", type=int, default=short_side, help="pixels")
    for command in (speed, memory, gpu):
        command.add_argument("--expressions", type=int, default=8)
        command.add_argument("--clip-length", type=int, default=30)
    for command in (speed, memory):
        command.add_argument("--threads", type=int, default=2)
    memory.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    {"speed": measure_speed, "memory": measure_memory, "gpu": measure_gpu}[options.command](options)


def model_of(preset: str, **changes: Any) -> MUTR:
    settings = OmegaConf.to_container(
        OmegaConf.load(CONF / "model" / f"{preset}.yaml"), resolve=True
    )
    assert isinstance(settings, dict)
    del settings["_target_"], settings["_partial_"]
    torch.manual_seed(0)
    model = build_mutr(**settings | {"tokenizer": "words"} | changes).eval()  # type: ignore[arg-type]
    model.add_words(TEXTS)
    return model


def coarse_settings(options: argparse.Namespace, **changes: Any) -> Any:
    values = {"checkpoint": None, "short_side": options.short_side} | changes
    if hasattr(options, "threads"):
        values["cpu_threads"] = options.threads
    return CoarseSettings.preset("mutr", **values, clip_length=options.clip_length)


# -------------------------------------------------------------------------------------- speed


def measure_speed(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    result = describe(["torch", "torchvision", "transformers", "timm"])
    texts = TEXTS[: options.expressions]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = write_clip(options.video, folder / "JPEGImages" / "clip", options.frames)
        model = model_of("mutr", backbone=options.backbone)
        save_official(model, folder / "mutr.pth")
        released = Released(options, model, folder)
        theirs, ours = [], []
        for repeat in range(options.repeats):
            theirs.append(released.run(folder / f"upstream{repeat}", frames, texts))
            started = time.perf_counter()
            answers = segment_video(
                model, FrameFolder(folder / "JPEGImages" / "clip"), texts, coarse_settings(options)
            )
            tracks = {str(e): answer.track for e, answer in enumerate(answers)}
            write_json(folder / "store" / "clip.json.gz", tracks)
            ours.append(time.perf_counter() - started)
        pixels, shares = compare_masks(answers[0], folder / "upstream0", frames)
    write(
        "coarse_speed",
        result
        | {
            **settings_of(options),
            "threads": options.threads,
            "upstream_s": min(theirs),
            "ours_s": min(ours),
            "times_as_fast": round(min(theirs) / min(ours), 2),
            "repeats": options.repeats,
            "first_expression_most_differing_pixels": pixels,
            "first_expression_foreground": shares,
        },
    )


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "clip": options.video.name,
        "backbone": options.backbone,
        "frames": options.frames,
        "expressions": options.expressions,
        "short_side": options.short_side,
        "clip_length": options.clip_length,
    }


def write_clip(video: Path, folder: Path, num_frames: int) -> list[str]:
    """The first frames of a video as MeViS has them; their names."""
    folder.mkdir(parents=True)
    names = []
    for t, frame in enumerate(islice(open_frames(video), num_frames)):
        names.append(f"{t:05d}")
        Image.fromarray(frame).save(folder / f"{names[-1]}.jpg", quality=95)
    return names


class Released:
    """The inference script of the checkout, run in this process on the CPU."""

    def __init__(self, options: argparse.Namespace, model: MUTR, folder: Path):
        _stand_ins(model, options.upstream)
        import inference_mevis
        import opts
        from torchvision import transforms as T

        self.script = inference_mevis
        self.folder = folder
        # Its own transform, at the benchmark's frame size.
        steps = list(inference_mevis.transform.transforms)
        inference_mevis.transform = T.Compose([T.Resize(options.short_side), *steps[1:]])
        parser = argparse.ArgumentParser(parents=[opts.get_args_parser()])
        self.args = parser.parse_args(
            [
                "--device",
                "cpu",
                "--backbone",
                f"{options.backbone}_p4w7",
                "--binary",
                "--masks",
                "--with_box_refine",
                "--resume",
                str(folder / "mutr.pth"),
                "--sub_video_len",
                str(options.clip_length),
            ]
        )
        with contextlib.redirect_stdout(io.StringIO()):
            self.model, *_ = inference_mevis.build_model(self.args)

    def run(self, output: Path, frames: list[str], texts: list[str]) -> float:
        """Seconds from the moment the model is built and loaded."""
        output.mkdir()
        expressions = {str(e): {"exp": text} for e, text in enumerate(texts)}
        started = []
        self.model.eval = lambda: started.append(time.perf_counter()) or self.model.train(False)
        self.script.build_model = lambda args: (self.model, None, None)
        self.script.result_dict = {}
        with contextlib.redirect_stdout(io.StringIO()):
            self.script.sub_processor(
                threading.Lock(),
                0,
                self.args,
                {"clip": {"frames": frames, "expressions": expressions}},
                str(output),
                str(self.folder / "JPEGImages"),
                ["clip"],
            )
        return time.perf_counter() - started[0]


def _stand_ins(model: MUTR, checkout: Path) -> None:
    """What the checkout needs and this machine lacks: the compiled op, a GPU, downloads."""
    sys.path.insert(0, str(checkout))
    op, xavier = types.ModuleType("MultiScaleDeformableAttention"), types.ModuleType("weight_init")
    xavier.c2_xavier_fill = lambda module: None  # type: ignore[attr-defined]  # weights are loaded
    fvcore_nn = types.ModuleType("fvcore.nn")
    fvcore_nn.weight_init = xavier  # type: ignore[attr-defined]
    sys.modules |= {
        "MultiScaleDeformableAttention": op,
        "fvcore": types.ModuleType("fvcore"),
        "fvcore.nn": fvcore_nn,
        "fvcore.nn.weight_init": xavier,
    }
    torch.cuda.set_device = lambda device: None
    config = model.text.roberta.config
    transformers.RobertaModel.from_pretrained = lambda name: transformers.RobertaModel(config)

    class Tokenizer:
        """Our word ids: both sides read the same tokens."""

        def batch_encode_plus(self, texts: list[str], **_: Any) -> transformers.BatchEncoding:
            ids, padding = model.text.tokenize(texts)
            attended = torch.ones_like(ids) if padding is None else (~padding).long()
            return transformers.BatchEncoding({"input_ids": ids, "attention_mask": attended})

    transformers.RobertaTokenizerFast.from_pretrained = lambda name: Tokenizer()
    from models.ops.functions import ms_deform_attn_func as functions

    op.ms_deform_attn_forward = (  # type: ignore[attr-defined]
        lambda value, shapes, starts, locations, weights, step: (
            functions.ms_deform_attn_core_pytorch(value, shapes, locations, weights)
        )
    )


def compare_masks(
    answer: Segmentation, output: Path, frames: list[str], expression_id: str = "0"
) -> tuple[int, list[float]]:
    """Pixels in which the worst frame differs from the PNG; share of foreground, theirs, ours."""
    worst, areas = 0, np.zeros(2)
    for name, rle in zip(frames, answer.track, strict=True):
        theirs = np.asarray(Image.open(output / "clip" / expression_id / f"{name}.png")) > 0
        ours = np.zeros_like(theirs) if rle is None else decode(rle) > 0
        worst = max(worst, int((theirs != ours).sum()))
        areas += [theirs.mean(), ours.mean()]
    return worst, (areas / len(frames)).round(4).tolist()


# ------------------------------------------------------------------------------------- memory


class DrawnFrames:
    """A video of any length, drawn as it is read: a disc that moves over a gradient."""

    source, fps = "drawn", None

    def __init__(self, num_frames: int, size: tuple[int, int]):
        self.names = tuple(f"{t:05d}" for t in range(num_frames))
        self.size = size
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        self._y, self._x = y, x

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Any]:
        height, width = self.size
        background = np.stack([self._x * 255 / width, self._y * 255 / height, self._x * 0], -1)
        for t in range(len(self)):
            frame = background.astype(np.uint8)
            center = (height / 2, width * (0.2 + 0.6 * (t % 60) / 60))
            inside = (self._y - center[0]) ** 2 + (self._x - center[1]) ** 2 < (height / 6) ** 2
            frame[inside] = (255, 40, 40)
            yield frame


def measure_memory(options: argparse.Namespace) -> None:
    """Each length in a process of its own: the peak of a process never falls."""
    if options.one:
        torch.set_num_threads(options.threads)
        print(json.dumps(peak_of_one(options)))
        return
    result = describe(["torch"]) | {
        "model": "mutr_tiny",
        "size": options.size,
        "short_side": options.short_side,
        "expressions": options.expressions,
        "clip_length": options.clip_length,
        "query": options.query,
        "threads": options.threads,
    }
    common = [sys.executable, __file__, *sys.argv[1:], "--one"]
    result["runs"] = []
    for frames in options.frames:
        command = [*common, "--frames", str(frames)]
        output = subprocess.check_output(command, text=True)
        result["runs"].append({"frames": frames, **json.loads(output.splitlines()[-1])})
        print(result["runs"][-1], file=sys.stderr)
    write(f"coarse_memory_{options.query}_{options.expressions}_expressions", result)


def peak_of_one(options: argparse.Namespace) -> dict[str, Any]:
    (num_frames,) = options.frames
    model = model_of("mutr_tiny")
    source: Frames = DrawnFrames(num_frames, tuple(options.size))
    before = peak_mib()
    started = time.perf_counter()
    answers = segment_video(
        model,
        source,
        (TEXTS * 2)[: options.expressions],
        coarse_settings(options, query=options.query),
    )
    with tempfile.TemporaryDirectory() as folder:
        tracks = {str(e): answer.track for e, answer in enumerate(answers)}
        write_json(Path(folder) / "video.json.gz", tracks)
    rle_bytes = sum(len(m["counts"]) for a in answers for m in a.track if m is not None)
    return {
        "peak_mib": peak_mib(),
        "peak_before_mib": before,
        "rle_mib": rle_bytes / 2**20,
        "seconds": round(time.perf_counter() - started, 1),
    }


def peak_mib() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


# ---------------------------------------------------------------------------------------- GPU


def measure_gpu(options: argparse.Namespace) -> None:
    if not torch.cuda.is_available():
        sys.exit("error: no CUDA device here")
    result = describe(["torch", "timm"]) | {"gpu": torch.cuda.get_device_name()}
    model = model_of("mutr", backbone=options.backbone).cuda()
    texts = TEXTS[: options.expressions]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "clip"
        num_frames = len(write_clip(options.video, folder, options.frames))
        seconds = []
        for _ in range(1 + options.repeats):  # the first warms up
            torch.cuda.synchronize()
            started = time.perf_counter()
            with torch.autocast("cuda", torch.bfloat16):
                segment_video(model, FrameFolder(folder), texts, coarse_settings(options))
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    write(
        "coarse_gpu",
        result
        | {
            **settings_of(options),
            "precision": "bf16 autocast",
            "seconds": min(seconds[1:]),
            "frame_expressions_per_s": round(num_frames * len(texts) / min(seconds[1:]), 2),
            "peak_gpu_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        },
    )


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
