"""What a store keeps of weights: the content that a loader reads, and where it comes from."""

from collections.abc import Mapping
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any

from rvos.errors import InputError
from rvos.masks import file_sha256
from rvos.weights.local import commit_of, find, local_folder, obtain, read_record, recorded_files
from rvos.weights.whole import is_tokenizer

# What a loader reads beside the weights; anything else in a folder has no effect.
_READ = (
    *("config.json", "*processor_config.json", "tokenizer*.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.*", "merges.txt"),
)


def origin(given: str | Path) -> dict[str, str]:
    """What provenance says of weights beside their SHA-256: hub name, revision, licence.

    Empty for files of which rvos does not know where they come from.
    """
    weight = find(given)
    if weight is None or (weight.repo and Path(given).exists()):
        return {}
    record = read_record(weight)
    if not recorded_files(weight):
        return {}
    licence = record.get("licence") or weight.licence
    if weight.repo:
        return {"hub": weight.repo, "revision": commit_of(weight), "licence": licence}
    return {"url": str(weight.url), "licence": licence}


def origins(used: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """{setting: `origin`} of all weights of which rvos knows where they come from."""
    return {key: where for key, given in used.items() if (where := origin(given))}


def digest(given: str | Path, *, key: str = "weights") -> str:
    """SHA-256 of a file, or of all that a loader reads of a folder, as stores keep it.

    No recorded file is read. Raises InputError where there is none.
    """
    path, known = local_folder(given, key=key), _known(given)
    return _hash(path, known) if path.is_file() else content_digest(path, known, key=key)


def digests(used: Mapping[str, str]) -> str | None:
    """`digest` of all weights that a stage uses, by setting; what is missing is obtained first."""
    obtain(used)
    return "+".join(digest(given, key=key) for key, given in used.items()) or None


def digests_formerly(used: Mapping[str, str]) -> str | None:
    """What `digests` said in rvos 0.2.0, for stores that have such a name."""
    return "+".join(_digest_formerly(given, key) for key, given in used.items()) or None


def _known(given: str | Path) -> dict[str, dict[str, Any]]:
    weight = None if Path(given).exists() else find(given)
    return recorded_files(weight) if weight else {}


def content_digest(folder: Path, known: dict[str, dict[str, Any]], *, key: str) -> str:
    """SHA-256 over names and hashes of all that a loader reads of a folder, tokenizer included.

    `known` has the record of files that need not be read. Raises InputError where nothing is.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    read = [name for name in names if any(fnmatch(name, pattern) for pattern in _READ)]
    safetensors = [name for name in names if name.endswith(".safetensors")]  # read if there are any
    weights = safetensors or [name for name in names if name.endswith(".bin")]
    weights = [] if is_tokenizer(key) else weights
    if not weights and (not is_tokenizer(key) or not read):
        expected = "files of a tokenizer" if is_tokenizer(key) else "*.safetensors or *.bin"
        raise InputError(f"{key}: {folder}: no {expected} in this folder")
    rows = (f"{name} {_hash(folder / name, known)}\n" for name in sorted({*read, *weights}))
    return sha256("".join(rows).encode()).hexdigest()


def _digest_formerly(given: str, key: str) -> str:
    """The hash that rvos 0.2.0 put into the names of stores: of the weights alone.

    Where a name on the hub stood for a folder, one file's hash stood for itself.
    """
    path = local_folder(given, key=key)
    if path.is_file():
        return file_sha256(path)
    names = sorted(p.name for p in path.iterdir() if p.suffix in (".safetensors", ".bin"))
    hashes = [_hash(path / name, _known(given)) for name in names]
    if len(hashes) == 1 and not Path(given).exists():
        return hashes[0]
    return sha256("".join(hashes).encode()).hexdigest()


def _hash(path: Path, known: dict[str, dict[str, Any]]) -> str:
    return str(known[path.name]["sha256"]) if path.name in known else file_sha256(path)
