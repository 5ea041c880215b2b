"""The settings of a training, checked; torch is not imported, so that wrong ones are named at once.

`DECLARED` names what checks the keys of a `_target_` of conf/ whose module imports torch.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from rvos.data.formats import is_there, open_split
from rvos.data.split import Problem
from rvos.data.verify import Release
from rvos.errors import InputError
from rvos.settings import Amount, Count, Flag, Folder, Positive, Text, Whole, checked, wrong
from rvos.train.recipe import ClipRecipe

SCORES = ("val/J", "val/F", "val/JF")  # 1 is the best
Limit = Annotated[int, Field(ge=-1)]  # -1: none; 1e5 is whole, too

DECLARED = {
    "rvos.mutr.build_mutr": "rvos.mutr.settings.ModelSettings",
    "rvos.mutr.losses.MutrLoss": "rvos.mutr.loss_weights.Weights",
    "rvos.train.augment.Photometric": "rvos.train.recipe.Photometric",
    "rvos.train.augment.Resizing": "rvos.train.recipe.Resizing",
    "rvos.train.callbacks.BestCheckpoint": "rvos.train.settings.check_best",
    "rvos.train.callbacks.LastCheckpoint": "rvos.train.settings.Last",
    "rvos.train.callbacks.Shares": "rvos.train.settings.EverySteps",
    "rvos.train.callbacks.Speed": "rvos.train.settings.EverySteps",
    "rvos.train.callbacks.TimeLeft": "rvos.train.settings.AfterSteps",
    "rvos.train.clips.ClipRecipe": "rvos.train.recipe.ClipRecipe",
    "rvos.train.datamodule.DataModule": "rvos.train.settings.DataSettings",
    "rvos.train.joint.Source": "rvos.train.settings.Source",
    "rvos.train.optim.Optim": "rvos.train.optim.Optim",
    "rvos.train.pseudo.PseudoClip": "rvos.train.pseudo.PseudoClip",
}


def declared(node: Any) -> Any:
    """A node of conf/ (plain values) with the targets of DECLARED, to check its keys alone.

    What other targets check is found when they are built: to import them may take long.
    """
    if not isinstance(node, Mapping):
        return node
    items = {key: declared(node[key]) for key in node if key not in ("_target_", "_partial_")}
    target = DECLARED.get(node.get("_target_", ""))
    return items if target is None else items | {"_target_": target}


@checked
class EverySteps:
    """The keys of callbacks that do something every few optimizer steps."""

    every_n_steps: Count


@checked
class AfterSteps:
    """The keys of `callbacks.time_left`."""

    after_steps: Annotated[Count, Field(ge=2)]  # optimizer steps


@checked
class Last(EverySteps):
    """The keys of `callbacks.last`."""

    dirpath: Folder


def check_best(
    *, filename: str | None, save_top_k: int, once_an_epoch: bool = True, **lightnings: Any
) -> None:
    """Look at the keys of `callbacks.best` together; Lightning looks at each.

    `once_an_epoch`: no epoch has several validations.

    Raises InputError where another file would be taken for the best: the last of several of one
    name, which overwrites the others, the worst, the newest, or weights newer than their score.
    """
    monitor, mode = lightnings.get("monitor"), lightnings.get("mode")
    if not monitor:
        raise InputError(f"callbacks.best.monitor: expected a name as val/JF, got {monitor!r}")
    right = "min" if "loss" in str(monitor) else "max" if monitor in SCORES else mode
    if mode != right:
        raise InputError(f"callbacks.best.mode: expected {right} for {monitor}, got {mode}")
    for key in ("every_n_train_steps", "train_time_interval", "save_on_train_epoch_end"):
        if value := lightnings.get(key):
            at_once = "expected that a validation saves the best at once"
            raise InputError(f"callbacks.best.{key}: {at_once}, got {value}")
    if not filename or filename == "last":
        raise InputError(f"callbacks.best.filename: expected a name as best, got {filename!r}")
    differ = "{step" in filename or (once_an_epoch and "{epoch" in filename)
    if save_top_k not in (0, 1) and not differ and not lightnings.get("enable_version_counter"):
        several = (filename.partition("{")[0].rstrip("-") or "best") + "-{step}"
        raise InputError(
            f"callbacks.best.save_top_k: expected 1, got {save_top_k}: several may have the name "
            f"{filename}.ckpt. For several, add callbacks.best.filename='{several}'"
        )


@checked
class TrainerSettings:
    """Those keys of conf/trainer that say how much is done where; Lightning checks the others."""

    devices: Annotated[
        Count | Literal[-1] | Sequence[Whole] | Annotated[str, Field(pattern=r"^(auto|[-\d, ]+)$")],
        Field(description="a number of devices, auto, or a list of their indices"),
    ] = "auto"
    num_nodes: Count = 1
    max_epochs: Limit | None = None
    max_steps: Limit = -1


@checked
class Options:
    """The keys of conf/train.yaml that stand in no group; `hints` as in `Segmenter`."""

    seed: Whole
    compile: Flag
    hints: Amount


@checked
class Validation:
    """The keys of `validation` in conf/train.yaml.

    Raises SettingsError listing every value that makes no sense.
    """

    at_start: Flag
    num_overlays: Whole


@checked
class Source:
    """A dataset to train on with others: the keys `data.sources.<name>` of conf/data.

    Raises SettingsError listing every value that makes no sense.
    """

    format: Text
    root: Folder
    split: Text
    meta: Text | None
    weight: Positive | None = None  # its share of an epoch relative to others; None: its clips


def _alike(sources: Mapping[str, Source | None] | None) -> Mapping[str, Source | None] | None:
    weights = {source.weight is None for source in (sources or {}).values() if source is not None}
    if sources is not None and len(weights) != 1:
        raise ValueError("no source, or weights of some alone")
    return sources


Sources = Annotated[
    Mapping[str, Source | None] | None,
    AfterValidator(_alike),
    Field(description="null, or sources by name of which all or none have a weight"),
]


@checked(frozen=False, kw_only=True)
class DataSettings:
    """The keys of conf/data; `rvos.train.datamodule.DataModule` says what each is for.

    Raises SettingsError listing every value that makes no sense.
    """

    name: Text
    format: Text
    root: Folder
    split: Text
    train_split: Text | None
    val_split: Text | None
    release: Release
    clip: ClipRecipe
    batch_size: Count
    global_batch_size: Count
    val_clips: Whole
    num_workers: Whole
    skip_bad: Flag
    seed: Whole
    meta: Text | None = None
    sources: Sources = None
    protocol: Text = "expressions"  # of eval.py; validation takes the mean over expressions

    def __post_init__(self) -> None:
        if (self.sources is None) == (self.train_split is None):
            expected = "a text" if self.sources is None else "null beside data.sources"
            raise wrong("train_split", expected, self.train_split)

    def train_sources(self) -> dict[str, Source]:
        """What is trained on, by name."""
        if self.sources is None:
            return {self.name: self.own(str(self.train_split))}
        return {name: source for name, source in self.sources.items() if source is not None}

    def own(self, split: str) -> Source:
        """A split of the dataset itself."""
        return Source(self.format, str(self.root), split, self.meta)

    def check_there(self) -> None:
        """Raises InputError for a split that is not on disk."""
        own = [self.own(split) for split in (self.val_split, self.split) if split is not None]
        for source in [*self.train_sources().values(), *own]:
            if not is_there(source.format, source.root, source.split, source.meta):
                bad: list[Problem] | None = [] if self.skip_bad else None
                open_split(source.format, source.root, source.split, bad, source.meta)  # says why
