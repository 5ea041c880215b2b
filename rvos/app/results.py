"""Videos refined and scored, by one process or many; then tables, page, dashboard, submission.

`python -m rvos merge RUN` makes the latter of the files that are there.
"""

import argparse
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress

from rvos.app.evaluation import Evaluation, open_data
from rvos.data.split import Split, Video
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
from rvos.score.ablation import COARSE
from rvos.score.evaluate import Scorer, evaluate, num_workers
from rvos.score.inputs import InputProblems, Inputs, VideoInputs
from rvos.score.results import Results, VideoFiles, read_results
from rvos.stages.claims import Claims, together
from rvos.stages.run_folder import MASKLETS_FILE, read_settings

log = logging.getLogger(__name__)
_FAILED = "videos that could not be refined; the others are done, a second start does these"
_MERGE = "merge"  # the claim of whoever writes the tables


def refine_and_score(
    console: Console, folder: Path, cfg: Mapping[str, Any], todo: Evaluation, inputs: Inputs
) -> float | None:
    """What is missing of this process' part; then, if nothing is left of the split, the results.

    Returns J&F, if scored. Raises InputProblems listing what is wrong with which video; the others
    are done then.
    """
    if inputs.masklets is not None:
        record = {
            "path": os.path.relpath(inputs.masklets.path, folder),
            "by_expression": inputs.by_expression,
        }
        write_json(folder / MASKLETS_FILE, record)
    files, videos = VideoFiles(folder), inputs.split.videos

    def missing(video: Video) -> bool:
        return not files.has(video, inputs.stamp(video))

    with todo.sharing.claims(files.folder) as claims:
        part = todo.sharing.part(videos)
        _score(part, todo, inputs, claims, files, missing)
        if failed := claims.failures(part):
            raise InputProblems(together(failed.values()))
        left = [video for video in videos if missing(video)]
        if left:
            console.print(f"{len(part)} videos done; {len(left)} are left to other shards")
        elif claims.take(_MERGE):
            try:
                return write_results(console, folder, cfg, todo, inputs.split)
            finally:
                claims.release(_MERGE)
    return None


def _score(
    videos: Sequence[Video],
    todo: Evaluation,
    inputs: Inputs,
    claims: Claims,
    files: VideoFiles,
    missing: Callable[[Video], bool],
) -> None:
    """Every missing video that nobody else makes; what fails is recorded."""

    def turns() -> Iterator[VideoInputs | None]:
        for video in claims.turns(videos, missing):
            if video is None:
                yield None
                continue
            try:
                found = inputs.read_video(video)
                todo.check_masklets(found)
            except InputProblems as error:
                claims.fail(video.name, error.problems)
            else:
                yield found

    scorer = Scorer(
        *(todo.rules, todo.metrics, files.run_folder, inputs.protocol),
        optional=todo.optional,
        explorer=todo.explorer,
    )
    workers = max(1, min(num_workers(todo.score.workers, videos), len(videos)))
    with Progress(transient=False) as progress:
        task = progress.add_task("Refining and scoring", total=len(videos))
        for name, wrong in evaluate(turns(), scorer, workers=workers):
            if wrong:
                log.error("video %s: %s", name, wrong)
                claims.fail(name, {_FAILED: [f"video {name}: {wrong}"]})
            else:
                claims.release(name)
            progress.advance(task)
        progress.update(task, completed=len(videos))


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
    bootstrap = todo.page.bootstrap
    chosen = {key: value for key, value in cfg["presence"].items() if key != "_target_"}
    metrics = Metrics.of_results(
        results,
        split=split.name,
        refine=cfg["refine"],
        presence=None if isinstance(todo.presence, NoPresence) else chosen,
        protocol=todo.protocol,
        ablation=[rows[label] for label in (COARSE, *todo.cells)] if todo.cells else [],
        rules=[rows[label] for label in todo.named],
        thresholds=[rows[label] for label in todo.thresholds],
        windows=make_windows(results, todo.rules, todo.cells, cfg["refine"]["tau"], **bootstrap),
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


def merge(folder: Path, console: Console) -> float | None:
    """The results of a run, from the videos that are done and the settings in its folder.

    Raises InputError where a video is not done.
    """
    todo, split, settings = of_folder(folder)
    return write_results(console, folder, settings, todo, split)


def of_folder(folder: Path) -> tuple[Evaluation, Split, dict[str, Any]]:
    """What the run in a folder is made of, from its settings. Raises InputError."""
    settings = read_settings(folder).get("config")
    if not settings or settings.get("task") != "eval":
        raise InputError(f"{folder}: expected the folder of a run of eval.py, with its config.yaml")
    cfg = OmegaConf.create(settings)
    assert isinstance(cfg, DictConfig)
    return Evaluation.of(cfg, stages=False), open_data(cfg)[0], settings


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos merge RUN`; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m rvos merge",
        description="Tables, page and submission of a run whose videos are all done.",
    )
    parser.add_argument("run", type=Path, help="the run folder of eval.py")
    given = parser.parse_args(arguments)
    merge(given.run, Console())
    return 0
