"""The keys of `coarse=mutr`, checked. Needs no torch, so that wrong ones are named at once."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from rvos.coarse.clips import ClipPlan, Sampling
from rvos.errors import InputError
from rvos.settings import Count, Inside, Text, checked, make, preset
from rvos.weights.local import find, how_to_get

QueryChoice = Literal["per_clip", "long_term"]
Heads = Literal["upstream", "last"]


@checked
class CoarseSettings:
    """How whole videos are segmented; conf/coarse/mutr.yaml says what each key means.

    Raises SettingsError listing every value that makes no sense.
    """

    checkpoint: Text | None
    sampling: Sampling
    query: QueryChoice
    clip_length: Count
    clip_plan: ClipPlan
    script_processes: Count
    heads: Heads
    mask_threshold: Inside
    short_side: Annotated[Count, Field(ge=32)]
    expression_batch: Count
    cpu_threads: Count

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "CoarseSettings":
        """Those of conf/coarse/<name>.yaml, with `changes`. Raises InputError for unknown keys.

        CoarseSettings.preset("mutr_tiny", short_side=96)
        """
        return coarse_settings(preset("coarse", name) | changes)

    def protocol(self) -> dict[str, Any]:
        """What decides the masks, besides the model, its weights and its precision."""
        decisive = {field.name for field in fields(CoarseSettings)}
        decisive -= {"checkpoint", "short_side", "expression_batch"}
        resize = {"short_side": self.short_side, "filter": "Pillow bilinear"}
        return {"resize": resize} | {key: getattr(self, key) for key in sorted(decisive)}

    def checkpoint_file(self) -> Path:
        """Raises InputError when no checkpoint is given or it is not there."""
        if self.checkpoint is None:
            raise InputError("coarse.checkpoint: expected a file of MUTR's weights, got null")
        if not Path(self.checkpoint).is_file():
            known = find(self.checkpoint)
            raise InputError(
                f"coarse.checkpoint: {self.checkpoint}: no such file. "
                + (how_to_get(known) if known else "`python -m rvos weights` lists official ones")
            )
        return Path(self.checkpoint)


def coarse_settings(group: Mapping[str, Any]) -> CoarseSettings:
    """The keys of a choice of conf/coarse as settings. InputError if it is not one of MUTR's."""
    beside = ("_target_", "_recursive_", "name", "model")
    keys = {key: value for key, value in group.items() if key not in beside}
    title = f"coarse={group.get('name')}, expected the keys of coarse=mutr"
    return make(CoarseSettings, "coarse", keys, title=title)
