"""What eval.py does around its stages: settings checked, data opened."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

from omegaconf import DictConfig, OmegaConf

from rvos import InputError, all_checked, list_of, one_of, optional, preset, require, whole, words
from rvos.app.entry import build, plain
from rvos.data.formats import open_split, open_truth
from rvos.data.split import NoTruth, Split, Truth
from rvos.masklets.source import MaskletFiles
from rvos.masks import TrackFiles, file_sha256
from rvos.refine import (
    KeepCoarse,
    NoPresence,
    PresenceRule,
    Rule,
    check_given,
    given_of,
    make_rule,
)
from rvos.score.ablation import grid, labelled, thresholds
from rvos.score.explorer import Explorer
from rvos.score.inputs import InputProblems, Inputs, VideoInputs, first_videos
from rvos.score.measures import Metric, make_metrics
from rvos.score.protocols import Expressions, make_protocol
from rvos.score.results import FOLDER
from rvos.stages.claims import Problems, Sharing
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
        self,
        split: Split,
        stores: Stores,
        devices: Devices,
        truth: Truth | None,
        coarse: TrackFiles | None = None,
    ) -> MaskletFiles:
        """No files, no nouns."""
        return MaskletFiles(None, {}, "none")


@dataclass(frozen=True)
class ScoreSettings:
    """Keys of conf/score but the metrics."""

    workers: int
    missing: Literal["error", "empty"]
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
    explorer: Explorer | None  # what the page shows of other windows and thresholds
    optional: dict[str, str]  # label of `ablation.presence` -> the rule, if it reads scores
    metrics: dict[str, Metric]
    protocol: Expressions
    score: ScoreSettings
    coarse: Any
    masklets: Any
    page: Any
    sharing: Sharing

    RESULTS: ClassVar = (
        "metrics.json",
        "per_expression.csv",
        "refined",
        "decisions",
        "inputs",
        "scores",
        "explorer",
        FOLDER,
        MASKLETS_FILE,
    )

    @classmethod
    def of(cls, cfg: DictConfig, *, stages: bool = True) -> "Evaluation":
        """Raises SettingsError with all that is wrong with the settings.

        `stages` False leaves out the sources of masks: what is made of finished videos needs none.
        """
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
            lambda: build(cfg.coarse) if stages else None,
            lambda: build(cfg.report),
            lambda: Sharing(cfg.shard, cfg.shards, **settings["claims"]),
        )
        checked, coarse, page, sharing = built
        idle = all(isinstance(r, KeepCoarse) for r in (rule, *cells.values(), *named.values()))
        asked = getattr(page, "explorer", False)
        explorer = Explorer.of(asked, ablation, settings["refine"], presence)
        idle &= explorer is None and not any(p.needs_masklets for p in (presence, *also.values()))
        masklets = build(cfg.masklets) if stages and not idle else NoMasklets()
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
            explorer,
            {label: p.name for label, p in on_top.items() if p.reads_scores},
            extra,
            protocol,
            checked,
            coarse,
            masklets,
            page,
            sharing,
        )

    @property
    def scores(self) -> dict[str, Any]:
        """The arguments of `Inputs` that say which scores of models and which files rules read."""
        needs = [self.presence.name] if self.presence.reads_scores else []
        given = [file_sha256(Path(rule.path)) for rule in given_of(self.rules.values())]
        stamped = str(given) + ("" if self.explorer is None else repr(self.explorer))
        return {"needs": needs, "wants": list(self.optional.values()), "stamped": stamped}

    def inputs(
        self,
        split: Split,
        truth: Truth | None,
        coarse: TrackFiles,
        masklets: MaskletFiles,
        failed: Mapping[str, Problems] | None,
    ) -> Inputs:
        """What reads and checks the masks that the rules refine, but of videos that failed."""
        return Inputs(
            *(split, truth, coarse, masklets.tracks, masklets.nouns),
            missing=self.score.missing,
            protocol=self.protocol,
            by_expression=masklets.by_expression,
            failed=failed,
            **self.scores,
        )

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

    def check_masklets(self, video: VideoInputs) -> None:
        """Raises InputProblems where given decisions name masklets that are not there."""
        for rule in given_of(self.rules.values()):
            if problems := rule.problems({video.video.name: video.num_masklets}):
                raise InputProblems(problems)

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
