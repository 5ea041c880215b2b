"""Weights by name: where each lies on this machine, fetched at first use where the hub has it.

A setting may name weights of Hugging Face's hub. They are fetched at their first use, in the
commit to which `main` then resolves. `rvos.json` beside them in the hub's cache keeps that commit
and the SHA-256 of each file; from then on the same files are used, without any request. Files from
elsewhere lie in `paths.weights`, with a record of the same form. Torch is not needed here.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rich.console import Console

from rvos.errors import InputError, list_problems
from rvos.masks import FileError, file_sha256, file_stamp, read_json, write_bytes, write_json
from rvos.settings import configured_folder
from rvos.weights import hub
from rvos.weights.kinds import FILES
from rvos.weights.table import GROUPS, WEIGHTS, Weight
from rvos.weights.whole import is_tokenizer, lacking

__all__ = ["WEIGHTS", "Weight", "find", "local_folder", "obtain"]

RECORD = "rvos.json"  # {"revisions": {name: commit}, "files": {commit: {file: ...}}, "licence"}
log = logging.getLogger(__name__)
_REPO = re.compile(r"[\w-][\w.-]*/[\w.-]+")  # org/name; what ends like a file is none
_revisions: dict[str, str] = {}  # what weights.revision says


def local_folder(given: str | Path, *, key: str = "weights") -> Path:
    """The folder (or file) of weights: a path that exists, or fetched from the hub at first use.

    `given` is a path, a name of the table or a name on the hub; `key` is the setting it stands
    under, for messages. Raises InputError as `obtain`.
    """
    return obtain({key: str(given)})[key]


def obtain(settings: Mapping[str, str], *, ask_only: bool = False) -> dict[str, Path]:
    """{setting: weights} -> where they are; what the hub has and is not here is fetched.

    Before a fetch one line says what, how big, where to, and under which licence. With `ask_only`
    the hub is only asked whether it has them. One InputError names all that is neither here nor
    can be fetched, and the command that fetches it; with `ask_only` only where the hub is silent.
    """
    paths: dict[str, Path] = {}
    absent: dict[str, Weight] = {}
    problems = []
    for key, given in settings.items():
        weight = None if Path(given).exists() else find(given)
        path = here(weight) if weight else Path(given)
        if path is not None and path.exists():
            paths[key] = path
            if absence := lacking(path, "roberta" if is_tokenizer(key) else None):
                problems.append(f"{key}={given}: not whole: {path} lacks {', '.join(absence)}")
        elif weight is None:
            problems.append(
                f"{key}={given}: no such weights: {Path(given).absolute()} is not there, and it is "
                "no name on the hub. `python -m rvos weights` lists those that rvos knows"
            )
        elif weight.repo is None:
            problems.append(f"{key}={given}: not there. {how_to_get(weight)}")
        else:
            absent[key] = weight
    if problems and not ask_only:
        absent.clear()  # nothing is fetched for a run that cannot begin
    for key, weight in absent.items():
        try:
            if not ask_only:
                paths[key] = here(weight) or fetch(weight)  # two settings may name the same
            elif weight.repo:
                hub.listing(weight.repo, commit_of(weight), weight.files)
        except hub.Unreachable as error:
            missing = {key: weight for key, weight in absent.items() if key not in paths}
            named = ", ".join(f"{key}={settings[key]}" for key in missing)
            problems.append(unreachable(named, list(missing.values()), error))
            break
    else:
        if ask_only:
            return paths
    if len(problems) > 1:
        raise InputError(list_problems("Weights that are missing", problems))
    if problems:
        raise InputError(problems[0])
    return paths


def find(given: str | Path) -> Weight | None:
    """The row of a name, a hub name (any other gets a row of its own), or a file of the table."""
    text, folder = str(given), configured_folder("weights")
    for row in WEIGHTS.values():
        if text in (row.name, row.repo) or (row.url and Path(text) == folder / row.files[0]):
            return row
    if _REPO.fullmatch(text) and not text.lower().endswith(FILES):
        return Weight(text, "weights of your choice", "any", "see its page", repo=text)
    return None


def use_revisions(revisions: Mapping[str, str] | None) -> None:
    """`weights.revision`: {name or hub name: commit, tag or branch} instead of `main`.

    Raises InputError for what is no such mapping and for a name that is none of the hub's.
    """
    expected = "weights.revision: expected {name on the hub: commit, tag or branch}"
    rows = revisions or {}
    if not isinstance(rows, Mapping) or not all(isinstance(v, str) and v for v in rows.values()):
        raise InputError(f"{expected}, got {revisions!r}")
    _revisions.clear()
    for name, revision in rows.items():
        weight = find(str(name))
        if weight is None or weight.repo is None:
            raise InputError(f"{expected}, got {name!r}, which is no name on the hub")
        _revisions[weight.repo] = revision


def unreachable(named: str, weights: Sequence[Weight], error: Exception) -> str:
    """What to say of weights that are not here while who has them does not answer."""
    names = " ".join(dict.fromkeys(weight.name for weight in weights))
    parts = [f"{folder_of(w)} lacks {', '.join(lack)}" for w in weights if (lack := _partly(w))]
    where = hub.cache_folder() if weights[0].repo else path_of(weights[0]).parent
    return (
        f"{named}: not in {where}, and {error}. {'; '.join([*parts, ''])}Run this where there is "
        f"a network: python -m rvos weights get {names}. Or give folders that hold the weights "
        "(docs/weights.md)"
    )


def _partly(weight: Weight) -> list[str]:
    """What a cache lacks that has other files of the repository."""
    folder = folder_of(weight)
    return lacking(folder, weight.model_type) if weight.repo and folder.is_dir() else []


def how_to_get(weight: Weight) -> str:
    """What a user does to get weights that no run fetches by itself."""
    if weight.command:
        return f"`python -m rvos weights get {weight.name}` runs {weight.command} and checks it"
    if weight.url:
        name = next((group for group, rows in GROUPS.items() if weight.name in rows), weight.name)
        return (
            f"`python -m rvos weights get {name}` fetches them to {path_of(weight)} "
            f"(licence: {weight.licence})"
        )
    return f"rvos knows no address of them; a file of your own goes into {weight.used_by}"


# -------------------------------------------------------------------------------------- fetching


def fetch(weight: Weight) -> Path:
    """The folder or file, brought here and recorded; a file that is there and fits is kept.

    Raises Unreachable, and InputError for no consent, no room, wrong bytes, no address.
    """
    if weight.repo:
        return _fetch_repo(weight)
    if not weight.url:
        raise InputError(f"{weight.name}: {how_to_get(weight)}")
    path = path_of(weight)
    if _known_sha256(weight) and _is_as_known(weight):
        return path  # perhaps another user's: nothing is locked where nothing is fetched
    with hub.locked(path.parent):
        if not _is_as_known(weight):
            path.unlink(missing_ok=True)  # it has changed since
            announce(weight, weight.size, path, weight.licence)
            if "drive.google.com" in weight.url:
                hub.fetch_drive(weight.url, path)
            else:
                hub.fetch_url(weight.url, path, sha256=weight.sha256)
        keep_record(weight, "", [path.name], weight.licence)
    return path


def _known_sha256(weight: Weight) -> str:
    """That of a file in `paths.weights`, or its first digits; "" where nobody knows it."""
    recorded = recorded_files(weight).get(weight.files[0], {})
    return str(recorded.get("sha256") or weight.sha256 or "")


def _is_as_known(weight: Weight) -> bool:
    path = path_of(weight)
    return path.is_file() and file_sha256(path).startswith(_known_sha256(weight))


def _fetch_repo(weight: Weight) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.file_download import are_symlinks_supported

    assert weight.repo
    revision, storage = revision_of(weight), path_of(weight)
    listing = hub.listing(weight.repo, commit_of(weight), weight.files)
    files = [file for file in listing.files if "/" not in file.name]
    licence = listing.licence or weight.licence
    blobs = [(file, storage / "blobs" / file.blob) for file in files]
    folder = storage / "snapshots" / listing.commit
    names = [file.name for file in files]
    if not lacking(folder, weight.model_type) and all(
        (folder / file.name).is_file() and hub.blob_of(blob, file.blob) == file.blob
        for file, blob in blobs
    ):
        if recorded_files(weight).keys() != {*names}:
            keep_record(weight, listing.commit, names, licence)
        return folder  # perhaps another user's: nothing is locked where nothing is fetched
    with hub.locked(storage), hub.explained(weight.repo, "model"):
        missing = [(file, blob) for file, blob in blobs if not _fits(blob)]
        if missing:
            announce(weight, sum(file.size for file in files), hub.cache_folder(), licence)
        copies = 1 if are_symlinks_supported(storage) else 2  # a snapshot links its blobs
        needed = sum(file.size - hub.already(blob) for file, blob in missing)
        hub.check_space(storage, copies * needed)
        for file, blob in missing:
            hub.fetch_file(weight.repo, listing.commit, file, blob)
        for file, blob in blobs:
            link = folder / file.name
            if link.is_file() and not link.samefile(blob):
                link.unlink()  # somebody has put another file there
            hf_hub_download(weight.repo, file.name, revision=listing.commit)  # links the blob
        if absence := lacking(folder, weight.model_type):
            raise InputError(
                f"{weight.repo}, revision {listing.commit}: not whole on the hub: it lacks "
                f"{', '.join(absence)}"
            )
        if revision != listing.commit:  # so that other programs find it offline
            write_bytes(storage / "refs" / revision, listing.commit.encode())
        keep_record(weight, listing.commit, names, licence)
    return folder


def _fits(blob: Path) -> bool:
    """Whether a blob of the hub's cache has the content that its name says; removed if not."""
    if not blob.is_file():
        return False
    if hub.blob_of(blob, blob.name) == blob.name:
        return True
    blob.unlink()
    return False


