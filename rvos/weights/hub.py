"""Files from the net: whole, resumed after a kill, checked, with free disk asked before.

What a repository on Hugging Face's hub holds, and one way to fetch a file from anywhere. The
progress bar (size, rate, remaining time) is huggingface_hub's.
"""

import errno
import hashlib
import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

from rvos.errors import InputError
from rvos.masks import file_sha256

for _client in ("httpx", "httpx2"):
    logging.getLogger(_client).setLevel(logging.WARNING)  # it logs every request
RepoType = Literal["model", "dataset"]


class Unreachable(InputError):
    """Whoever has the files does not answer."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. `blob`: SHA-256 of a large file, git's SHA-1 of any other."""

    name: str
    size: int  # bytes
    blob: str


@dataclass(frozen=True)
class Listing:
    """What a revision of a repository holds."""

    commit: str
    licence: str | None  # as its card says
    files: tuple[HubFile, ...]


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or Hugging Face's."""
    return str(_constants().ENDPOINT)


def cache_folder() -> Path:
    """The hub's cache (HF_HUB_CACHE, HF_HOME)."""
    return Path(_constants().HF_HUB_CACHE)


def listing(
    repo: str, revision: str, patterns: Sequence[str], *, kind: RepoType = "model"
) -> Listing:
    """The files of a revision that fit one of the patterns (`*` crosses folders).

    Raises Unreachable, and InputError for a repository or revision that is not there or is not
    open to the token.
    """
    with explained(repo, kind):
        from huggingface_hub import get_token
        from huggingface_hub.utils import get_session, hf_raise_for_status

        # Not by HfApi, which first asks the hub something else where a program drives it.
        token = get_token()
        answer = get_session().get(
            f"{endpoint()}/api/{kind}s/{repo}/revision/{quote(revision, safe='')}",
            params={"blobs": "true"},
            headers={"Authorization": f"Bearer {token}"} if token else {},
            follow_redirects=True,
            timeout=_constants().HF_HUB_ETAG_TIMEOUT,
        )
        hf_raise_for_status(answer)
    try:
        info = answer.json()
        files = tuple(
            HubFile(
                file["rfilename"],
                file["size"],
                (file.get("lfs") or {}).get("sha256", file["blobId"]),
            )
            for file in info["siblings"]
            if any(fnmatch(file["rfilename"], pattern) for pattern in patterns)
        )
        licence, commit = (info.get("cardData") or {}).get("license"), info["sha"]
    except (ValueError, KeyError, TypeError):  # some other page: a portal's, a proxy's
        raise Unreachable("what answers there is not the hub") from None
    if not files:
        raise InputError(f"{repo}: no files like {', '.join(patterns)} in revision {revision}")
    return Listing(commit, licence if isinstance(licence, str) else None, files)


def fetch_file(
    repo: str, commit: str, file: HubFile, target: Path, *, kind: RepoType = "model"
) -> None:
    """A repository's file to `target`, whole and checked. Raises as `listing`."""
    with explained(repo, kind):
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        url = hf_hub_url(repo, file.name, repo_type=kind, revision=commit, endpoint=endpoint())
        headers = build_hf_headers()
        part = download(url, target, size=file.size, headers=headers, name=file.name)
    _put(part, target, f"{repo}, {file.name}", blob_of(part, file.blob), file.blob)


def fetch_url(url: str, target: Path, *, sha256: str | None = None) -> None:
    """One file to `target`; `sha256`: the first digits, where they are known.

    Raises Unreachable, and InputError for wrong bytes and for what cannot be written.
    """
    with explained(url, "model"):
        from huggingface_hub.utils import get_session, hf_raise_for_status

        answer = get_session().head(
            url, follow_redirects=True, timeout=_constants().HF_HUB_ETAG_TIMEOUT
        )
        hf_raise_for_status(answer)
        size = int(answer.headers.get("Content-Length", 0)) or None
        check_space(target.parent, size or 0)
        part = download(url, target, size=size, headers={}, name=target.name)
        refuse_page(part, url, target)
    _put(part, target, url, file_sha256(part), sha256 or "")


def _put(part: Path, target: Path, what: str, digest: str, expected: str) -> None:
    """Put a file that came in its place; delete it where its hash begins otherwise."""
    if not digest.startswith(expected):
        part.unlink()
        raise InputError(
            f"{what}: wrong bytes: expected the hash {expected}, got {digest}. What came was "
            "deleted; start again"
        )
    part.replace(target)


def fetch_drive(url: str, target: Path) -> None:
    """A file of Google Drive to `target`, by gdown. Raises Unreachable or InputError."""
    try:
        import gdown
    except ImportError:
        raise InputError(
            f"{target.name}: files on Google Drive need gdown: pip install 'rvos[drive]'. Or fetch "
            f"{url} with a browser and put it there as {target}"
        ) from None
    if _constants().HF_HUB_OFFLINE:
        raise Unreachable("HF_HUB_OFFLINE is set")
    target.parent.mkdir(parents=True, exist_ok=True)
    file_id = url.split("/d/")[1].split("/")[0]
    try:
        gdown.download(id=file_id, output=str(target), resume=True)
    except Exception as error:  # its own, and those of the library below it
        raise Unreachable(f"{url}: {' '.join(str(error).split())[:300]}") from None
    if not target.is_file():
        raise Unreachable(f"{url}: gdown brought no file")
    refuse_page(target, url, target)


