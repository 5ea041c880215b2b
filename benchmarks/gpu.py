"""Every question about a GPU in one run; started by benchmarks/gpu.sh.

Each step runs in a process of its own, within what is left of the time; its result is written to
OUT/gpu.json at once, so a run that is cut off keeps what it has. A step that fails or runs out of
time is named with its error, and the next one starts. At the end comes a table.

    train_<backbone>    a training step: 1 clip of 5 frames of 360 x 640 (padded to 384 as in
                        training), float32 (without TF32) and bf16
    expressions         16 expressions of a video: one clip of that size, all masks
    parity              coarse masks in bf16 against float32: share of the pixels that differ
    sam2, edgetam       tracking of 1, 5 and 16 boxes at 720p: frames decoded, masks encoded
    loader              train.py on 720p videos: share of the time spent waiting for the loader
    compiled_<backbone> the training step in bf16 with torch.compile, and how long it compiles

Where MUTR names a checkout of the official code, it takes the same steps, its compiled attention
replaced by its own torch function (benchmarks/mutr.py). A time is the median of the repeats.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from machine import describe, query_gpu

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(1, str(REPOSITORY))  # behind this folder, which has a train.py too
STEPS = (
    "train_resnet50",
    "train_swin_l",
    "expressions",
    "parity",
    "sam2",
    "edgetam",
    "loader",
    "compiled_resnet50",
    "compiled_swin_l",
)
PACKAGES = ["torch", "torchvision", "transformers", "timm", "pytorch-lightning"]
IMPORTED = ("av", "einops", "hydra", "lemminflect", "psutil", "pycocotools", "wandb")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on a CPU")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP")
    parser.add_argument("--seconds", type=float, default=560, help="for all steps together")
    parser.add_argument("--step-seconds", type=float, default=180, help="for one step at most")
    options = parser.parse_args()
    started = time.monotonic()
    options.upstream = Path(os.environ["MUTR"]) if os.environ.get("MUTR") else None
    options.device = "cpu" if options.dry_run else "cuda"
    if problems := missing(options):
        sys.exit("\n".join(["error: this run cannot start:", *(f"  - {p}" for p in problems)]))

    import gpu_steps  # only now: all that it imports is there

    gpu_steps.set_up(options)
    file = options.out / ("gpu_dry_run.json" if options.dry_run else "gpu.json")
    result = describe(PACKAGES) | {"sizes": options.sizes._asdict(), "dry_run": options.dry_run}
    result["official_code"] = (
        gpu_steps.peers.KERNEL if options.upstream else "left out: MUTR is not set"
    )
    result["steps"] = {}
    for name in ["environment", *options.only]:
        left = options.seconds - (time.monotonic() - started)
        print(f"{name} ... ({left:.0f} s left)", file=sys.stderr)
        step = gpu_steps.STEPS[name]
        result["steps"][name] = in_a_process(step, options, min(left, options.step_seconds))
        write_whole(file, result)
    print_table(result)
    print(f"{time.monotonic() - started:.0f} s -> {file}")
    if any("error" in step for step in result["steps"].values()):
        sys.exit(1)


def missing(options: argparse.Namespace) -> list[str]:
    """What this run needs and does not find. Imports no torch."""
    absent = [p for p in PACKAGES if importlib.util.find_spec(p.replace("-", "_")) is None]
    absent += [name for name in IMPORTED if importlib.util.find_spec(name) is None]
    problems = [f"packages that are not installed: {', '.join(absent)} (make setup)"] * bool(absent)
    if not absent and importlib.util.find_spec("transformers.models.edgetam_video") is None:
        problems.append("transformers has no EdgeTAM: a newer one is needed")
    if options.upstream and not (options.upstream / "models").is_dir():
        problems.append(f"MUTR={options.upstream}: expected a checkout of the official code")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()
    except OSError as error:
        problems.append(f"--out {options.out}: {error.strerror}")
    if shutil.disk_usage(tempfile.gettempdir()).free < 2e9:
        problems.append(f"{tempfile.gettempdir()}: 2 GB are needed for videos and compiled code")
    return problems + (missing_gpu() if options.device == "cuda" else [])


def missing_gpu() -> list[str]:
    """What is wrong with the GPU, as its driver says."""
    found = query_gpu("--query-gpu=name,memory.total,memory.used")
    if not found:
        return ["nvidia-smi finds no GPU here; --dry-run works without one"]
    name, total, used = (word.strip() for word in found.splitlines()[0].split(","))
    problems = []
    if float(total) < 70_000:
        problems.append(f"{name} has {total} MiB; the steps are made for 80 GB")
    if float(used) > 2_000 or query_gpu("--query-compute-apps=pid"):
        problems.append(f"{name} is in use ({used} MiB); times would say nothing")
    return problems


# ------------------------------------------------------------------------------------- one step


def in_a_process(step: Callable, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Its rows, or its error; it and all that it started are ended when the time is over.

    A fork: what is imported here (tens of seconds on a cold disk) is not imported again. CUDA
    starts in the forks only.
    """
    if seconds <= 0:
        return {"error": "left out: the time was over"}
    started = time.monotonic()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    rows: list[dict[str, Any]] = []
    outcome: dict[str, Any] = {"error": f"ended by the time limit after {seconds:.1f} s"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = context.Process(target=_run_step, args=(step, options, Path(folder), theirs))
        process.start()
        theirs.close()
        while ours.poll(max(0.0, started + seconds - time.monotonic())):
            try:
                message = ours.recv()
            except EOFError:
                process.join()
                outcome = {"error": f"the process ended with status {process.exitcode}"}
                break
            if isinstance(message, dict):
                rows.append(message)
            else:
                outcome = {} if message is None else {"error": message}
                break
        process.join(0 if "error" in outcome else 10)
        process.kill()
        with suppress(ProcessLookupError):  # nothing that it started is left
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
    return {"seconds": round(time.monotonic() - started, 1), "rows": rows, **outcome}


def _run_step(
    step: Callable, options: argparse.Namespace, folder: Path, results: Connection
) -> None:
    os.setsid()  # a group of its own, to be ended as one
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")  # compiled anew
    try:
        for row in step(options, folder):
            print(f"  {json.dumps(row)}", file=sys.stderr)
            results.send(row)
        results.send(None)
    except BaseException as error:
        traceback.print_exc()
        results.send(f"{type(error).__name__}: {str(error)[:300]}")


def write_whole(file: Path, result: dict[str, Any]) -> None:
    """The JSON, never half of it."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(result, indent=2) + "\n")
    part.replace(file)


def print_table(result: dict[str, Any]) -> None:
    """One block per step: its columns, its rows, its error."""
    print(f"\n{result['machine']}, commit {result['commit']}; {result['official_code']}")
    for name, step in result["steps"].items():
        print(f"\n{name} ({step.get('seconds', 0)} s)")
        if rows := step.get("rows"):
            lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
            widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
            for line in lines:
                print("  " + "  ".join(w.rjust(n) for w, n in zip(line, widths, strict=True)))
        if "error" in step:
            print(f"  {step['error']}")


if __name__ == "__main__":
    main()
