"""What eval.py does around its stages: settings checked, data opened, results written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track as progress

from rvos import all_checked, one_of, optional, require, whole
from rvos.app.entry import build, plain
from rvos.data.formats import find_truth, open_split, open_truth
from rvos.data.split import Split, Truth
from rvos.masklets.source import MaskletFiles
from rvos.refine import KeepCoarse, Rule, make_rule
from rvos.report.plots import write_heat_map
from rvos.report.submission import check, pack
from rvos.score.ablation import COARSE, REFINED, Hashes, grid
from rvos.score.evaluate import evaluate, num_workers
from rvos.score.inputs import Inputs, VideoInputs, first_videos
from rvos.score.measures import Metric, make_metrics
from rvos.stages.devices import Devices
from rvos.stages.store import Stores


class NoMasklets:
    """In place of a source where no rule needs masklets."""

    uses_gpu = needs_truth = False

    def check(self, split: Split, stores: Stores, truth: Truth | None, *, write: bool) -> None:
        """Nothing can be wrong."""

    def tracks(
        self, split: Split, stores: Stores, devices: Devices, truth: Truth | None
    ) -> MaskletFiles:
        """No files, no nouns."""
        return MaskletFiles(None, {}, "none")


@dataclass(frozen=True)
class ScoreSettings:
    """Keys of conf/score but the metrics."""

    workers: int
    missing: str
    max_videos: int | None

    def __post_init__(self) -> None:
        require(
            self,
            "score",
            workers=whole(0),
            missing=one_of("error", "empty"),
            max_videos=optional(whole(1)),
        )


@dataclass(frozen=True)
class Evaluation:
    """Everything that a run of eval.py is made of, built from its settings."""

    rules: dict[str, Rule]  # by label: coarse, refined, the cells of the grid, named rules
    cells: Sequence[str]  # labels of the grid
    named: Sequence[str]  # labels of `ablation.rules`
    metrics: dict[str, Metric]
    score: ScoreSettings
    coarse: Any
    masklets: Any
    page: Any

    RESULTS: ClassVar = ("metrics.json", "per_expression.csv", "refined", "decisions")

    @classmethod
    def of(cls, cfg: DictConfig) -> "Evaluation":
        """Raises SettingsError with all that is wrong with the settings."""
        settings = plain(cfg)
        score = dict(settings["score"])
        extra = score.pop("extra")
        window_and_tau = {
            key: settings["refine"][key]
            for key in ("window", "tau")
            if settings["refine"][key] is not None
        }
        rule, cells, named, metrics, checked, coarse, page = all_checked(
            lambda: make_rule(**settings["refine"]),
            lambda: grid(cfg.ablation.windows, cfg.ablation.taus),
            lambda: {name: make_rule(name, **window_and_tau) for name in cfg.ablation.rules},
            lambda: make_metrics(extra),
            lambda: ScoreSettings(**score),
            lambda: build(cfg.coarse),
            lambda: build(cfg.report),
        )
        rules = {COARSE: KeepCoarse(), REFINED: rule} | cells | named
        idle = all(isinstance(rule, KeepCoarse) for rule in rules.values())
        masklets = NoMasklets() if idle else build(cfg.masklets)
        return cls(rules, list(cells), list(named), metrics, checked, coarse, masklets, page)