def download(
    url: str, target: Path, *, size: int | None, headers: Mapping[str, str], name: str
) -> Path:
    """The bytes of `url` in `<target>.part`, going on from what a killed start has left there."""
    from huggingface_hub.file_download import http_get

    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as file:
        if size is not None and file.tell() > size:
            file.truncate(0)
            file.seek(0)
        http_get(
            url,
            file,
            resume_size=file.tell(),
            headers=dict(headers),
            expected_size=size,
            displayed_filename=name,
        )
    return part


def refuse_page(path: Path, url: str, target: Path) -> None:
    """Delete a web page that came as the file: a quota, a login, a proxy's. Raises Unreachable."""
    with path.open("rb") as file:
        is_page = file.read(512).lstrip()[:1] == b"<"
    if is_page:
        path.unlink()
        raise Unreachable(
            f"{url}: a web page came instead of the file (a quota, a login or a proxy). Open the "
            f"address with a browser, and put the file there as {target}"
        )


def already(target: Path) -> int:
    """Bytes that a fetch to `target` need not bring."""
    part = target.with_name(f"{target.name}.part")
    return next((path.stat().st_size for path in (target, part) if path.is_file()), 0)


def check_space(folder: Path, size: int) -> None:
    """Raise InputError unless `size` bytes fit on the disk of `folder`, which need not exist."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise InputError(
            f"{folder}: {in_bytes(size)} are needed, {in_bytes(free)} are free. Make room, or "
            "choose another place (HF_HOME for the hub's files, RVOS_WEIGHTS, RVOS_DATA)"
        )


def blob_of(path: Path, like: str) -> str:
    """A file's hash of the kind that `like` is: SHA-256, or git's SHA-1 with its header."""
    if len(like) == 64:
        return file_sha256(path)
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    digest.update(path.read_bytes())
    return digest.hexdigest()


def in_bytes(size: int | None) -> str:
    """A size as people read it."""
    if size is None:
        return "unknown"
    for unit, num_bytes in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= num_bytes:
            return f"{size / num_bytes:.3g} {unit}"
    return f"{size} bytes"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time fetches to `folder`; the others wait."""
    from huggingface_hub.utils import WeakFileLock

    lock = WeakFileLock(folder / ".rvos.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.__enter__()
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written: {error.strerror}. Choose a cache of your own: HF_HOME "
            "for the hub's files, RVOS_WEIGHTS for others"
        ) from None
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def _constants() -> Any:
    """Its settings, quick to import. Raises InputError without huggingface_hub."""
    try:
        import huggingface_hub.constants
    except ImportError:
        raise InputError("weights of the hub need huggingface_hub: make setup") from None
    return huggingface_hub.constants


@contextmanager
def explained(what: str, kind: RepoType) -> Iterator[None]:
    """Turn errors of the hub and the net into InputError."""
    if _constants().HF_HUB_OFFLINE:
        raise Unreachable("HF_HUB_OFFLINE is set")
    from huggingface_hub import errors

    page = f"{endpoint()}/{'datasets/' if kind == 'dataset' else ''}{what}"
    try:
        yield
    except errors.RevisionNotFoundError:
        raise InputError(f"{what}: no such revision on {page}") from None
    except errors.GatedRepoError as error:
        said = (
            f"its owners ask for your consent: accept the licence on {page}, then log in with "
            "`hf auth login`, or set HF_TOKEN"
        )
        if "review" in str(error):
            said = f"your request awaits a review by its owners; {page} says when it is over"
        raise InputError(f"{what}: {said}") from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{what}: nothing of that name on {endpoint()}, or it is private"
        ) from None
    except errors.HfHubHTTPError as error:
        raise InputError(f"{what}: {_refusal(error, page)}") from None
    except UnicodeEncodeError:  # of the headers: all else is quoted
        raise InputError(
            f"{what}: your token (HF_TOKEN, `hf auth login`) has letters that are not ASCII: copy "
            "it again"
        ) from None
    except OSError as error:
        if error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT):  # no fault of the net
            raise InputError(
                f"{what}: cannot be written to {error.filename or 'the disk'}: {error.strerror}. "
                "What came is kept; start again to go on"
            ) from None
        raise Unreachable(_in_a_line(error)) from None
    except ImportError as error:
        if "socksio" not in str(error):
            raise
        raise InputError(
            f"{what}: the proxy {_proxy()} speaks SOCKS, which needs: pip install 'httpx[socks]'"
        ) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore"):
            raise
        raise Unreachable(_in_a_line(error)) from None


def _refusal(error: Any, page: str) -> str:
    """What the hub's answer means, and what to do. Raises Unreachable for a fault of the hub."""
    status, url = error.response.status_code, urlsplit(str(error.response.url))
    host = f"{url.scheme}://{url.netloc}"
    said = error.server_message or _in_a_line(error)
    if status == 401:
        return (
            f"{host} refuses your token ({said}): log in again with `hf auth login`, or "
            "unset HF_TOKEN"
        )
    if status == 403:
        return (
            f"{host} does not give it to you ({said}): see {page} for whether your request "
            "is still under review and whether your token may read this repository"
        )
    if status == 429:
        return f"{host} asks you to wait ({said}): start again later"
    if status == 407:
        return f"the proxy {_proxy()} wants a name and password in its address (HTTPS_PROXY)"
    if status >= 500:
        raise Unreachable(f"it answers {status}: {said}")
    return f"{host} refuses it with {status}: {said}"


def _proxy() -> str:
    """The proxy in use, without a password; "" for none."""
    proxies = getproxies()  # "no" has the hosts that are reached without one
    address = next((proxies[kind] for kind in ("https", "all", "http") if kind in proxies), "")
    return re.sub(r"//[^@/]*@", "//", address)


def _in_a_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return f"{text}; by the proxy {_proxy()}" if _proxy() else text
