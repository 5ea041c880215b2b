"""The settings of a training, checked; torch is not imported, so that wrong ones are named at once.

`DECLARED` names what checks the keys of a `_target_` of conf/ whose module imports torch.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from rvos.data.verify import Release
from rvos.settings import Amount, Count, Flag, Folder, Positive, Text, Whole, checked, wrong
from rvos.train.recipe import ClipRecipe

DECLARED = {
    "rvos.mutr.losses.MutrLoss": "rvos.mutr.loss_weights.Weights",
    "rvos.train.augment.Photometric": "rvos.train.recipe.Photometric",
    "rvos.train.augment.Resizing": "rvos.train.recipe.Resizing",
    "rvos.train.clips.ClipRecipe": "rvos.train.recipe.ClipRecipe",
    "rvos.train.datamodule.DataModule": "rvos.train.settings.DataSettings",
    "rvos.train.joint.Source": "rvos.train.settings.Source",
}


def declared(node: Any) -> Any:
    """A node of conf/ (plain values) with the targets of DECLARED, to check its keys alone."""
    if not isinstance(node, Mapping):
        return node
    return {
        key: DECLARED.get(value, value) if key == "_target_" else declared(value)
        for key, value in node.items()
    }


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
