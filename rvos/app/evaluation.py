"""What eval.py does around its stages: settings checked, data opened, results written."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track as progress

from rvos import InputError, all_checked, list_of, one_of, optional, preset, require, whole, words
from rvos.app.entry import build, plain
from rvos.data.formats import open_split, open_truth
from rvos.data.split import NoTruth, Split, Truth
from rvos.masklets.source import MaskletFiles
from rvos.masks import write_json
from rvos.refine import (
    KeepCoarse,
    NoPresence,
    PresenceRule,
    Rule,
    check_given,
    make_rule,
)
from rvos.report.plots import write_heat_map
from rvos.report.submission import check, pack
from rvos.report.tables import (
    make_rows,
    metrics,
    print_ablation,
    print_metrics,
    print_presence,
    print_rules,
    write_tables,
)
from rvos.score.ablation import COARSE, grid, labelled, thresholds
from rvos.score.evaluate import Results, evaluate, num_workers
from rvos.score.inputs import Inputs, VideoInputs, first_videos
from rvos.score.measures import Metric, make_metrics
from rvos.score.protocols import Expressions, make_protocol
from rvos.stages.devices import Devices
from rvos.stages.run_folder import MASKLETS_FILE
from rvos.stages.store import Stores

log = logging.getLogger(__name__)


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
    named: Sequence[str]  # labels of `ablation.rules` and `ablation.presence`
    thresholds: Sequence[str]  # labels of `ablation.thresholds`
    presence: PresenceRule | NoPresence
    optional: dict[str, str]  # label of `ablation.presence` -> the rule, if it reads scores
    metrics: dict[str, Metric]
    protocol: Expressions
    score: ScoreSettings
    coarse: Any
    masklets: Any
    page: Any

    RESULTS: ClassVar = (
        "metrics.json",
        "per_expression.csv",
        "refined",
        "decisions",
        "inputs",
        "scores",
        MASKLETS_FILE,
    )

    @classmethod
    def of(cls, cfg: DictConfig) -> "Evaluation":
        """Raises SettingsError with all that is wrong with the settings."""
        settings = plain(cfg)
        score = settings["score"]
        ablation = settings["ablation"]
        rule, presence, cells, named, also, values, extra, protocol, *built = all_checked(
            lambda: make_rule(**settings["refine"]),
            lambda: build(cfg.presence),
            lambda: grid(ablation["windows"], ablation["taus"]),
            lambda: named_rules(ablation["rules"], settings["refine"]),
            lambda: named_presence(ablation["presence"], settings["presence"]),
            lambda: thresholds(ablation["thresholds"], settings["presence"]["name"]),
            lambda: make_metrics(score["extra"]),
            lambda: make_protocol(score["protocol"]),
            lambda: ScoreSettings(
                **{key: score[key] for key in ("workers", "missing", "max_videos")}
            ),
            lambda: build(cfg.coarse),
            lambda: build(cfg.report),
        )
        checked, coarse, page = built
        idle = all(isinstance(r, KeepCoarse) for r in (rule, *cells.values(), *named.values()))
        idle &= not any(p.needs_masklets for p in (presence, *also.values()))
        masklets = NoMasklets() if idle else build(cfg.masklets)
        on_top = {f"{settings['refine']['name']} + {name}": p for name, p in also.items()}
        swept = {f"threshold={value}": replace(presence, threshold=value) for value in values}
        rules = labelled(
            presence.on(rule),
            {label: presence.on(cell) for label, cell in cells.items()},
            {label: presence.on(other) for label, other in named.items()},
            {label: p.on(rule) for label, p in (on_top | swept).items()},
        )
        return cls(
            rules,
            list(cells),
            [*named, *on_top],
            list(swept),
            presence,
            {label: p.name for label, p in on_top.items() if p.reads_scores},
            extra,
            protocol,
            checked,
            coarse,
            masklets,
            page,
        )

    @property
    def scores(self) -> dict[str, list[str]]:
        """The arguments of `Inputs` that say which scores of models the rules read."""
        needs = [self.presence.name] if self.presence.reads_scores else []
        return {"needs": needs, "wants": list(self.optional.values())}

    @property
    def uses_gpu(self) -> bool:
        """Whether a stage runs networks."""
        return self.coarse.uses_gpu or self.masklets.uses_gpu

    def check(self, split: Split, stores: Stores, truth: Truth | None, *, first: bool) -> None:
        """Look at files, weights and other runs before hours of work; all problems at once."""
        all_checked(
            lambda: self.coarse.check(split),
            lambda: self.masklets.check(split, stores, truth, write=first),
            lambda: check_given(self.rules.values(), split.expression_ids),
            self.page.check,
            lambda: check_scores(self.presence, self.coarse, self.masklets),
        )

    def check_masklets(self, videos: Sequence[VideoInputs]) -> None:
        """Raises InputError where given decisions name masklets that are not there."""
        check_given(self.rules.values(), {v.video.name: v.num_masklets for v in videos})

    def where_scored(self, lacking: Mapping[str, str]) -> "Evaluation":
        """Without the rules of `ablation.presence` whose scores are lacking, by name: why."""
        left_out = [label for label, name in self.optional.items() if name in lacking]
        for label in left_out:
            log.info("rules.csv: left out: %s: %s", label, lacking[self.optional[label]])
        rules = {label: rule for label, rule in self.rules.items() if label not in left_out}
        named = [label for label in self.named if label not in left_out]
        return replace(self, rules=rules, named=named)


def check_scores(presence: PresenceRule | NoPresence, coarse: Any, masklets: Any) -> None:
    """Raises InputError for a source that never writes the scores that the presence rule reads."""
    if not presence.reads_scores:
        return
    group, source = ("masklets", masklets) if presence.needs_masklets else ("coarse", coarse)
    if not getattr(source, "may_have_scores", False):
        writer = {"masklets": "masklets=sam2", "coarse": "coarse=mutr"}[group]
        raise InputError(
            f"presence={presence.name} reads scores beside the masks of {group}, which this source "
            f"does not write; {writer} does, and {group}=files reads them beside its store"
        )


def named_presence(names: Any, presence: Mapping[str, Any]) -> dict[str, PresenceRule]:
    """The rules of `ablation.presence` as their files describe them; the run's own as it is."""
    require(SimpleNamespace(presence=names), "ablation", presence=list_of(words()))
    rules = {}
    for name in names:
        own = presence if presence["name"] == name else preset("presence", name)
        rules[name] = build(OmegaConf.create(dict(own)))
        if isinstance(rules[name], NoPresence):
            raise InputError(f"ablation.presence: expected names of presence rules, got {name}")
    return rules


