"""AdamW over four groups of parameters, and their learning rate step by step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from rvos.settings import Amount, Count, Part, Positive, Whole, checked

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import AdamW


def group_of(name: str) -> str:
    """The group of one of MUTR's parameters, as the official options divide them (opts.py)."""
    if name.startswith("backbone."):
        return "backbone"
    if name.startswith("text.roberta."):
        return "text_encoder"
    if "sampling_offsets" in name or name.startswith("decoder.reference."):
        return "linear_proj"
    return "main"


def _rising(epochs: Sequence[int]) -> Sequence[int]:
    if list(epochs) != sorted(set(epochs)):
        raise ValueError("not rising")
    return epochs


Rising = Annotated[
    Sequence[Count], AfterValidator(_rising), Field(description="rising epochs, each {}")
]


@checked
class Optim:
    """The keys of conf/optim. Rates are those after the warm-up and before the first milestone.

    Raises SettingsError listing every value that makes no sense.
    """

    lr: Amount
    lr_backbone: Amount
    lr_text_encoder: Amount
    lr_linear_proj: Amount
    weight_decay: Amount
    betas: tuple[Part, Part]  # decay of the two averages, per step
    warmup_steps: Whole  # optimizer steps of linear growth; 0: none
    milestones: Rising  # epochs after which all rates are multiplied by gamma
    gamma: Positive

    def optimizer(self, model: nn.Module) -> AdamW:
        """AdamW over the model's groups; each carries its `name`.

        Groups without trainable parameters are left out.
        """
        from torch.optim import AdamW  # here, so that wrong values are named before torch is there

        rates = {
            "main": self.lr,
            "backbone": self.lr_backbone,
            "text_encoder": self.lr_text_encoder,
            "linear_proj": self.lr_linear_proj,
        }
        members: dict[str, list[nn.Parameter]] = {group: [] for group in rates}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                members[group_of(name)].append(parameter)
        groups = [
            {"name": group, "params": parameters, "lr": rates[group]}
            for group, parameters in members.items()
            if parameters
        ]
        return AdamW(groups, betas=self.betas, weight_decay=self.weight_decay)

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """What every learning rate is multiplied with at an optimizer step (from 0)."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return warmup * self.gamma ** bisect_right(self.milestones, step // steps_per_epoch)
