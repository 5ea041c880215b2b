"""AdamW over four groups of parameters, and their learning rate step by step."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW

from rvos.settings import Expected, list_of, real, require, whole

GROUPS = ("main", "backbone", "text_encoder", "linear_proj")


def group_of(name: str) -> str:
    """The group of one of MUTR's parameters, as the official options divide them (opts.py)."""
    if name.startswith("backbone."):
        return "backbone"
    if name.startswith("text.roberta."):
        return "text_encoder"
    if "sampling_offsets" in name or name.startswith("decoder.reference."):
        return "linear_proj"
    return "main"


@dataclass(frozen=True)
class Optim:
    """The keys of conf/optim. Rates are those after the warm-up and before the first milestone.

    Raises SettingsError listing every value that makes no sense.
    """

    lr: float
    lr_backbone: float
    lr_text_encoder: float
    lr_linear_proj: float
    weight_decay: float
    betas: Sequence[float]  # decay of the two averages, per step
    warmup_steps: int  # optimizer steps of linear growth; 0: none
    milestones: Sequence[int]  # epochs after which all rates are multiplied by gamma
    gamma: float

    def __post_init__(self) -> None:
        rate, epochs = real(least=0), list_of(whole(1))
        require(
            self,
            "optim",
            lr=rate,
            lr_backbone=rate,
            lr_text_encoder=rate,
            lr_linear_proj=rate,
            weight_decay=rate,
            betas=list_of(real(least=0, below=1), length=2),
            warmup_steps=whole(0),
            milestones=Expected(
                "rising epochs, each a whole number >= 1",
                lambda value: epochs.accepts(value) and list(value) == sorted(set(value)),
            ),
            gamma=real(above=0),
        )

    def optimizer(self, model: nn.Module) -> AdamW:
        """AdamW over the model's groups; each carries its `name`.

        Groups without trainable parameters are left out.
        """
        rates = dict(
            zip(
                GROUPS,
                (self.lr, self.lr_backbone, self.lr_text_encoder, self.lr_linear_proj),
                strict=True,
            )
        )
        members: dict[str, list[nn.Parameter]] = {group: [] for group in GROUPS}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                members[group_of(name)].append(parameter)
        groups = [
            {"name": group, "params": found, "lr": rates[group]}
            for group, found in members.items()
            if found
        ]
        return AdamW(groups, betas=tuple(self.betas), weight_decay=self.weight_decay)

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """What every learning rate is multiplied with at an optimizer step (from 0)."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return warmup * self.gamma ** bisect_right(self.milestones, step // steps_per_epoch)