def named_rules(names: Any, refine: Mapping[str, Any]) -> dict[str, Rule]:
    """The rules of `ablation.rules` as their files describe them.

    They get the run's window and tau where both rules have them; the run's own rule among them
    has all settings of the run.
    """
    require(SimpleNamespace(rules=names), "ablation", rules=list_of(words()))
    rules = {}
    for name in names:
        if name == refine["name"]:
            rules[name] = make_rule(**refine)
            continue
        own = preset("refine", name)
        both = [k for k in ("window", "tau") if refine[k] is not None and own[k] is not None]
        rules[name] = make_rule(**own | {key: refine[key] for key in both})
    return rules


def open_data(cfg: DictConfig) -> tuple[Split, Truth | None]:
    """The split, and its ground truth; None for a submission of a split that has none."""
    split = open_split(cfg.data.format, cfg.data.root, cfg.data.split, meta=cfg.data.meta)
    split = first_videos(split, cfg.score.max_videos)
    try:
        truth = open_truth(cfg.data.format, split)
        if reason := truth.unscorable():
            raise NoTruth(reason)
    except NoTruth as error:
        if not cfg.submission:
            raise InputError(f"{error} (submission=true writes the masks without scores)") from None
        log.info("not scored: %s", error)
        return split, None
    return split, truth


def write_results(
    console: Console,
    folder: Path,
    cfg: DictConfig,
    todo: Evaluation,
    inputs: Inputs,
    videos: Sequence[VideoInputs],
) -> float | None:
    """Refine and score all videos; tables, page, dashboard, submission. Returns J&F, if scored."""
    if inputs.masklets is not None:
        record = {"path": os.path.relpath(inputs.masklets.path, folder), "by_expression": False}
        write_json(folder / MASKLETS_FILE, record)
    results = Results(inputs.protocol)
    todo = todo.where_scored(inputs.lacking)
    found = evaluate(
        videos,
        todo.rules,
        todo.metrics,
        folder,
        workers=num_workers(todo.score.workers, videos),
        protocol=inputs.protocol,
    )
    for video in progress(found, "Refining and scoring", total=len(videos)):
        results.add(video)
    score = None
    if inputs.annotations is not None:
        score = _report(console, folder, cfg, todo, inputs, results)
    if cfg.submission:
        path = folder / "submission.zip"
        count = pack(folder / "refined", path, inputs.split)
        check(path, inputs.split)
        console.print(f"submission: {path} ({count} images)", soft_wrap=True)
    return score


def _report(
    console: Console,
    folder: Path,
    cfg: DictConfig,
    todo: Evaluation,
    inputs: Inputs,
    results: Results,
) -> float:
    """Tables as files and on the console, the page, the dashboard; returns J&F."""
    rows = make_rows(results, todo.rules)
    ablation = [rows[label] for label in (COARSE, *todo.cells)] if todo.cells else []
    named = [rows[label] for label in todo.named]
    presence = [rows[label] for label in todo.thresholds]
    chosen = {key: value for key, value in plain(cfg)["presence"].items() if key != "_target_"}
    content = metrics(
        results,
        split=inputs.split.name,
        refine=plain(cfg)["refine"],
        num_scored_as_empty=inputs.num_scored_as_empty,
        presence=None if isinstance(todo.presence, NoPresence) else chosen,
    )
    if ablation:
        title = f"{cfg.data.name} {inputs.split.name}: J&F"
        write_heat_map(folder / "ablation.png", ablation, title)
    write_tables(folder, content, results, ablation=ablation, rules=named, presence=presence)
    if named:
        print_rules(console, named)
    if presence:
        print_presence(console, presence)
    if ablation:
        print_ablation(console, ablation)
    print_metrics(console, content, results, **todo.page.bootstrap)
    page = todo.page.write(folder)
    if page is not None:
        console.print(f"report: {page}", soft_wrap=True)
    if cfg.logger.wandb is not None:
        from rvos.report.dashboard import log_evaluation

        keys = ("project", "group", "name", "id", "save_dir")
        log_evaluation(folder, todo.page, **{key: cfg.logger.wandb[key] for key in keys})
    return content["J&F"]
