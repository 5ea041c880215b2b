"""MUTR against the official module: time per expression, memory of a training step, FLOPs.

    python benchmarks/mutr.py speed --upstream CHECKOUT --backbone swin_l
    python benchmarks/mutr.py memory --upstream CHECKOUT --backbone resnet50
    python benchmarks/mutr.py flops --backbone swin_l
    python benchmarks/mutr.py gpu --upstream CHECKOUT --backbone swin_l      # needs a CUDA device

CHECKOUT is MUTR or MeViS_Track_Solution_2024; the same random weights and clip are used by both,
in one run, with equal threads. Its compiled attention is replaced by the pure torch function that
it carries itself; every result names that. Text encoder: RoBERTa-base's size, random.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import types
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(1, str(REPOSITORY))  # behind this folder, which has a train.py too

import torch  # noqa: E402
import transformers  # noqa: E402
from machine import describe, write  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from rvos.mutr import MUTR, build_mutr  # noqa: E402
from rvos.mutr.checkpoint import to_official  # noqa: E402
from rvos.mutr.losses import MutrLoss, Targets  # noqa: E402

KERNEL = "upstream's own torch function (not its compiled op); ours: torch"
TOKENS = 12  # per expression, bos and eos included
WEIGHTS = {"ce": 2.0, "bbox": 5.0, "giou": 2.0, "mask": 2.0, "dice": 5.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("speed", "memory", "flops", "gpu"):
        command = commands.add_parser(name)
        command.add_argument("--backbone", default="swin_l")
        command.add_argument("--frames", type=int, default=5)
        command.add_argument("--size", type=int, nargs=2, default=[360, 640], help="height, width")
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--repeats", type=int, default=3, help="the best one counts")
        command.add_argument("--expressions", type=int, nargs="+", default=[1, 16])
        command.add_argument("--one", help=argparse.SUPPRESS)
        if name != "flops":
            command.add_argument("--upstream", type=Path, required=True, help="its checkout")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runs = {"speed": speed, "memory": memory, "flops": flops, "gpu": gpu}
    runs[options.command](options)


# ------------------------------------------------------------------------------ the two models


def ours(backbone: str, *, preset: str = "mutr", **changes: Any) -> MUTR:
    """A choice of conf/model with another backbone and random weights."""
    settings = OmegaConf.to_container(
        OmegaConf.load(REPOSITORY / f"conf/model/{preset}.yaml"), resolve=True
    )
    assert isinstance(settings, dict)
    del settings["_target_"], settings["_partial_"]
    torch.manual_seed(0)
    return build_mutr(**settings | {"backbone": backbone} | changes)  # type: ignore[arg-type]


def upstream(checkout: Path, backbone: str, config: Any) -> tuple[nn.Module, nn.Module]:
    """Model and criterion of the checkout; its missing imports are replaced by stand-ins."""
    sys.path.insert(0, str(checkout))
    op, fill = types.ModuleType("MultiScaleDeformableAttention"), types.ModuleType("weight_init")
    fill.c2_xavier_fill = lambda module: None  # type: ignore[attr-defined]  # weights are loaded
    fvcore, fvcore_nn = types.ModuleType("fvcore"), types.ModuleType("fvcore.nn")
    fvcore_nn.weight_init = fill  # type: ignore[attr-defined]
    sys.modules |= {
        "MultiScaleDeformableAttention": op,
        "fvcore": fvcore,
        "fvcore.nn": fvcore_nn,
        "fvcore.nn.weight_init": fill,
    }

    class Tokenizer:
        """Captions are numbers of an expression: the ids both sides read."""

        def batch_encode_plus(self, captions: list[str], **_: Any) -> transformers.BatchEncoding:
            ids = token_ids([int(caption) for caption in captions])
            return transformers.BatchEncoding(
                {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            )

    transformers.RobertaTokenizerFast.from_pretrained = lambda name: Tokenizer()
    transformers.RobertaModel.from_pretrained = lambda name: transformers.RobertaModel(config)
    import torchvision

    build_resnet = {name: getattr(torchvision.models, name) for name in ("resnet50", "resnet101")}
    for name, build in build_resnet.items():  # random weights, not downloaded ones
        without = lambda pretrained=False, _build=build, **rest: _build(**rest)  # noqa: E731
        setattr(torchvision.models, name, without)
    import opts
    from models import build_model
    from models.ops.functions import ms_deform_attn_func as functions

    class Sampling(torch.autograd.Function):
        """Only its name is kept: `apply` calls the pure torch function, autograd does the rest."""

        @staticmethod
        def apply(value, shapes, starts, locations, weights, step):
            return functions.ms_deform_attn_core_pytorch(value, shapes, locations, weights)

    from models.ops.modules import ms_deform_attn

    ms_deform_attn.MSDeformAttnFunction = Sampling
    official = backbone + ("_p4w7" if "swin" in backbone else "")
    parser = argparse.ArgumentParser(parents=[opts.get_args_parser()])
    arguments = parser.parse_args(
        ["--device", "cpu", "--backbone", official, "--binary", "--masks", "--with_box_refine"]
    )
    model, criterion, _ = build_model(arguments)
    return model, criterion


def both(options: argparse.Namespace) -> tuple[MUTR, nn.Module, nn.Module]:
    model = ours(options.backbone)
    other, criterion = upstream(options.upstream, options.backbone, model.text.roberta.config)
    other.load_state_dict(to_official(model))
    return model, other, criterion


def clip(options: argparse.Namespace, device: str = "cpu") -> Tensor:
    torch.manual_seed(1)
    return torch.randn(1, options.frames, 3, *options.size).to(device)


def token_ids(numbers: list[int]) -> Tensor:
    """(E, TOKENS) int64, different for every number."""
    rows = [(torch.arange(4, TOKENS + 2) * (7 + n) % 900 + 4).tolist() for n in numbers]
    return torch.tensor([[0, *row, 2] for row in rows])


def run_ours(model: MUTR, frames: Tensor, ids: Tensor) -> Tensor:
    """All expressions at once -> mask logits of each one's query."""
    with torch.no_grad():
        masks = model(model.encode_video(frames), model.encode_tokens(ids)).mask_logits
    assert masks is not None
    return masks


