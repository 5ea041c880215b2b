"""Videos refined and scored, by one process or many; then tables, page, dashboard, submission.

`python -m rvos merge RUN` makes the latter of the files that are there.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from rvos.app.evaluation import Evaluation, open_data
from rvos.data.split import Split
from rvos.errors import InputError
from rvos.masks import write_json
from rvos.refine import NoPresence
from rvos.report.console import print_results
from rvos.report.csv_tables import write_tables
from rvos.report.metrics import Metrics
from rvos.report.plots import write_heat_map
from rvos.report.rows import make_rows
from rvos.report.submission import check, pack
from rvos.report.windows import make_windows
from rvos.score.evaluate import Scorer, ScoreStage, num_workers
from rvos.score.inputs import Inputs
from rvos.score.results import Results, read_results
from rvos.stages.pool import PoolDevices
from rvos.stages.records import raise_failures
from rvos.stages.run_folder import MASKLETS_FILE, read_settings, used_split
from rvos.stages.runner import run_stage


def refine_and_score(
    console: Console, folder: Path, cfg: Mapping[str, Any], todo: Evaluation, inputs: Inputs
) -> float | None:
    """What is missing of this job's part; then, if nothing is left of the split, the results.

    Returns J&F, if scored. Raises VideoProblems listing what is wrong with which video; the others
    are done then.
    """
    keep_masklets(folder, inputs)
    videos = inputs.split.videos
    part = todo.sharing.part(videos)
    scorer = Scorer(
        todo.rules,
        todo.metrics,
        folder,
        inputs.protocol,
        optional=todo.optional,
        explorer=todo.explorer,
    )
    stage = ScoreStage(inputs, scorer, todo.check_masklets)
    devices = PoolDevices(num_workers(todo.score.workers, part), todo.sharing)
    raise_failures(run_stage(stage, inputs.split, devices))
    if left := [video for video in videos if stage.missing(video)]:
        console.print(f"{len(part)} videos done; {len(left)} are left to other shards")
        return None
    return write_results(console, folder, cfg, todo, inputs.split)


def keep_masklets(folder: Path, inputs: Inputs) -> None:
    """Write which masklets a run reads, if any."""
    if inputs.masklets is not None:
        path = os.path.relpath(inputs.masklets.path, folder)
        write_json(folder / MASKLETS_FILE, {"path": path, "by_expression": inputs.by_expression})


def write_results(
    console: Console, folder: Path, cfg: Mapping[str, Any], todo: Evaluation, split: Split
) -> float | None:
    """Tables, page, dashboard, submission of a run whose videos are all done. Returns J&F."""
    score = None
    results = read_results(folder, [video.name for video in split.videos])
    if results.expressions:
        score = _report(console, folder, cfg, todo.where_scored(results.lacking), split, results)
    if cfg["submission"]:
        path = folder / "submission.zip"
        count = pack(folder / "refined", path, split)
        check(path, split)
        console.print(f"submission: {path} ({count} images)", soft_wrap=True)
    return score


def _report(
    console: Console,
    folder: Path,
    cfg: Mapping[str, Any],
    todo: Evaluation,
    split: Split,
    results: Results,
) -> float:
    """Tables as files and on the console, the page, the dashboard; returns J&F."""
    rows = make_rows(results, todo.rules)
    bootstrap, cells = todo.page.bootstrap, todo.tables["ablation"][1:]
    chosen = {key: value for key, value in cfg["presence"].items() if key != "_target_"}
    metrics = Metrics.of_results(
        results,
        split=split.name,
        refine=cfg["refine"],
        presence=None if isinstance(todo.presence, NoPresence) else chosen,
        protocol=todo.protocol,
        windows=make_windows(results, todo.rules, cells, cfg["refine"].get("tau"), **bootstrap),
        **{name: [rows[label] for label in labels] for name, labels in todo.tables.items()},
    )
    title = f"{cfg['data']['name']} {split.name}: J&F of {cfg['refine']['name']}"
    write_heat_map(folder / "ablation.png", metrics, title)
    write_tables(folder, metrics, results)
    print_results(console, metrics, results, **bootstrap)
    page = todo.page.write(folder)
    if page is not None:
        console.print(f"report: {page}", soft_wrap=True)
    if (wandb := cfg["logger"]["wandb"]) is not None:
        from rvos.report.dashboard import log_evaluation

        keys = ("project", "group", "name", "id", "save_dir")
        log_evaluation(folder, todo.page, **{key: wandb[key] for key in keys})
    return metrics.refined.summary.JF


def of_folder(folder: Path) -> tuple[Evaluation, Split, dict[str, Any]]:
    """What the run in a folder is made of, from its settings. Raises InputError."""
    settings = read_settings(folder).get("config")
    if not settings or settings.get("task") != "eval":
        raise InputError(f"{folder}: expected the folder of a run of eval.py, with its config.yaml")
    cfg = OmegaConf.create(settings)
    assert isinstance(cfg, DictConfig)
    split = open_data(cfg)[0] if cfg.submission else used_split(folder, settings)
    return Evaluation.of(cfg, stages=False), split, settings


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos merge RUN`; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m rvos merge",
        description="Tables, page and submission of a run whose videos are all done.",
    )
    parser.add_argument("run", type=Path, help="the run folder of eval.py")
    given = parser.parse_args(arguments)
    todo, split, settings = of_folder(given.run)
    write_results(Console(), given.run, settings, todo, split)
    return 0
