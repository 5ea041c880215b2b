"""Datasets on Hugging Face's hub -> a folder that the readers take: `python -m rvos data get`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console

from rvos.errors import InputError
from rvos.masks import FileError, file_sha256, read_json, write_json
from rvos.settings import Flag, Text, checked
from rvos.weights import hub

RECORD = "rvos.json"  # {"hub", "revision", "licence", "files": {name: {size, mtime_ns, sha256}}}


@dataclass(frozen=True)
class HubDataset:
    """Where a dataset lies, and what you agree to when you fetch it."""

    repo: str
    licence: str
    licence_address: str
    page: str
    splits: tuple[str, ...]  # folders in the repository
    format: str  # as data.format
    release: str  # as data.release


DATASETS: Mapping[str, HubDataset] = {
    "mevis_v2": HubDataset(
        "FudanCVL/MeViSv2",
        "CC BY-NC-SA 4.0, for non-commercial research only",
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
        "https://henghuiding.com/MeViS",
        ("train", "valid_u", "valid", "test"),
        "mevis",
        "v2",
    )
}


@checked
def get(
    name: str,
    root: Path,
    *,
    splits: Annotated[Sequence[Text], Field(min_length=1)] | None,
    accept_licence: Flag,
    revision: Text | None,
    console: Console,
) -> list[str]:
    """Bring the files of `splits` (None: all that the hub has) to `root`; returns the splits.

    Archives stay archives. A second start goes on where the first one stopped; files whose hash is
    right are kept. The commit of the first fetch is kept too, unless `revision` names another.
    Raises InputError: licence not accepted, no such split, no room, wrong bytes, no network.
    """
    about = DATASETS[name]
    licence = f"{about.licence}: {about.licence_address} ({about.page})"
    console.print(f"licence of {name}: {licence}", soft_wrap=True, highlight=False)
    if not accept_licence:
        raise InputError(f"{name}: read its licence ({licence}), then add accept_licence=true")
    record = _read(root / RECORD)
    commit = revision or record.get("revision") or "main"
    found = hub.listing(about.repo, commit, ["*/*"], kind="dataset")
    there = {file.name.partition("/")[0] for file in found.files}
    chosen = [s for s in (splits or about.splits) if splits or s in there]
    if unknown := [split for split in chosen if split not in there]:
        raise InputError(
            f"splits: {', '.join(unknown)}: not in {about.repo}; it has {', '.join(sorted(there))}"
        )
    files = [file for file in found.files if file.name.partition("/")[0] in chosen]
    record = {
        "hub": about.repo,
        "revision": found.commit,
        "licence": about.licence,
        "files": record.get("files", {}),
    }
    with hub.locked(root):
        missing = [file for file in files if not _is_there(root, file, record)]
        needed = sum(file.size - hub.already(root / file.name) for file in missing)
        hub.check_space(root, needed)
        console.print(
            f"{about.repo}, {', '.join(chosen)}: {len(missing)} of {len(files)} files, "
            f"{hub.in_bytes(needed)} to {root}",
            soft_wrap=True,
            highlight=False,
        )
        for file in missing:
            target = root / file.name
            target.unlink(missing_ok=True)
            hub.fetch_file(about.repo, found.commit, file, target, kind="dataset")
            _is_there(root, file, record)
            write_json(root / RECORD, record)
        write_json(root / RECORD, record)
    return chosen


def _is_there(root: Path, file: hub.HubFile, record: dict[str, Any]) -> bool:
    """Whether a file has the hub's content; one that is recorded with its size and time is so."""
    path, known = root / file.name, record["files"]
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    now = {"blob": file.blob, "size": file.size, "mtime_ns": path.stat().st_mtime_ns}
    before = known.get(file.name, {})
    if before | now != before:
        if hub.blob_of(path, file.blob) != file.blob:
            return False
        known[file.name] = now | {"sha256": file_sha256(path)}
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path) if path.is_file() else {}
    except FileError:
        content = {}
    return content if isinstance(content, dict) else {}