def run_upstream(model: nn.Module, frames: Tensor, number: int) -> Tensor:
    """One expression, mask logits of its query, as the inference script picks it."""
    size = torch.tensor(frames.shape[-2:], device=frames.device)
    with torch.no_grad():
        out = model([frames[0]], [str(number)], [{"size": size}])
    out = out[0] if isinstance(out, tuple) else out
    query = out["pred_logits"][0].sigmoid().mean(0).amax(-1).argmax()
    return out["pred_masks"][0][:, query]


# ------------------------------------------------------------------------------------- speed


def speed(options: argparse.Namespace, device: str = "cpu") -> None:
    model, other, _ = both(options)
    model, other = model.to(device).eval(), other.to(device).eval()
    frames = clip(options, device)
    result = describe(["torch", "torchvision", "transformers", "timm"]) | settings_of(options)
    result["runs"] = []
    for count in options.expressions:
        ids = token_ids(list(range(count))).to(device)
        times: dict[str, list[float]] = {"ours": [], "upstream": []}
        for _ in range(options.repeats):  # in turns: both meet the same load
            started = now(device)
            masks = run_ours(model, frames, ids)
            times["ours"].append(now(device) - started)
            started = now(device)
            theirs = [run_upstream(other, frames, number) for number in range(count)]
            times["upstream"].append(now(device) - started)
        difference = (masks[:, :, 0] - torch.stack(theirs)).abs().max() / masks.abs().max()
        best = {name: min(values) for name, values in times.items()}
        run = {
            "expressions": count,
            "ours_s": round(best["ours"], 3),
            "upstream_s": round(best["upstream"], 3),
            "times_as_fast": round(best["upstream"] / best["ours"], 3),
            "largest_mask_difference_rel": float(difference),
        }
        print(run, file=sys.stderr)
        result["runs"].append(run)
    write(f"mutr_speed_{options.backbone}_{device}", result)


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "backbone": options.backbone,
        "frames": options.frames,
        "size": options.size,
        "threads": options.threads,
        "repeats": options.repeats,
        "attention_kernel": KERNEL,
    }


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


