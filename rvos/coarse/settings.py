"""The keys of `coarse=mutr`, checked. Needs no torch, so that wrong ones are named at once."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from rvos.coarse.clips import ClipPlan, Sampling
from rvos.errors import InputError
from rvos.settings import one_of, optional, preset, real, require, whole, words
from rvos.weights.local import find, how_to_get

QueryChoice = Literal["per_clip", "long_term"]
Heads = Literal["upstream", "last"]


@dataclass(frozen=True)
class CoarseSettings:
    """How whole videos are segmented; conf/coarse/mutr.yaml says what each key means.

    Raises SettingsError listing every value that makes no sense.
    """

    checkpoint: str | None
    sampling: Sampling
    query: QueryChoice
    clip_length: int
    clip_plan: ClipPlan
    script_processes: int
    heads: Heads
    mask_threshold: float
    short_side: int
    expression_batch: int
    cpu_threads: int

    def __post_init__(self) -> None:
        require(
            self,
            "coarse",
            checkpoint=optional(words()),
            sampling=one_of(*get_args(Sampling)),
            query=one_of(*get_args(QueryChoice)),
            clip_length=whole(1),
            clip_plan=one_of(*get_args(ClipPlan)),
            script_processes=whole(1),
            heads=one_of(*get_args(Heads)),
            mask_threshold=real(above=0, below=1),
            short_side=whole(32),
            expression_batch=whole(1),
            cpu_threads=whole(1),
        )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "CoarseSettings":
        """Those of conf/coarse/<name>.yaml, with `changes`. Raises InputError for unknown keys.

        CoarseSettings.preset("mutr_tiny", short_side=96)
        """
        return coarse_settings(preset("coarse", name) | changes)

    def protocol(self) -> dict[str, Any]:
        """What decides the masks, besides the model, its weights and its precision."""
        return {
            "sampling": self.sampling,
            "query": self.query,
            "clip_length": self.clip_length,
            "clip_plan": self.clip_plan,
            "script_processes": self.script_processes,
            "resize": {"short_side": self.short_side, "filter": "Pillow bilinear"},
            "mask_threshold": self.mask_threshold,
            "heads": self.heads,
            "cpu_threads": self.cpu_threads,
        }

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
    known = {field.name for field in fields(CoarseSettings)}
    given = {
        k: v for k, v in group.items() if k not in ("_target_", "_recursive_", "name", "model")
    }
    if given.keys() != known:
        wrong = ", ".join(sorted(map(str, given.keys() ^ known)))
        raise InputError(
            f"coarse={group.get('name')}: expected the keys of coarse=mutr; missing or unknown: "
            f"{wrong}"
        )
    return CoarseSettings(**given)
