"""A training step against the official code, and what a run of train.py measured of itself.

    python benchmarks/train.py step --upstream CHECKOUT --backbone resnet50
    python benchmarks/train.py step --upstream CHECKOUT --backbone swin_l --device cuda
    python benchmarks/train.py run FOLDER      # loss, J&F and speed over the time of a finished run

`step`: forward, losses, backward, clipping and AdamW on the same clip, weights and parameter
groups, one clip of five frames. Variants take turns in one process, so all meet the same load; on
a GPU each is also run in a process of its own for its peak memory. CHECKOUT and the stand-in for
its compiled attention: see benchmarks/mutr.py.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutr as peers
import torch
from machine import describe, write
from torch import nn

from rvos.mutr import MUTR
from rvos.train.optim import Optim

OPTIM = Optim(
    lr=1e-4,
    lr_backbone=6e-6,
    lr_text_encoder=1e-5,
    lr_linear_proj=1e-4,
    weight_decay=5e-4,
    betas=(0.9, 0.999),
    warmup_steps=0,
    milestones=[1],
    gamma=0.1,
)
CLIP = 0.1
VARIANTS = {
    "cpu": ("upstream", "float32", "compiled", "bf16"),
    "cuda": ("upstream", "float32", "upstream_bf16", "bf16", "bf16_compiled"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_step = commands.add_parser("step")
    of_step.add_argument("--upstream", type=Path, required=True, help="its checkout")
    of_step.add_argument("--backbone", default="swin_l")
    of_step.add_argument("--frames", type=int, default=5)
    of_step.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=[384, 640],
        help="height, width, multiples of 32 as in training",
    )
    of_step.add_argument("--threads", type=int, default=2)
    of_step.add_argument("--repeats", type=int, default=3, help="the best one counts")
    of_step.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    of_step.add_argument("--compile-backend", default="inductor", help="torch.compile's")
    of_step.add_argument("--memory-of", help=argparse.SUPPRESS)
    of_run = commands.add_parser("run")
    of_run.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.command == "run":
        of_finished_run(options.folder)
    elif options.memory_of:
        print(json.dumps(peak_memory(options)))
    else:
        compare_steps(options)


def compare_steps(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    device = options.device
    # Ours first: to load upstream, torchvision's model functions are replaced.
    models = {name: peers.ours(options.backbone) for name in VARIANTS[device]}
    steps = {name: make_step(options, name, model) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    warm_up = 3 if device == "cuda" else 1  # compiles, fills the optimizer's state
    for turn in range(warm_up + options.repeats):
        for name, step in steps.items():
            started = peers.now(device)
            step()
            if turn >= warm_up:
                seconds[name].append(peers.now(device) - started)
    best = {name: min(values) for name, values in seconds.items()}
    result = describe(["torch", "transformers"]) | peers.settings_of(options)
    result["variants"] = {
        name: {"s": round(value, 4), "times_as_fast": round(best["upstream"] / value, 3)}
        for name, value in best.items()
    }
    if device == "cuda":
        result["gpu"] = torch.cuda.get_device_name()
        del models, steps
        torch.cuda.empty_cache()
        for name, row in result["variants"].items():
            command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
            row |= json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
        reference = result["variants"]["upstream"]["peak_mib"]
        for row in result["variants"].values():
            row["memory_of_upstream"] = round(row["peak_mib"] / reference, 3)
    print(json.dumps(result["variants"], indent=1), file=sys.stderr)
    write(f"train_step_{options.backbone}_{device}", result)


def make_step(options: argparse.Namespace, variant: str, ours: MUTR) -> Callable[[], None]:
    """One optimizer step on the same clip each time it is called, from the weights of `ours`."""
    device = options.device
    theirs = variant.startswith("upstream")
    model: Any = ours
    if theirs:
        model, criterion = peers.upstream(
            options.upstream, options.backbone, ours.text.roberta.config
        )
        model.load_state_dict(peers.to_official(ours))
    model = model.to(device).train()
    if variant.endswith("compiled"):
        for part in (model.backbone, model.encoder, model.pixel_decoder):
            part.compile(backend=options.compile_backend)
    optimizer = official_optimizer(model) if theirs else OPTIM.optimizer(model)
    frames, targets = peers.clip(options, device), peers.drawn_targets(options, device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled="bf16" in variant):
            if theirs:  # both run backward too
                peers.step_upstream(model, criterion, frames, targets)
            else:
                peers.step_ours(model, frames, targets)
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()

    return step


def official_optimizer(model: nn.Module) -> torch.optim.AdamW:
    """The four groups of the official train.py, by its names."""
    kinds = {
        "backbone": ["backbone.0"],
        "text_encoder": ["text_encoder"],
        "linear_proj": ["reference_points", "sampling_offsets"],
    }
    rates = {
        "backbone": OPTIM.lr_backbone,
        "text_encoder": OPTIM.lr_text_encoder,
        "linear_proj": OPTIM.lr_linear_proj,
        "main": OPTIM.lr,
    }
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in rates}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found = [kind for kind, keys in kinds.items() if any(key in name for key in keys)]
            groups[found[0] if found else "main"].append(parameter)
    return torch.optim.AdamW(
        [{"params": groups[name], "lr": rate} for name, rate in rates.items()],
        weight_decay=OPTIM.weight_decay,
    )


def peak_memory(options: argparse.Namespace) -> dict[str, float]:
    """Peak GPU memory of three steps, in a process of its own."""
    step = make_step(options, options.memory_of, peers.ours(options.backbone))
    for _ in range(3):
        step()
    return {"peak_mib": peers.memory_mib("cuda", peak=True)}


def of_finished_run(folder: Path) -> None:
    """Means of the metrics that train.py logged, and the validations in order."""
    file = max(folder.glob("csv/version_*/metrics.csv"))
    rows = list(csv.DictReader(file.open()))

    def column(key: str) -> list[float]:
        return [float(row[key]) for row in rows if row.get(key)]

    shares, rates = column("train/loader_wait_share"), column("train/clips_per_second")
    validations = [
        {"step": int(row["step"])}
        | {key: round(100 * float(row[f"val/{key}"]), 2) for key in ("J", "F", "JF")}
        for row in rows
        if row.get("val/JF")
    ]
    result = describe(["torch", "pytorch_lightning"]) | {
        "run": folder.name,
        "clips_per_second": round(sum(rates) / len(rates), 2),
        "loader_wait_share": round(sum(shares) / len(shares), 4),
        "loss": [round(value, 3) for value in column("train/loss")],
        "validations": validations,
    }
    write(f"train_run_{folder.name}", result)


if __name__ == "__main__":
    main()
