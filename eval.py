"""Frames + expressions -> refined masks, scores and a report: `python eval.py refine.window=15`.

Settings: conf/eval.yaml. Stages keep their masks in the stores and are run only where these lack
something; results go to the run folder (`output_dir`).
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track as progress

from rvos import InputError, __version__
from rvos.ablation import Hashes, grid
from rvos.data.formats import Truth, open_split, open_truth
from rvos.data.mevis import Split
from rvos.entry import (
    CONFIG_DIR,
    check_folder,
    check_folder_of_ranks,
    claim_folder,
    entry_point,
    refuse_ranks_in_multirun,
    run_folder,
)
from rvos.evaluation import evaluate, num_workers
from rvos.inputs import Inputs, Job, check_missing, first_videos, open_tracks, read_nouns
from rvos.masks import TrackFiles, find_json
from rvos.refine import KeepCoarse, Rule, make_rule
from rvos.report.html import check_report, write_report
from rvos.report.plots import write_heat_map
from rvos.report.rules import print_rules, write_rules
from rvos.report.submission import check, pack
from rvos.report.tables import ablation_cells, metrics, print_ablation, print_metrics, write_tables

log = logging.getLogger(__name__)
RESULTS = ("metrics.json", "per_expression.csv", "refined", "decisions")
NO_MASKLETS: tuple[None, dict[str, Any]] = (None, {})  # and no nouns


@entry_point("eval")
def main(cfg: DictConfig) -> None:
    started = time.monotonic()
    rule = make_rule(**cfg.refine)
    workers = num_workers(cfg.score.workers)
    cells = grid(cfg.ablation.windows, cfg.ablation.taus)
    rules = named_rules(cfg.ablation.rules, cfg.refine)
    every = [*cells, *rules.values()]

    # What is wrong with the settings is said before a network runs.
    check_missing(cfg.score.missing)
    check_report(**cfg.report)
    needs_masklets = any(not isinstance(r, KeepCoarse) for r in (rule, *every))
    source = masklet_source(cfg) if needs_masklets else NO_MASKLETS
    split = first_videos(
        open_split(cfg.data.format, cfg.data.root, cfg.data.split), cfg.score.max_videos
    )
    truth = truth_to_score(cfg, split)
    trainer = make_trainer(cfg)
    first = trainer is None or trainer.is_global_zero
    folder = run_folder()
    results_of = {"inputs": {"meta_expressions_sha256": split.meta_sha256}, "results": RESULTS}
    if first:
        check_folder(folder, cfg, **results_of)
    if not isinstance(source, tuple):
        source.check(split, data_name=cfg.data.name, stores=cfg.paths.stores, write=first)
    coarse = coarse_files(cfg, split, trainer)
    masklets, nouns = masklet_files(cfg, split, trainer, source)
    if not first:
        return  # the other processes' work is done

    inputs = Inputs(split, truth, coarse, masklets, nouns, missing=cfg.score.missing)
    jobs = inputs.jobs()
    claim_folder(folder, cfg, **results_of)
    log.info(
        "rvos %s: %d videos, %d expressions -> %s",
        __version__,
        len(jobs),
        sum(len(job.video.expressions) for job in jobs),
        folder,
    )

    results, hashes = [], Hashes(1 + len(every))
    videos = evaluate(jobs, rule, every, folder, workers=workers)
    for video in progress(videos, "Refining and scoring", total=len(jobs)):
        for result in video:
            hashes.update(result.fingerprint)
            results.append(result)

    console = Console()
    if truth is not None:
        digests = hashes.hexdigests()
        table = ablation_cells(results, cells, digests) if cells else []
        content = metrics(
            results,
            split=split.name,
            refine=OmegaConf.to_container(cfg.refine),
            num_scored_as_empty=inputs.num_scored_as_empty,
        )
        if rules:
            rows = write_rules(folder, results, rules, digests, first=len(cells))
            print_rules(console, rows)
        if len(cfg.ablation.windows) > 1 and len(cfg.ablation.taus) > 1:
            write_heat_map(folder / "ablation.png", table, f"{cfg.data.name} {split.name}: J&F")
        write_tables(folder, content, results, table)
        if table:
            print_ablation(console, table)
        bootstrap = {key: cfg.report[key] for key in ("resamples", "confidence", "seed")}
        print_metrics(console, content, results, **bootstrap)
        report = write_report(folder, jobs, frame_path=split.frame_path, **cfg.report)
        if report is not None:
            console.print(f"report: {report}", soft_wrap=True)
        if cfg.logger.wandb is not None:
            log_to_dashboard(cfg, folder, jobs, split)
    if cfg.submission:
        count = pack(folder / "refined", folder / "submission.zip", split)
        check(folder / "submission.zip", split)
        console.print(f"submission: {folder / 'submission.zip'} ({count} images)", soft_wrap=True)
    console.print(f"{folder} ({time.monotonic() - started:.1f} s)", soft_wrap=True)


def log_to_dashboard(cfg: DictConfig, folder: Path, jobs: Sequence[Job], split: Split) -> None:
    """The finished run in Weights & Biases."""
    from rvos.report.dashboard import log_evaluation

    log_evaluation(
        folder,
        jobs,
        **{key: cfg.logger.wandb[key] for key in ("project", "group", "name", "id", "save_dir")},
        **{key: cfg.report[key] or 1 for key in ("strips", "frames", "width")},  # null: no report
        config=OmegaConf.to_container(cfg, resolve=True),
        frame_path=split.frame_path,
    )


def truth_to_score(cfg: DictConfig, split: Split) -> Truth | None:
    """The ground truth; None for a submission of a split that has none."""
    if cfg.submission and cfg.data.format == "mevis":
        if find_json(split.folder / "mask_dict.json") is None:
            return None
    return open_truth(cfg.data.format, split)


def named_rules(names: Sequence[str], refine: DictConfig) -> dict[str, Rule]:
    """The rules of `ablation.rules`, each as its file in conf/refine describes it, with the window
    and tau of `refine` where both have them."""
    files = {name: CONFIG_DIR / "refine" / f"{name}.yaml" for name in names}
    if missing := [name for name, file in files.items() if not file.is_file()]:
        raise InputError(f"ablation.rules: no such rule: {', '.join(missing)}")
    rules = {}
    for name, file in files.items():
        settings = OmegaConf.load(file)
        for key in ("window", "tau"):
            if settings[key] is not None and refine[key] is not None:
                settings[key] = refine[key]
        rules[name] = make_rule(**settings)
    return rules


def make_trainer(cfg: DictConfig) -> Any:
    """Lightning's trainer where a network or several devices are used, else None (no torch)."""
    alone = cfg.trainer.devices in (1, "1") and cfg.trainer.num_nodes == 1
    if cfg.coarse.name == "files" and cfg.masklets.name != "sam2" and alone:
        return None
    from rvos.training import check_devices

    check_devices(cfg.trainer.accelerator, cfg.trainer.devices)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # its hints are for training
    trainer = instantiate(cfg.trainer, logger=False, enable_checkpointing=False)
    refuse_ranks_in_multirun(trainer.world_size)
    check_folder_of_ranks()
    return trainer


