"""EdgeTAM weights -> a loaded model: `masklets.tracker=edgetam`.

Zhou et al., EdgeTAM: On-Device Track Anything Model, 2025: SAM 2 with RepViT-M1 for Hiera and a
perceiver that compresses the memories. transformers' `EdgeTamVideoModel` has the interface of its
`Sam2VideoModel`, so the tracker of SAM 2 runs it.
"""

from typing import Any

from rvos.tracking.pretrained import load_strictly

DOWNLOAD = "https://huggingface.co/yonigozlan/EdgeTAM-hf"


def load_edgetam(weights: str) -> Any:
    """An `EdgeTamVideoModel` in eval mode, on the CPU, float32, from a Hugging Face folder or name.

    Raises InputError for weights that are missing, or of another model.
    """
    from transformers import EdgeTamVideoModel

    return load_strictly(EdgeTamVideoModel, weights, kind="EdgeTAM video", download=DOWNLOAD)