# ------------------------------------------------------------------------------------ memory

VARIANTS = ("upstream", "ours", "ours_checkpointing")


def memory(options: argparse.Namespace) -> None:
    """Peak resident memory of a process that takes training steps, one process per variant."""
    if options.one:
        print(json.dumps(steps(options, options.one, "cpu")))
        return
    result = describe(["torch", "transformers"]) | settings_of(options) | {"precision": "float32"}
    for variant in VARIANTS:
        command = [sys.executable, __file__, *sys.argv[1:], "--one", variant]
        output = subprocess.check_output(command, text=True)
        result[variant] = json.loads(output.splitlines()[-1])
        print(variant, result[variant], file=sys.stderr)
    compare(result)
    write(f"mutr_memory_{options.backbone}_cpu", result)


def compare(result: dict[str, Any]) -> None:
    """Adds the ratios to upstream's, and what checkpointing costs."""
    for variant in VARIANTS[1:]:
        for key in ("peak_mib", "step_mib", "step_s"):
            ratio = result[variant][key] / result["upstream"][key]
            result[variant][f"{key}_of_upstream"] = round(ratio, 3)
    plain, checkpointing = result["ours"]["step_s"], result["ours_checkpointing"]["step_s"]
    result["checkpointing_costs_time"] = round(checkpointing / plain, 3)


def steps(options: argparse.Namespace, variant: str, device: str) -> dict[str, float]:
    """Forward, loss and backward, `repeats` times; the optimizer is not part of it."""
    switch = variant == "ours_checkpointing"
    model: nn.Module = ours(options.backbone, checkpoint_backbone=switch, checkpoint_encoder=switch)
    criterion: Any = None
    if variant == "upstream":
        model, criterion = upstream(options.upstream, options.backbone, model.text.roberta.config)
    model = model.to(device).train()
    targets = drawn_targets(options, device)
    height, width = targets.masks.shape[-2:]
    frames = clip(options, device)  # (1, T, 3, H, W), padded as both collate functions do
    frames = nn.functional.pad(frames, (0, width - frames.shape[-1], 0, height - frames.shape[-2]))
    before, seconds = memory_mib(device), []
    for _ in range(options.repeats):
        model.zero_grad(set_to_none=True)
        started = now(device)
        if variant == "upstream":
            step_upstream(model, criterion, frames, targets)
        else:
            step_ours(model, frames, targets)
        seconds.append(now(device) - started)
    peak = memory_mib(device, peak=True)
    return {"peak_mib": peak, "step_mib": round(peak - before, 1), "step_s": round(min(seconds), 3)}


def step_ours(model: Any, frames: Tensor, targets: Targets) -> None:
    text = model.encode_tokens(token_ids([0]).to(frames.device))
    predictions = model.forward_pairs(model.encode_video(frames), text)
    count = targets.valid.sum()
    MutrLoss(**WEIGHTS)(predictions, targets, count).total.backward()


def step_upstream(model: nn.Module, criterion: Any, frames: Tensor, targets: Targets) -> None:
    size = torch.tensor(frames.shape[-2:], device=frames.device)
    target = {
        "size": size,
        "labels": torch.zeros(frames.shape[1], dtype=torch.long, device=frames.device),
        "boxes": targets.boxes[0],
        "masks": targets.masks[0],
        "valid": targets.valid[0].long(),
    }
    losses = criterion(model([frames[0]], ["0"], [target]), [target])
    sum(losses[name] * criterion.weight_dict[name] for name in losses).backward()


