"""Settings of conf/model -> MUTR, with weights where a file is given."""

from pathlib import Path
from typing import Any

from rvos import preset
from rvos.mutr.checkpoint import load_weights
from rvos.mutr.model import MUTR


def build_mutr(*, weights: str | Path | None, **settings: Any) -> MUTR:
    """A MUTR with the keys of conf/model as arguments.

    `weights`: official or own checkpoint that is loaded strictly; None: random parameters. Raises
    InputError when the weights do not fit.
    """
    model = MUTR(**settings)
    if weights is not None:
        load_weights(model, weights)
    return model


def load_model(name: str, weights: str | Path | None = None, **changes: Any) -> MUTR:
    """The model of conf/model/<name>.yaml with `weights`, ready for inference on the CPU.

        model = load_model("mutr_tiny", "checkpoints/mutr_tiny_demo.pth", num_queries=1)

    `changes` replace settings of the file. Raises InputError when the weights do not fit.
    """
    settings = preset("model", name)
    for key in ("_target_", "_partial_"):
        del settings[key]
    return build_mutr(**settings | changes | {"weights": weights}).eval()
