"""Whether a folder of weights is whole: it has the files that its loader opens.

A cache of the hub or a folder often has only some of a repository's files: another program has
fetched those that it needed. Torch is not needed here.
"""

from codecs import BOM_UTF8
from pathlib import Path

from rvos.errors import InputError
from rvos.masks import FileError, read_json
from rvos.masks.files import pointer

Groups = tuple[tuple[str, ...], ...]  # of files; a loader needs one of the groups
_ARCHIVES = (b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")
_WEIGHTS: Groups = (
    ("model.safetensors",),
    ("model.safetensors.index.json",),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json",),
)
_PROCESSOR: Groups = (("preprocessor_config.json",), ("processor_config.json",))
_TOKENIZER: Groups = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))
_TEXT: dict[str, Groups] = {"the processor": _PROCESSOR, "the tokenizer": _TOKENIZER}
_NETWORK: dict[str, Groups] = {"the settings": (("config.json",),), "the weights": _WEIGHTS}
NEEDS: dict[str, dict[str, Groups]] = {  # by the model_type of config.json
    "grounding-dino": _NETWORK | _TEXT,
    "sam3_video": _NETWORK | _TEXT,
    "sam2_video": _NETWORK,
    "edgetam_video": _NETWORK,
    "roberta": {"the tokenizer": _TOKENIZER},
}


def no_weights(path: Path) -> str:
    """What a file is that stands in the place of weights, by its first bytes; "" for any other."""
    with path.open("rb") as file:
        begin, rest = file.read(64), file.read(448)
    if begin.startswith(_ARCHIVES) or rest[193:198] == b"ustar":  # at byte 257 of a tar
        return "an archive: unpack it, and give the file that is in it"
    begin = begin.removeprefix(BOM_UTF8).lstrip().lower()
    if not begin:
        return "an empty file: fetch it again"
    if begin.startswith((b"<!doctype", b"<html", b"<head", b"<!--", b"<?xml")):
        return "an HTML page, as a site sends it to who must log in: fetch the file anew"
    return pointer(path)


def is_tokenizer(key: str) -> bool:
    """Whether a setting takes only the tokenizer of a folder."""
    return key.endswith("tokenizer")


def lacking(folder: Path, model_type: str | None = None) -> list[str]:
    """What a folder lacks of its loader's files, in words: "the processor (...json)".

    `model_type` is that of its config.json unless given. Empty too for an unknown one.
    """
    needs = NEEDS.get(model_type or _model_type(folder), {})
    absent = [
        f"{what} ({' or '.join(' + '.join(group) for group in groups)})"
        for what, groups in needs.items()
        if not any(all((folder / name).is_file() for name in group) for group in groups)
    ]
    if "the weights" in needs and not absent:
        absent = [name for name in _shards(folder) if not (folder / name).is_file()]
    names = dict.fromkeys(name for groups in needs.values() for group in groups for name in group)
    files = (path for name in names if (path := folder / name).is_file())
    return absent + [f"{f.name}, which is {what}" for f in files if (what := no_weights(f))]


def _model_type(folder: Path) -> str:
    try:
        return str(read_json(folder / "config.json").get("model_type"))
    except (FileError, AttributeError):
        return ""


def _shards(folder: Path) -> list[str]:
    """The files of weights that come in several."""
    index = next(f for (name,) in _WEIGHTS if (f := folder / name).is_file())  # as the loader does
    if index.suffix != ".json":
        return []
    try:
        return sorted(set(read_json(index)["weight_map"].values()))
    except (FileError, KeyError, TypeError, AttributeError):
        raise InputError(f"{index}: expected the names of the files of these weights") from None
