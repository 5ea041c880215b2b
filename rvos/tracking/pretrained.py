"""A folder or name of the hub -> a network of transformers with exactly the weights that it needs.

`from_pretrained` fills what a file lacks with random numbers, and only logs it; here that is an
error.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rvos.errors import InputError
from rvos.weights.kinds import names_file
from rvos.weights.local import local_folder
from rvos.weights.tensors import check_numbers

# One buffer of SAM 2 under two names: transformers 4 keeps only one of them in a file.
TWINS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)


def load_strictly(
    model_class: Any, weights: str, *, kind: str, download: str, key: str = "masklets.weights"
) -> Any:
    """A network of transformers from a Hugging Face folder or name: eval mode, CPU, float32.

    `key` is the setting that names the weights; `kind` and `download` are for the message. Raises
    InputError for a file, for missing weights, and where a tensor is missing, of another shape or
    one too many (besides those that transformers itself derives or ignores): those of another
    model.
    """
    if names_file(weights):
        raise InputError(
            f"{key}={weights}: {kind}: expected a folder or a name on the hub, got a file; the "
            f"same weights for transformers: {download}"
        )
    folder = local_folder(weights, key=key)
    try:
        with quiet():
            model, report = model_class.from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True
            )
    except (OSError, ValueError) as error:
        raise missing(weights, error, key=key, download=download) from None
    except Exception as error:  # of many kinds, where the folder holds another model
        raise InputError(
            f"{key}: {weights}: not the weights of a {kind} model ({download}): "
            f"{' '.join(repr(error).split()):.200}"
        ) from None
    wrong = {
        "missing": fill_twins(model, set(report["missing_keys"])),
        "unexpected": set(report["unexpected_keys"]),
        "of another shape": {str(row[0]) for row in report["mismatched_keys"]},
    }
    if any(wrong.values()):
        parts = [f"{len(names)} {what} ({_few(names)})" for what, names in wrong.items() if names]
        raise InputError(
            f"{key}: {weights}: not the weights of a {kind} model ({download}); tensors: "
            f"{', '.join(parts)}"
        )
    check_numbers(model.state_dict(), f"{key}: {weights}")
    return model.float().eval()


def load_processor(
    processor_class: Any, weights: str, *, download: str, key: str = "masklets.weights"
) -> Any:
    """What prepares the input of a network. Raises InputError where its files are not whole."""
    try:
        return processor_class.from_pretrained(local_folder(weights, key=key))
    except Exception as error:  # of many kinds, where a file is damaged
        raise missing(weights, error, key=key, download=download) from None


def fill_twins(model: Any, absent: set[str]) -> set[str]:
    """Copy each buffer that a file lacks from its twin that it has; what is still missing."""
    state, filled = model.state_dict(), set()
    for absent_end, twin_end in (TWINS, TWINS[::-1]):
        for name in (name for name in absent if name.endswith(absent_end)):
            twin = name.removesuffix(absent_end) + twin_end
            if twin in state and twin not in absent:
                with torch.no_grad():
                    state[name].copy_(state[twin])
                filled.add(name)
    return absent - filled


def _few(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:5])
    return f"{shown}, ..." if len(names) > 5 else shown


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's own report of a file that does not fit: our error says it."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def missing(
    weights: str,
    error: BaseException | None = None,
    *,
    download: str,
    key: str = "masklets.weights",
) -> InputError:
    """The error for weights that are not found: where they were searched and where you get them.

    `key` is the config key that names the weights.
    """
    searched = f"{Path(weights).absolute()}"
    if not Path(weights).suffix:
        searched += ", the Hugging Face cache and hub"
    reason = f": {' '.join(str(error).split())[:200]}" if error else ""
    return InputError(
        f"{key}={weights}: no such weights (searched {searched}){reason}. Get them from {download}"
    )
