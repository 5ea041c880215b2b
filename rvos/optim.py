"""AdamW over four groups of parameters, and their learning rate step by step."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW

from rvos import InputError

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
    """Keys of conf/optim. Rates are those after the warm-up and before the first milestone."""

    lr: float
    lr_backbone: float
    lr_text_encoder: float
    lr_linear_proj: float
    weight_decay: float
    betas: tuple[float, float]
    warmup_steps: int  # optimizer steps of linear growth; 0: none
    milestones: Sequence[int]  # epochs after which all rates are multiplied by gamma
    gamma: float

    def __post_init__(self):
        epochs = list(self.milestones)
        if epochs != sorted(set(epochs)) or any(epoch < 1 for epoch in epochs):
            raise InputError(f"optim.milestones: expected epochs from 1 on, rising, got {epochs}")
        if self.warmup_steps < 0:
            raise InputError(f"optim.warmup_steps: expected 0 or more, got {self.warmup_steps}")

    def optimizer(self, model: nn.Module) -> AdamW:
        """Groups without trainable parameters are left out; each carries its `name`."""
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
