"""The conversation about one expression: whether its target is there, which masklets it is.

Presence is asked apart from choice, without outlines in the pictures; "absent" needs a reason and
the consent of `agree` jurors. For the choice each juror accepts or rejects each masklet or is
uncertain. A masklet is taken or left when more than half of the jurors say so; the others are shown
again in the next round, in other frames. (Rounds as in AgentRVOS, arXiv 2603.23489.)
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from rvos.ask.calls import Reply
from rvos.ask.pictures import Gallery, frames_of_round
from rvos.ask.prompts import Prompts
from rvos.ask.replies import Choice, Misfit, Presence, read_choice, read_presence
from rvos.data.split import Expression
from rvos.errors import SettingsError
from rvos.settings import Count, checked

ATTEMPTS = 3  # a reply that cannot be read is asked for again twice
Verdict = TypeVar("Verdict", Presence, Choice)


@checked
class Jury:
    """Who is asked, and how long. A model may be named several times: it is then asked so often."""

    choice: tuple[str, ...]  # models that choose
    presence: tuple[str, ...]  # models that say whether the target is there
    agree: Count  # of them must call it absent
    rounds: Count  # of the choice, at most
    frames: Count  # pictures per question

    def __post_init__(self) -> None:
        if self.agree > len(self.presence):
            raise SettingsError(
                [f"agree: expected at most {len(self.presence)}, the jurors, got {self.agree}"]
            )


class Put(Protocol):
    """Sends a request of chat completions."""

    def __call__(self, request: Mapping[str, Any]) -> Reply: ...


@dataclass
class Exchange:
    """One question to one juror, and what came of it."""

    kind: str  # presence or choice
    round: int  # of the choice, from 1
    model: str
    numbers: list[int]  # of the masklets that are outlined and asked about
    pictures: list[dict[str, str]]  # {"label", "sha256"} of what the model saw
    calls: list[str] = field(default_factory=list)  # SHA-256 of each attempt
    replies: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # of the replies that could not be read
    verdict: dict[str, Any] | None = None  # None: no reply could be read
    tokens: int = 0


@dataclass
class Outcome:
    """What a conversation decided; `files` are the pictures, by SHA-256."""

    decision: dict[str, Any]  # as refine=given reads it
    exchanges: list[Exchange]
    files: dict[str, bytes]


@dataclass
class Conversation:
    """About one expression. `kept`: the run's own windows, which stay where nothing is chosen."""

    expression: Expression
    gallery: Gallery
    kept: list[dict[str, Any]]
    jury: Jury
    prompts: Prompts
    put: Put

    def __post_init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.files: dict[str, bytes] = {}

    def __call__(self) -> Outcome:
        if self._is_absent():
            decision: dict[str, Any] = {"present": False, "masklets": []}
        else:
            decision = {"present": True, "masklets": self._chosen()}
            if not decision["masklets"]:
                decision["windows"] = self.kept
        return Outcome(decision, self.exchanges, self.files)

    def _is_absent(self) -> bool:
        num_frames = len(self.gallery.video.frames)
        frames = frames_of_round([], num_frames, self.jury.frames)
        pictures = [self._picture(t, []) for t in frames]
        text = self.prompts.presence(self.expression.text, num_frames, len(frames))
        reasons = self.prompts.texts.reasons

        def read(reply: Reply) -> Presence:
            return read_presence(reply.text, whole=reply.whole, reasons=reasons)

        absent, to_ask = 0, len(self.jury.presence)
        for juror in range(to_ask):
            if absent >= self.jury.agree or absent + to_ask - juror < self.jury.agree:
                break  # the others cannot change it
            exchange = Exchange("presence", 1, self.jury.presence[juror], [], [])
            verdict = self._ask(exchange, self.jury.presence, juror, text, pictures, read)
            absent += verdict is not None and not verdict.present
        return absent >= self.jury.agree

    def _chosen(self) -> list[int]:
        tracks, num_frames = self.gallery.tracks, len(self.gallery.video.frames)
        open_, taken = list(range(len(tracks))), list[int]()
        shown: set[int] = set()
        zoom: set[int] = set()
        for round_ in range(1, self.jury.rounds + 1):
            if not open_:
                break
            seen = [tracks[i] for i in open_]
            frames = frames_of_round(seen, num_frames, self.jury.frames, shown=shown)
            shown |= set(frames)
            choices = self._round(round_, open_, frames, sorted(zoom & set(open_)))
            zoom = {i for choice in choices for i in choice.zoom}
            accepts = {i: sum(i in c.accepted for c in choices) for i in open_}
            rejects = {i: sum(i in c.rejected for c in choices) for i in open_}
            jurors = len(self.jury.choice)
            taken += [i for i in open_ if 2 * accepts[i] > jurors]
            open_ = [i for i in open_ if 2 * max(accepts[i], rejects[i]) <= jurors]
        return sorted(taken)

    def _round(
        self, round_: int, numbers: list[int], frames: list[int], zoom: list[int]
    ) -> list[Choice]:
        """What the jurors say whose replies can be read."""
        pictures = [self._picture(t, numbers) for t in frames]
        for number in zoom:
            t, data = self.gallery.enlarged(number)
            label = f"candidate {number} enlarged, frame {self.gallery.video.frames[t]}"
            pictures.append((label, data))
        text = self.prompts.choice(
            self.expression.text,
            len(self.gallery.video.frames),
            len(pictures),
            numbers=numbers,
            round_=round_,
            rounds=self.jury.rounds,
        )

        def read(reply: Reply) -> Choice:
            return read_choice(reply.text, whole=reply.whole, asked=numbers)

        models, choices = self.jury.choice, []
        for juror in range(len(models)):
            exchange = Exchange("choice", round_, models[juror], numbers, [])
            choices.append(self._ask(exchange, models, juror, text, pictures, read))
        return [choice for choice in choices if choice is not None]

    def _picture(self, t: int, numbers: list[int]) -> tuple[str, bytes]:
        return f"frame {self.gallery.video.frames[t]}", self.gallery.picture(t, numbers)

    def _ask(
        self,
        exchange: Exchange,
        models: Sequence[str],
        juror: int,
        text: str,
        pictures: Sequence[tuple[str, bytes]],
        read: Callable[[Reply], Verdict],
    ) -> Verdict | None:
        """A juror's verdict; None where none of its replies can be read."""
        for label, data in pictures:
            sha256 = hashlib.sha256(data).hexdigest()
            self.files[sha256] = data
            exchange.pictures.append({"label": label, "sha256": sha256})
        self.exchanges.append(exchange)
        messages = [
            {"role": "system", "content": self.prompts.texts.system},
            {"role": "user", "content": _content(pictures, text)},
        ]
        request: dict[str, Any] = {"model": models[juror], "messages": messages}
        if models.count(models[juror]) > 1:  # else all would have the first one's reply
            request["seed"] = juror
        for _ in range(ATTEMPTS):
            reply = self.put(request)
            exchange.calls.append(reply.call)
            exchange.replies.append(reply.text)
            exchange.tokens += reply.tokens
            try:
                verdict = read(reply)
            except Misfit as error:
                exchange.problems.append(str(error))
                request = self._asking_again(request, reply, str(error))
                continue
            exchange.verdict = {
                key: sorted(value) if isinstance(value, frozenset) else value
                for key, value in vars(verdict).items()
            }
            return verdict
        return None

    def _asking_again(self, request: dict[str, Any], reply: Reply, problem: str) -> dict[str, Any]:
        more = [
            {"role": "assistant", "content": reply.text},
            {"role": "user", "content": self.prompts.again(problem)},
        ]
        return request | {"messages": [*request["messages"], *more]}


def _content(pictures: Sequence[tuple[str, bytes]], text: str) -> list[dict[str, Any]]:
    """The pictures first: servers keep what equal beginnings of requests have in common."""
    content: list[dict[str, Any]] = []
    for label, data in pictures:
        url = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        content.append({"type": "text", "text": label})
        content.append({"type": "image_url", "image_url": {"url": url}})
    return [*content, {"type": "text", "text": text}]
