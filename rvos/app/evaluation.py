"""What a run of eval.py or predict.py is made of: settings checked, data opened, stages run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from omegaconf import DictConfig

from rvos.app.entry import plain
from rvos.data.formats import open_split, open_truth
from rvos.data.split import NoTruth, Split, Truth
from rvos.errors import InputError, SettingsError
from rvos.masklets.files import NoMasklets
from rvos.masks import file_sha256
from rvos.refine import (
    ConfidenceRule,
    KeepCoarse,
    NoPresence,
    PresenceRule,
    Rule,
    check_given,
    given_of,
    make_rule,
)
from rvos.score.ablation import COARSE, agrees, grid, labelled, thresholds
from rvos.score.confidence import WRITERS
from rvos.score.explorer import Explorer
from rvos.score.extra import make_metrics
from rvos.score.inputs import Inputs, VideoInputs, first_videos
from rvos.score.measures import Metric
from rvos.score.protocols import Protocol, make_protocol
from rvos.score.results import FOLDER
from rvos.settings import Checks, Count, Text, Whole, all_checked, build, checked, make, preset
from rvos.stages.records import VideoProblems
from rvos.stages.run_folder import MASKLETS_FILE
from rvos.stages.sharding import Sharing
from rvos.stages.work import CoarseSource, MaskletSource, Work

log = logging.getLogger(__name__)


@checked
class ScoreSettings:
    """Keys of conf/score but the metrics."""

    workers: Whole
    missing: Literal["error", "empty"]
    max_videos: Count | None


@checked
class Names:
    """The lists of conf/ablation that name files of conf/refine and conf/presence."""

    rules: Sequence[Text] = ()
    presence: Sequence[Text] = ()


def score_settings(cfg: DictConfig) -> ScoreSettings:
    """Those of conf/score. Raises SettingsError."""
    keys = ("workers", "missing", "max_videos")
    return make(ScoreSettings, "score", {key: cfg.score[key] for key in keys})


@dataclass(frozen=True)
class Evaluation:
    """Everything that a run of eval.py or predict.py is made of, built from its settings."""

    rules: dict[str, Rule]  # by label: coarse, refined, the cells of the grid, named rules
    tables: Mapping[str, Sequence[str]]  # labels by table: ablation, rules, thresholds, agrees
    presence: PresenceRule | NoPresence
    explorer: Explorer | None  # what the page shows of other windows and thresholds
    optional: dict[str, ConfidenceRule]  # by label of `ablation.presence`; may be left out
    metrics: dict[str, Metric]
    protocol: Protocol
    score: ScoreSettings
    coarse: CoarseSource
    masklets: MaskletSource
    page: Any  # None for predict.py
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
        score, refine, ablation = (settings[group] for group in ("score", "refine", "ablation"))
        if nameless := [group for group in ("refine", "presence") if "name" not in settings[group]]:
            raise SettingsError([f"{group}: expected a key name in its file" for group in nameless])
        with Checks() as check:
            rule = check(make_rule, **refine)
            presence = check(build, cfg.presence, "presence")
            cells = check(grid, ablation["windows"], ablation["taus"], rule, name=refine["name"])
            guards = check(agrees, ablation["agrees"], rule, name=refine["name"])
            names = check(make, Names, "ablation", {"rules": ablation["rules"]}) or Names()
            named = {name: check(named_rule, name, refine) for name in names.rules}
            names = check(make, Names, "ablation", {"presence": ablation["presence"]}) or Names()
            own = settings["presence"]
            also = {name: check(named_presence, name, own) for name in names.presence}
            values = check(thresholds, ablation["thresholds"], settings["presence"]["name"])
            extra = check(make_metrics, score["extra"])
            protocol = check(make_protocol, score["protocol"])
            counted = check(score_settings, cfg)
            coarse: Any = check(build, cfg.coarse, "coarse") if stages else None
            page = check(build, cfg.report, "report") if "report" in cfg else None
            sharing = check(Sharing, settings.get("shard"), settings.get("shards"))
            if stages and settings.get("logger", {}).get("wandb") is not None:
                from rvos.report.dashboard import check_account

                check(check_account)

            asked = getattr(page, "explorer", False)
            explorer = None if check.problems else Explorer.of(asked, ablation, refine, presence)
            refining = [rule, *(cells or {}).values(), *named.values()]
            idle = all(isinstance(one, KeepCoarse) for one in refining)
            idle &= not (asked if check.problems else explorer)
            idle &= not any(one and one.needs_masklets for one in (presence, *also.values()))
            masklets: Any = NoMasklets()
            if stages and not idle:
                masklets = check(build, cfg.masklets, "masklets")
        on_top = {f"{refine['name']} + {name}": p for name, p in also.items()}
        swept = {f"threshold={value}": replace(presence, threshold=value) for value in values}
        rules = labelled(
            presence.on(rule),
            {label: presence.on(cell) for label, cell in cells.items()},
            {label: presence.on(other) for label, other in (guards | named).items()},
            {label: p.on(rule) for label, p in (on_top | swept).items()},
        )
        return cls(
            rules=rules,
            tables={
                "ablation": [COARSE, *cells] if cells else [],
                "rules": [*named, *on_top],
                "thresholds": list(swept),
                "agrees": list(guards),
            },
            presence=presence,
            explorer=explorer,
            optional={label: p for label, p in on_top.items() if isinstance(p, ConfidenceRule)},
            metrics=extra,
            protocol=protocol,
            score=counted,
            coarse=coarse,
            masklets=masklets,
            page=page,
            sharing=sharing,
        )

    @property
    def uses_gpu(self) -> bool:
        """Whether a stage runs networks."""
        return self.coarse.uses_gpu or self.masklets.uses_gpu

    def check(self, work: Work) -> None:
        """Look at files, weights and other runs before hours of work; all problems at once."""
        all_checked(
            lambda: self.coarse.check(work),
            lambda: self.masklets.check(work),
            lambda: check_given(self.rules.values(), work.split.expression_ids),
            lambda: self.page and self.page.check(),
            lambda: check_confidence(self.presence, self.coarse, self.masklets),
        )

    def make(self, work: Work) -> Inputs:
        """Make the masks that are missing; what reads and checks them for the rules."""
        coarse = self.coarse.tracks(work)
        masklets = self.masklets.tracks(work, coarse)
        given = [file_sha256(Path(rule.path)) for rule in given_of(self.rules.values())]
        return Inputs(
            work.split,
            work.truth,
            coarse.tracks,
            masklets.tracks,
            masklets.nouns,
            missing=self.score.missing,
            protocol=self.protocol,
            by_expression=masklets.by_expression,
            failed=masklets.failed,
            needs=[self.presence] if isinstance(self.presence, ConfidenceRule) else [],
            wants=list(self.optional.values()),
            stamped=str(given) + ("" if self.explorer is None else repr(self.explorer)),
        )

    def check_masklets(self, video: VideoInputs) -> None:
        """Raises VideoProblems where given decisions name masklets that are not there."""
        for rule in given_of(self.rules.values()):
            if problems := rule.problems({video.video.name: video.num_masklets}):
                raise VideoProblems(problems)

    def where_scored(self, lacking: Mapping[str, str]) -> "Evaluation":
        """Without the rules of `ablation.presence` whose confidence is lacking, by name: why."""
        left_out = [label for label, rule in self.optional.items() if rule.name in lacking]
        for label in left_out:
            log.info("rules.csv: left out: %s: %s", label, lacking[self.optional[label].name])
        rules = {label: rule for label, rule in self.rules.items() if label not in left_out}
        tables = {
            name: [label for label in labels if label in rules]
            for name, labels in self.tables.items()
        }
        return replace(self, rules=rules, tables=tables)


def check_confidence(
    presence: PresenceRule | NoPresence, coarse: CoarseSource, masklets: MaskletSource
) -> None:
    """Raises InputError for a source that never writes the confidence that the rule reads."""
    if not isinstance(presence, ConfidenceRule):
        return
    group = presence.source
    source: CoarseSource | MaskletSource = masklets if group == "masklets" else coarse
    if not source.may_have_scores:
        raise InputError(
            f"presence={presence.name} reads confidence beside the masks of {group}, which this "
            f"source does not write; {WRITERS[group]} does, and {group}=files reads it beside its "
            "store"
        )


def named_presence(name: str, own: Mapping[str, Any]) -> PresenceRule:
    """A rule of `ablation.presence` as its file describes it; the run's own as it is."""
    rule = build(own if own["name"] == name else preset("presence", name), "presence")
    if isinstance(rule, NoPresence):
        raise InputError(f"ablation.presence: expected names of presence rules, got {name}")
    return rule


def named_rule(name: str, refine: Mapping[str, Any]) -> Rule:
    """A rule of `ablation.rules` as its file describes it; the run's own as it is.

    It gets the run's window and tau where both rules have them, and its guard.
    """
    if name == refine["name"]:
        return make_rule(**refine)
    own = preset("refine", name)
    both = [k for k in ("window", "tau") if None not in (refine.get(k), own.get(k))]
    both += ["agree"] * ("agree" in own and "agree" in refine)
    return make_rule(**own | {key: refine[key] for key in both})


def open_data(cfg: DictConfig) -> tuple[Split, Truth | None]:
    """The split, and its ground truth; None for a submission of a split that has none."""
    if cfg.data.get("skip_bad"):
        raise InputError(
            "data.skip_bad: expected false, got true: only a training can do without bad data. "
            "`python -m rvos data verify` lists what is bad"
        )
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