def announce(weight: Weight, size: int | None, where: Path, licence: str) -> None:
    """The one line before a fetch."""
    Console(stderr=True).print(
        f"Fetching {weight.repo or weight.name} ({weight.purpose}): {hub.in_bytes(size)} to "
        f"{where}, licence: {licence}",
        markup=False,
        soft_wrap=True,
        highlight=False,
    )


# ---------------------------------------------------------------------------- on this machine


def here(weight: Weight) -> Path | None:
    """The folder or file of weights that are here, whole and unchanged; None: not fetched.

    A file of the recorded size and time counts as unchanged, any other is hashed. Raises
    InputError naming a file that has changed.
    """
    if not weight.repo and not weight.url:
        return None
    files, folder = recorded_files(weight), folder_of(weight)
    if not files:
        return _adopt(weight)
    if not all((folder / name).is_file() for name in files) or _partly(weight):
        return None  # not whole: fetched
    touched = [name for name, was in files.items() if was != was | _stamp(folder / name)]
    for name in touched:
        if file_sha256(folder / name) != files[name].get("sha256"):
            raise InputError(
                f"{folder / name}: changed since it was fetched (its SHA-256 was "
                f"{files[name].get('sha256')}). `python -m rvos weights get {weight.name}` "
                "fetches it again"
            )
    if touched:
        keep_record(weight, commit_of(weight), list(files))
    return folder if weight.repo else path_of(weight)


