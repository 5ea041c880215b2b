"""Coarse masks + masklets -> refined masks, scores and tables: `python eval.py refine.window=15`.

Settings: conf/eval.yaml. Results go to the run folder (`output_dir`).
"""

import logging
import time

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track as progress

from rvos import __version__
from rvos.ablation import Hashes, grid
from rvos.data.mevis import Annotations, read_split
from rvos.entry import claim_folder, entry_point, run_folder
from rvos.evaluation import evaluate, num_workers
from rvos.inputs import Inputs, open_tracks, read_nouns
from rvos.refine import KeepCoarse, make_rule
from rvos.report.plots import write_heat_map
from rvos.report.tables import ablation_cells, metrics, print_ablation, print_metrics, write_tables

log = logging.getLogger(__name__)


@entry_point("eval")
def main(cfg: DictConfig) -> None:
    started = time.monotonic()
    rule = make_rule(**cfg.refine)
    workers = num_workers(cfg.score.workers)
    cells = grid(cfg.ablation.windows, cfg.ablation.taus)

    split = read_split(cfg.data.root, cfg.data.split)
    coarse = open_tracks("coarse.path", cfg.coarse.path)
    needs_masklets = cells or not isinstance(rule, KeepCoarse)
    inputs = Inputs(
        split,
        Annotations(split),
        coarse,
        open_tracks("masklets.path", cfg.masklets.path) if needs_masklets else None,
        read_nouns("masklets.nouns", cfg.masklets.nouns) if needs_masklets else {},
        missing=cfg.score.missing,
    )
    jobs = inputs.jobs(cfg.score.max_videos)
    folder = run_folder()
    claim_folder(
        folder,
        cfg,
        inputs={"meta_expressions_sha256": split.meta_sha256},
        results=("metrics.json", "per_expression.csv", "refined", "decisions"),
    )
    log.info("rvos %s: %d videos, %d expressions -> %s", __version__, len(jobs),
             sum(len(job.video.expressions) for job in jobs), folder)  # fmt: skip

    videos = evaluate(jobs, rule, cells, folder, workers=workers)
    results, hashes = [], Hashes(1 + len(cells))
    for video in progress(videos, "Refining and scoring", total=len(jobs)):
        for result in video:
            hashes.update(result.fingerprint)
            results.append(result)

    table = ablation_cells(results, cells, hashes.hexdigests()) if cells else []
    content = metrics(
        results,
        split=split.name,
        refine=OmegaConf.to_container(cfg.refine),
        num_scored_as_empty=inputs.num_scored_as_empty,
    )
    write_tables(folder, content, results, table)
    if len(cfg.ablation.windows) > 1 and len(cfg.ablation.taus) > 1:
        write_heat_map(folder / "ablation.png", table, f"{cfg.data.name} {split.name}: J&F")

    console = Console()
    if table:
        print_ablation(console, table)
    print_metrics(console, content)
    console.print(f"{folder} ({time.monotonic() - started:.1f} s)", soft_wrap=True)


if __name__ == "__main__":
    main()
