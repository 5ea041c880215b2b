"""Calls of models on a server that speaks OpenAI's protocol. A call that was answered is kept.

A call is known by the SHA-256 of all that is sent, pictures included; its file is written before
the answer is used. The API key is read by the `openai` package and stands in no file.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rvos.errors import InputError
from rvos.masks import read_json, write_json
from rvos.masks.files import parse_json
from rvos.stages.run_folder import as_written, reading
from rvos.weights.failures import cause, usable_proxy

WAITS = 8  # how often a call is sent again after 429, 5xx, a lost connection or no answer in time


class LimitReached(InputError):
    """A limit of the user's is reached; what was answered is kept."""


class Stopped(LimitReached):
    """Another conversation failed, so that this one sends nothing more."""


@dataclass(frozen=True)
class Limits:
    """Of one start; None: no limit."""

    calls: int | None = None
    tokens: int | None = None  # of questions and replies, as the server counts them
    minutes: float | None = None


@dataclass(frozen=True)
class Reply:
    """What a model said; `whole`: it ended by itself. `call` is the SHA-256 of what was sent."""

    text: str
    whole: bool
    tokens: int
    call: str


@dataclass(frozen=True)
class _Kept:
    """What is read of the file of an answered call; there is more."""

    text: str
    whole: bool
    tokens: int


_KEPT = TypeAdapter(_Kept)


@dataclass
class Caller:
    """Puts questions; several threads may do so at the same time.

    server: its URL, None is that of the `openai` package. folder: of the answered calls.
    timeout: seconds after which a call without an answer is sent again.
    """

    server: str | None
    folder: Path
    limits: Limits = field(default_factory=Limits)
    timeout: float = 120.0
    sent: int = 0  # calls of this start
    tokens: int = 0  # of this start
    tokens_kept: int = 0  # of calls that were answered before

    def __post_init__(self) -> None:
        try:
            from openai import OpenAI
        except ImportError:
            raise InputError(
                "asking models needs the package openai: pip install 'rvos[ask]'"
            ) from None
        key = os.environ.get("OPENAI_API_KEY")
        if not key and not self.server and not os.environ.get("OPENAI_BASE_URL"):
            raise InputError(
                "expected --server URL, or OPENAI_API_KEY in the environment for a paid server"
            )
        if key and not (key.isascii() and key.isprintable()):
            raise InputError("OPENAI_API_KEY: expected one line of ASCII letters; copy it again")
        with usable_proxy("the server of the models"):
            self._client = OpenAI(
                # A server of one's own asks for none, and the package refuses to go without.
                api_key=key or "none",
                base_url=self.server,
                timeout=self.timeout,
                max_retries=WAITS,
            )
        self._started = time.monotonic()
        self._lock, self._locks = threading.Lock(), dict[str, threading.Lock]()
        self._stopped = self._understood = False  # understood: an answer was of the protocol

    @property
    def address(self) -> str:
        """Where the questions go."""
        return str(self._client.base_url)

    def __call__(self, request: Mapping[str, Any]) -> Reply:
        """The reply to a request of chat completions, kept or new. Raises InputError."""
        text = json.dumps(request, sort_keys=True)
        call = hashlib.sha256(text.encode()).hexdigest()
        path = self.path(call)
        with self._lock:
            own = self._locks.setdefault(call, threading.Lock())
        with own:  # equal questions wait for the first one's answer
            if path.is_file():
                with reading(path, "delete it, and the question is put again"):
                    kept = read_json(path)
                    as_written(_KEPT, kept)
                with self._lock:
                    self.tokens_kept += kept["tokens"]
                    self._understood |= kept.get("server") == self.address
            else:
                kept = self._send(request)
                write_json(path, kept)
        return Reply(kept["text"], kept["whole"], kept["tokens"], call)

    def path(self, call: str) -> Path:
        """The file of an answered call."""
        return self.folder / call[:2] / f"{call}.json"

    def stop(self) -> None:
        """Let no further call start."""
        self._stopped = True

    def _send(self, request: Mapping[str, Any]) -> dict[str, Any]:
        import openai

        with self._lock:
            self._check_limits()
            self.sent += 1
        began = time.monotonic()
        try:
            response = self._client.chat.completions.with_raw_response.create(**request)
        except openai.APIStatusError as error:
            because = f"{error.message}{_remedy(error)}"
            raise InputError(self._failed(request, because)) from None
        except openai.APIConnectionError as error:  # a timeout too
            because = f"no answer: {cause(error.__cause__ or error)}"
            raise InputError(self._failed(request, because)) from None
        kept = _kept(response.http_response.content)
        if not kept.pop("is_message") and not self._understood:
            because = "it answers, but not in OpenAI's protocol: does its URL end in /v1?"
            raise InputError(self._failed(request, because))
        self._understood = True
        with self._lock:
            self.tokens += kept["tokens"]
        seconds = round(time.monotonic() - began, 3)
        return {"model": request["model"], "server": self.address, "seconds": seconds, **kept}

    def _failed(self, request: Mapping[str, Any], because: str) -> str:
        key = os.environ.get("OPENAI_API_KEY")
        text = f"{self.address}: model {request['model']}: {because}"
        text = text.replace(key, "***") if key else text
        return f"{text:.600}; what was answered is kept: the same command goes on from there"

    def _check_limits(self) -> None:
        if self._stopped:
            raise Stopped("another conversation failed")
        limits, minutes = self.limits, (time.monotonic() - self._started) / 60
        spent = {
            "--max-calls": (limits.calls, self.sent),
            "--max-tokens": (limits.tokens, self.tokens),
            "--max-minutes": (limits.minutes, minutes),
        }
        for name, (limit, used) in spent.items():
            if limit is not None and used >= limit:
                raise LimitReached(
                    f"{name} {limit}: reached after {self.sent} calls with {self.tokens} tokens; "
                    "what was answered is kept: the same command goes on from there"
                )


def _kept(body: bytes) -> dict[str, Any]:
    """What is kept of a server's answer; one without a message counts as an empty reply.

    `is_message` says whether it had one: a server's first answer must.
    """
    try:
        answer = parse_json(body)
        choice = answer["choices"][0]
        text, whole = choice["message"]["content"], choice.get("finish_reason") != "length"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return {"text": "", "whole": True, "tokens": 0, "usage": None, "is_message": False}
    usage = answer.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return {
        # A lone surrogate, which JSON can hold, is no text that a file can.
        "text": text.encode(errors="replace").decode() if isinstance(text, str) else "",
        "whole": whole,
        "tokens": tokens if isinstance(tokens, int) and tokens > 0 else 0,
        "usage": usage if isinstance(tokens, int) else None,
        "is_message": True,
    }


def _remedy(error: Any) -> str:
    """What helps against an answer that is an error; "" where nobody knows."""
    if "context" in error.message or error.status_code == 413:
        return " (smaller --frames and --width make shorter questions)"
    remedies = {
        401: "OPENAI_API_KEY is the key that is sent",
        403: "OPENAI_API_KEY is the key that is sent",
        404: "is --model a name that the server knows, and does --server end in /v1?",
        429: "it asks you to wait: start again later, or with a smaller --parallel",
    }
    remedy = remedies.get(error.status_code)
    return f" ({remedy})" if remedy else ""