def _adopt(weight: Weight) -> Path | None:
    """What is here without a record: a file put there by hand; what others fetched from the hub.

    The names of blobs are hashes, so the latter are checked, and get a record, without a request.
    """
    path, folder = path_of(weight), folder_of(weight)
    if not weight.repo:
        return path if path.is_file() else None
    names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
    wanted = [name for name in names if any(fnmatch(name, files) for files in weight.files)]
    if weight.model_type is not None:
        is_whole = not lacking(folder, weight.model_type)
    else:
        needed = [files for files in weight.files if files != "*.txt"]
        is_whole = all(any(fnmatch(name, files) for name in wanted) for files in needed)
    blobs = [(folder / name).resolve() for name in wanted]
    hashed = [blob for blob in blobs if len(blob.name) in (40, 64)]
    if not is_whole or any(hub.blob_of(blob, blob.name) != blob.name for blob in hashed):
        return None
    keep_record(weight, folder.name, wanted)
    return folder


@contextmanager
def _readable() -> Iterator[None]:
    """Raise InputError for a cache that somebody else has closed."""
    try:
        yield
    except PermissionError as error:
        raise InputError(
            f"{error.filename}: cannot be read: {error.strerror}. {hub.OWN_CACHE}"
        ) from None


@_readable()
def path_of(weight: Weight) -> Path:
    """The repository's folder in the hub's cache, or the file in `paths.weights`."""
    if not weight.repo:
        return configured_folder("weights") / weight.files[0]
    folder, *former = [
        hub.cache_folder() / f"models--{name.replace('/', '--')}"
        for name in (weight.repo, *weight.former_repos)
    ]
    snapshots = [] if folder.is_dir() else [s for f in former for s in f.glob("snapshots/*")]
    whole = [snapshot for snapshot in snapshots if not lacking(snapshot, weight.model_type)]
    return whole[0].parent.parent if whole else folder


