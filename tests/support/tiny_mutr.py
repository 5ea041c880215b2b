"""A tiny MUTR with parameters that are not at their starting values (zero heads hide mistakes)."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from rvos.mutr import MUTR, build_mutr

CONF = Path(__file__).parents[2] / "conf/model"
SENTENCES = ["the red circle moving left", "circle", "a blue square, left of the other one"]


def tiny_settings(**changes) -> dict:
    values = OmegaConf.to_container(OmegaConf.load(CONF / "mutr_tiny.yaml"), resolve=True)
    del values["_target_"], values["_partial_"]
    return values | changes


def tiny(seed: int = 0, **changes) -> MUTR:
    torch.manual_seed(seed)
    model = build_mutr(**tiny_settings(**changes))
    model.add_words(SENTENCES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def frames(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(a: torch.Tensor, b: torch.Tensor, rel: float = 2e-5) -> bool:
    """Largest difference at most rel times the largest value."""
    return bool((a - b).abs().max() <= rel * b.abs().max())
