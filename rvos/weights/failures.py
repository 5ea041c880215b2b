"""Why a request failed and what helps, as far as the libraries of a client tell.

The hub, other servers of files, and servers of models fail alike: no such host, a proxy, a
certificate, a limit of time.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import getproxies

from rvos.errors import InputError

_REMEDIES = {  # of what a library says of a connection that failed, in lower case
    "timed out": "the limits: HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT, --timeout of answers",
    "certificate bundle": "REQUESTS_CA_BUNDLE, or CURL_CA_BUNDLE, names no file",
    "certificate": "SSL_CERT_FILE names the certificates to trust, such as that of your proxy",
    "name or service": "no such host, or no network",
    "name resolution": "no such host, or no network",
    "missing an 'http": "an address begins with http: HF_ENDPOINT, HTTPS_PROXY, --server",
    "407 proxy": "HTTPS_PROXY takes a name and password: http://NAME:PASSWORD@HOST:PORT",
}


def cause(error: Any) -> str:
    """Why there is no answer: the host, what the library says, the proxy, and what may help."""
    said = re.sub(r"^\[Errno -?\d+\] ", "", in_a_line(error))
    remedies = [remedy for part, remedy in _REMEDIES.items() if part in said.lower()]
    by = [f"by the proxy {proxy()}"] if proxy() else []
    url = getattr(getattr(error, "_request", None), "url", None)
    host = getattr(url, "host", "")  # not always that of the hub
    return "; ".join([f"{host}: {said}" if host else said, *by, *remedies[:1]])


def proxy() -> str:
    """The proxy in use, without a password; "" for none."""
    addresses = getproxies()  # NO_PROXY, too
    address = next((addresses[kind] for kind in ("https", "all", "http") if kind in addresses), "")
    return re.sub(r"//[^@/]*@", "//", address)


def in_a_line(error: Exception, most: int = 200) -> str:
    """What an error says, in one line of at most so many characters, or what it is called."""
    return " ".join(str(error).split())[:most] or type(error).__name__


@contextmanager
def usable_proxy(what: str) -> Iterator[None]:
    """Raise InputError for a proxy, or certificates, that the client cannot use.

    `what`: who needs the network.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # an ImportError, a ValueError, or one of the library's own
        said = in_a_line(error)
        certificates = os.environ.get("SSL_CERT_FILE")
        if certificates and isinstance(error, FileNotFoundError):
            raise InputError(f"{what}: SSL_CERT_FILE={certificates} names no file") from None
        if not proxy() or not re.search("proxy|Invalid port|URL", said):
            raise
        needs = "speaks SOCKS, which needs: pip install 'httpx[socks]'"
        wrong = needs if "socksio" in said else f"cannot be used: {said}"
        raise InputError(f"{what}: the proxy {proxy()} {wrong}") from None
