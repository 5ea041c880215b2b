"""Settings of conf/model -> MUTR, with weights where a file is given."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvos.mutr.settings import ModelSettings
from rvos.settings import make, preset
from rvos.weights.local import local_folder

if TYPE_CHECKING:
    from rvos.mutr.model import MUTR


def build_mutr(
    *, weights: str | Path | None, backbone_weights: str | Path | None = None, **settings: Any
) -> "MUTR":
    """A MUTR with the keys of conf/model as arguments.

    `weights`: official or own checkpoint that is loaded strictly; `backbone_weights`: a file of
    ImageNet or Kinetics weights for the backbone alone. None: random parameters. Both may be names
    of `python -m rvos weights`. Raises InputError for wrong settings, and weights that do not fit.
    """
    keys = {"weights": weights, "backbone_weights": backbone_weights} | settings
    make(ModelSettings, "model", keys)  # before torch is imported
    from rvos.mutr.backbone_weights import load_backbone
    from rvos.mutr.checkpoint import load_weights
    from rvos.mutr.model import MUTR

    model = MUTR(**settings)
    if weights is not None:
        load_weights(model, local_folder(weights, key="model.weights"))
    if backbone_weights is not None:
        load_backbone(model, local_folder(backbone_weights, key="model.backbone_weights"))
    return model


def load_model(name: str, weights: str | Path | None = None, **changes: Any) -> "MUTR":
    """The model of conf/model/<name>.yaml with `weights`, ready for inference on the CPU.

        model = load_model("mutr_tiny", "checkpoints/mutr_tiny_demo.pth", num_queries=1)

    `changes` replace settings of the file. Raises InputError when the weights do not fit.
    """
    settings = preset("model", name)
    for key in ("_target_", "_partial_"):
        del settings[key]
    return build_mutr(**settings | changes | {"weights": weights}).eval()
