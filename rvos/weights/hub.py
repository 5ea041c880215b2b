"""Files from the net: whole, resumed after a kill, checked, with free disk asked before.

What a repository on Hugging Face's hub holds, and one way to fetch a file from anywhere. The
progress bar (size, rate, remaining time) is huggingface_hub's.
"""

import errno
import hashlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from http.client import responses
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from rvos.errors import InputError
from rvos.masks import file_sha256
from rvos.masks.files import naming
from rvos.weights.failures import cause, in_a_line, proxy, usable_proxy

for _client in ("httpx", "httpx2"):
    logging.getLogger(_client).setLevel(logging.WARNING)  # it logs every request
RepoType = Literal["model", "dataset"]
OWN_CACHE = (
    "Choose a cache of your own: HF_HOME for the hub's files, RVOS_WEIGHTS for others; or ask "
    "whose it is to open it to you"
)


class Unreachable(InputError):
    """Whoever has the files does not answer; the message says why, and what may help."""


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
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{repo}: what answers at {endpoint()} is not the hub but some other page: the login "
            "of a network, a proxy, or a wrong HF_ENDPOINT. Open the address with a browser"
        ) from None
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
    with explained(url, None):
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
    file_id = url.split("/d/")[1].split("/")[0]
    try:
        with explained(url, None), naming(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            gdown.download(id=file_id, output=str(target), resume=True)
    except InputError:
        raise
    except Exception as error:  # its own: a quota, a file that is not public
        raise InputError(f"{url}: {in_a_line(error, 300)}. {_by_hand(target)}") from None
    if not target.is_file():
        raise InputError(f"{url}: gdown brought no file. {_by_hand(target)}")
    refuse_page(target, url, target)


def download(
    url: str, target: Path, *, size: int | None, headers: Mapping[str, str], name: str
) -> Path:
    """The bytes of `url` in `<target>.part`, going on from what a killed start has left there."""
    from huggingface_hub.file_download import http_get

    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with naming(part), part.open("ab") as file:
        if size is not None and file.tell() > size:
            file.truncate(0)
            file.seek(0)
        if file.tell() != size:
            http_get(
                url,
                file,
                resume_size=file.tell(),
                headers=dict(headers),
                displayed_filename=name,
            )
        came = file.tell()
    if size is not None and came != size:
        refuse_page(part, url, target, begins=(b"<",))
        raise InputError(f"{url}: {came} of {size} bytes came; start again to go on")
    return part


def refuse_page(
    path: Path, url: str, target: Path, *, begins: Sequence[bytes] = (b"<", b"{", b"")
) -> None:
    """Delete a page or a message that came as the file. Raises InputError.

    `begins`: how files begin that are no weights.
    """
    with path.open("rb") as file:
        begin = file.read(512).lstrip()[:1]
    if begin in begins:
        path.unlink()
        what = {b"": "nothing", b"<": "a web page"}.get(begin, "a message")
        raise InputError(
            f"{url}: {what} came instead of the file (a quota, a login or a proxy). "
            + _by_hand(target)
        )


def _by_hand(target: Path) -> str:
    return f"Open the address with a browser, and put the file there as {target}"


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
            f"{error.filename or folder}: cannot be written: {error.strerror}. {OWN_CACHE}"
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
def explained(what: str, kind: RepoType | None) -> Iterator[None]:
    """Turn errors of the hub and the net into InputError; `kind` None: `what` is an address."""
    unreachable = f"{endpoint() if kind else what} cannot be reached"
    if _constants().HF_HUB_OFFLINE:
        raise Unreachable(f"{unreachable} (HF_HUB_OFFLINE is set; unset it to fetch)")
    from huggingface_hub import errors
    from huggingface_hub.utils import get_session

    page = f"{endpoint()}/{'datasets/' if kind == 'dataset' else ''}{what}" if kind else what
    try:
        with usable_proxy(what):
            get_session()  # which reads the proxies
        yield
    except InputError:
        raise
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
            f"{what}: nothing of that name on {endpoint()}, or it is private: then log in with "
            "`hf auth login`, or set HF_TOKEN"
        ) from None
    except UnicodeEncodeError:  # of the headers: all else is quoted
        raise InputError(
            f"{what}: your token (HF_TOKEN, `hf auth login`) has letters that are not ASCII: copy "
            "it again"
        ) from None
    except (errors.HfHubHTTPError, OSError) as error:  # of a server, the disk, the net
        if error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{what}: cannot be written to {error.filename or 'the disk'}: {error.strerror}. "
                "What came is kept; start again to go on"
            ) from None
        if getattr(error, "response", None) is not None:
            raise InputError(f"{what}: {_refusal(error, page, by_hub=kind is not None)}") from None
        raise Unreachable(f"{unreachable} ({cause(error)})") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore"):
            raise
        raise Unreachable(f"{unreachable} ({cause(error)})") from None


def _refusal(error: Any, page: str, *, by_hub: bool) -> str:
    """What a server's answer means, and what to do."""
    status, url = error.response.status_code, urlsplit(str(error.response.url))
    host = f"{url.scheme}://{url.netloc}"
    message = getattr(error, "server_message", None) or responses.get(status, "no reason given")
    said = f"{status}: {message}"
    if status in (401, 403) and not by_hub:
        return f"{host} does not give it to you ({said}): open {page} with a browser"
    if status == 401:
        from huggingface_hub import get_token

        if get_token() is None:
            return f"{host} wants a token ({said}): log in with `hf auth login`, or set HF_TOKEN"
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
        return f"the proxy {proxy()} wants a name and password in its address (HTTPS_PROXY)"
    if status >= 500:
        return f"{host} answers {said}. The fault is on its side: start again later"
    return f"{host} refuses it with {said}"
