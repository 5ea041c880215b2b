"""What a setting may name as weights: a file, or a folder and a name on the hub."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from rvos.settings import Text

FILES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")  # what ends so is no name on the hub


def names_file(weights: str | Path) -> bool:
    """Whether weights are a file; else they are a folder or a name on the hub."""
    path = Path(weights)
    return path.is_file() or (path.suffix.lower() in FILES and not path.is_dir())


def _no_file(weights: str) -> str:
    if names_file(weights):
        raise ValueError("a file")
    return weights


HubFolder = Annotated[  # a setting
    Text,
    AfterValidator(_no_file),
    Field(description="a folder or a name on the hub, no file (docs/weights.md)"),
]