def drawn_targets(options: argparse.Namespace, device: str) -> Targets:
    """A box in the middle; masks as large as the frames padded to multiples of 32."""
    height, width = (-(-side // 32) * 32 for side in options.size)
    masks = torch.zeros(1, options.frames, height, width, dtype=torch.bool, device=device)
    masks[..., height // 4 : height // 2, width // 4 : width // 2] = True
    boxes = torch.tensor([0.375, 0.375, 0.25, 0.25], device=device).expand(1, options.frames, 4)
    return Targets(masks, boxes, torch.ones(1, options.frames, dtype=torch.bool, device=device))


def memory_mib(device: str, *, peak: bool = False) -> float:
    if device == "cuda":
        read = torch.cuda.max_memory_allocated if peak else torch.cuda.memory_allocated
        return round(read() / 2**20, 1)
    if peak:
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


# ------------------------------------------------------------------------------- FLOPs and GPU


def flops(options: argparse.Namespace) -> None:
    """By torch's counter (matrix products and convolutions), no arithmetic done (meta tensors)."""
    with torch.device("meta"):
        model = ours(options.backbone).eval().requires_grad_(False)
        frames = torch.empty(1, options.frames, 3, *options.size)
        ids = torch.empty(1, TOKENS, dtype=torch.long)
    counter = FlopCounterMode(display=False, depth=2)
    # autocast does not know meta tensors
    no_autocast = mock.patch("torch.autocast", lambda *_, **__: nullcontext())
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH), no_autocast:
        video = model.encode_video(frames)
        shared = counter.get_total_flops()
        model(video, model.encode_tokens(ids))
    counts = counter.get_flop_counts()
    parts = {
        name.removeprefix("MUTR."): round(sum(of_part.values()) / 1e9, 2)
        for name, of_part in counts.items()
        if name.count(".") == name.startswith("MUTR.") and name not in ("Global", "MUTR")
    }
    total = counter.get_total_flops()
    write(
        f"mutr_flops_{options.backbone}",
        describe(["torch"])
        | {"backbone": options.backbone, "frames": options.frames, "size": options.size}
        | {"unit": "GFLOP, one expression", "total": round(total / 1e9, 1)}
        | {"shared_by_expressions": round(shared / 1e9, 1), "share": round(shared / total, 3)}
        | {"parts": parts},
    )


def gpu(options: argparse.Namespace) -> None:
    """The same on a GPU, then bf16 and torch.compile, and memory of training steps."""
    if not torch.cuda.is_available():
        sys.exit("error: no CUDA device here")
    if options.one:
        print(json.dumps(steps(options, options.one, "cuda")))
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    speed(options, "cuda")
    result = describe(["torch", "transformers"]) | settings_of(options)
    result |= {"gpu": torch.cuda.get_device_name(), "precision_of_steps": "float32"}
    model, frames = ours(options.backbone).cuda().eval(), clip(options, "cuda")
    ids = token_ids(list(range(max(options.expressions)))).cuda()
    for name in ("float32", "bf16", "bf16_compiled"):
        if name == "bf16_compiled":
            model.encoder.compile(fullgraph=True)
            model.backbone.compile()
            model.pixel_decoder.compile()
        seconds = []
        with torch.autocast("cuda", torch.bfloat16, enabled=name != "float32"):
            for _ in range(2 + options.repeats):  # the first ones warm up and compile
                started = now("cuda")
                run_ours(model, frames, ids)
                seconds.append(now("cuda") - started)
        result[f"{name}_s"] = round(min(seconds), 4)
    del model
    torch.cuda.empty_cache()
    for variant in VARIANTS:
        command = [sys.executable, __file__, *sys.argv[1:], "--one", variant]
        result[variant] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    compare(result)
    write(f"mutr_gpu_{options.backbone}", result)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
