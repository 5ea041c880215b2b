"""EdgeTAM weights -> a loaded model: `masklets.tracker=edgetam`.

Zhou et al., EdgeTAM: On-Device Track Anything Model, 2025: SAM 2 with RepViT-M1 for Hiera and a
perceiver that compresses the memories. transformers' `EdgeTamVideoModel` has the interface of its
`Sam2VideoModel`, so the tracker of SAM 2 runs it.
"""

from pathlib import Path
from typing import Any

from rvos.errors import InputError
from rvos.tracking.pretrained import load_strictly
from rvos.weights.local import FILES

DOWNLOAD = "https://huggingface.co/yonigozlan/EdgeTAM-hf"


def load_edgetam(weights: str) -> Any:
    """An `EdgeTamVideoModel` in eval mode, on the CPU, float32, from a Hugging Face folder or name.

    Raises InputError for weights that are missing, or of another model.
    """
    if Path(weights).suffix.lower() in FILES or Path(weights).is_file():
        raise InputError(
            f"masklets.weights={weights}: masklets.tracker=edgetam reads no .pt files; the same "
            f"weights for transformers: {DOWNLOAD}"
        )
    from transformers import EdgeTamVideoModel

    return load_strictly(EdgeTamVideoModel, weights, kind="EdgeTAM video", download=DOWNLOAD)