def revision_of(weight: Weight) -> str:
    """The branch, tag or commit to use; "" where there are none."""
    return _revisions.get(weight.repo, "main") if weight.repo else ""


def commit_of(weight: Weight) -> str:
    """The commit to which the revision in use resolved; the revision itself where unknown."""
    revision = revision_of(weight)
    return str(read_record(weight).get("revisions", {}).get(revision, revision))


def folder_of(weight: Weight) -> Path:
    """Where the files lie: the snapshot of the revision in use, or `paths.weights`."""
    path, commit = path_of(weight), commit_of(weight)
    if not weight.repo:
        return path.parent
    reference = path / "refs" / commit  # of a branch, where others have fetched it
    return path / "snapshots" / (reference.read_text().strip() if reference.is_file() else commit)


def record_file(weight: Weight) -> Path:
    """Where the commits and hashes of fetched files stand."""
    path = path_of(weight)
    return path / RECORD if weight.repo else path.with_name(f".{path.name}.{RECORD}")


@_readable()
def read_record(weight: Weight) -> dict[str, Any]:
    """The record; empty where nothing was fetched or it is damaged."""
    if not (weight.repo or weight.url) or not record_file(weight).is_file():
        return {}
    try:
        content = read_json(record_file(weight))
    except FileError:
        return {}
    return content if isinstance(content, dict) else {}


def recorded_files(weight: Weight) -> dict[str, dict[str, Any]]:
    """{file: {"size", "mtime_ns", "sha256"}} of the revision in use; empty if not fetched."""
    files: dict[str, dict[str, Any]] = read_record(weight).get("files", {})
    return files.get(commit_of(weight), {})


def keep_record(weight: Weight, commit: str, names: list[str], licence: str | None = None) -> None:
    """Hash the files and add them to the record; the revision in use is `commit` from now on.

    Where nothing can be written there is no record, and each start hashes the files.
    """
    record, path = read_record(weight), path_of(weight)
    folder = path / "snapshots" / commit if weight.repo else path.parent
    files = {n: {**_stamp(folder / n), "sha256": file_sha256(folder / n)} for n in sorted(names)}
    content = {
        "revisions": record.get("revisions", {}) | {revision_of(weight): commit},
        "files": record.get("files", {}) | {commit: files},
        "licence": licence or record.get("licence"),
    }
    try:
        write_json(record_file(weight), content)
    except OSError as error:
        log.warning("%s: cannot be written: %s", record_file(weight), error.strerror)


def _stamp(path: Path) -> dict[str, int]:
    """What tells cheaply whether a file may have changed."""
    size, mtime_ns = file_stamp(path)
    return {"size": size, "mtime_ns": mtime_ns}