def coarse_files(cfg: DictConfig, split: Split, trainer: Any) -> TrackFiles:
    """Stage 1: the files of the coarse masks, made where they are missing."""
    if cfg.coarse.name == "files":
        return open_tracks("coarse.path", cfg.coarse.path)
    from rvos.coarse import make_coarse
    from rvos.coarse_store import open_coarse_store, run_coarse

    settings = make_coarse(**cfg.coarse)
    store = open_coarse_store(
        cfg.paths.stores,
        split,
        settings,
        data_name=cfg.data.name,
        model=OmegaConf.to_container(cfg.model, resolve=True),
        precision=str(trainer.precision),
    )
    run_coarse(split, store, settings, build_model=lambda: instantiate(cfg.model), trainer=trainer)
    return TrackFiles(store.path)


def masklet_source(cfg: DictConfig) -> Any:
    """Given masklets and nouns, or the stage that makes them."""
    if cfg.masklets.name == "files":
        tracks = open_tracks("masklets.path", cfg.masklets.path)
        return tracks, read_nouns("masklets.nouns", cfg.masklets.nouns)
    from rvos.masklets.stage import make_masklets

    return make_masklets(**OmegaConf.to_container(cfg.masklets, resolve=True))


def masklet_files(
    cfg: DictConfig, split: Split, trainer: Any, source: Any
) -> tuple[TrackFiles | None, Any]:
    """Stage 2: the files of the masklets, made where they are missing, and the nouns."""
    if isinstance(source, tuple):
        return source
    where = {"data_name": cfg.data.name, "stores": cfg.paths.stores}
    if trainer is None:
        files = source.run(split, **where)
    else:
        from rvos.devices import on_every_device

        files = on_every_device(
            trainer,
            lambda rank, world_size, device: source.run(
                split, **where, rank=rank, world_size=world_size, device=device
            ),
        )
    return files.tracks, files.nouns


if __name__ == "__main__":
    main()
