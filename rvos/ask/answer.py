"""The questions about a run's masklets, put to models; their answers as `refine=given` reads them.

    python -m rvos answer RUN --model NAME --server http://127.0.0.1:8000/v1
    python -m rvos answer RUN --models a,b,c --agree 2
    python eval.py ... refine=given refine.path=RUN/ask/answers.json

A plan of what goes where is printed before the first call. A start that was killed goes on where it
was: each answered call has its file in RUN/ask/calls.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from rvos import __version__
from rvos.ask.calls import Caller, Limits, Stopped
from rvos.ask.oracle import oracle_decisions
from rvos.ask.page import write_page
from rvos.ask.pictures import Gallery
from rvos.ask.prompts import Prompts
from rvos.ask.questions import Asked
from rvos.ask.rounds import Conversation, Jury, Outcome
from rvos.errors import InputError, list_problems
from rvos.masks import read_json, write_bytes, write_json
from rvos.settings import Count, Positive, Text, checked, make, preset

ANSWERS = "answers.json"


@checked
class Options:
    """Who is asked and how: the keys of conf/answers, and the options of the command."""

    model: Text | None  # names with commas between them; None: nobody is asked
    server: Text | None
    presence_models: Text | None
    agree: Count | None
    rounds: Count
    frames: Count
    width: Count  # pixels of a picture
    prompts: Text
    parallel: Count  # conversations at once
    timeout: Positive  # seconds until a call without an answer is sent again
    max_calls: Count | None
    max_tokens: Count | None
    max_minutes: Positive | None

    def parts(self, folder: Path) -> tuple[Jury, Prompts, Caller]:
        """Who is asked, what, and where; calls are kept in `folder`. Raises InputError."""
        assert self.model is not None
        presence = _names(self.presence_models or self.model)
        jury = Jury(
            choice=tuple(_names(self.model)),
            presence=tuple(presence),
            agree=len(presence) // 2 + 1 if self.agree is None else self.agree,
            rounds=self.rounds,
            frames=self.frames,
        )
        limits = Limits(self.max_calls, self.max_tokens, self.max_minutes)
        caller = Caller(self.server, folder / "calls", limits, self.timeout)
        return jury, Prompts.read(self.prompts), caller


@dataclass
class Answering:
    """Puts all questions of a run."""

    asked: Asked
    folder: Path  # RUN/ask
    jury: Jury
    prompts: Prompts
    caller: Caller
    options: Options

    @classmethod
    def of(cls, options: Options, asked: Asked, folder: Path) -> "Answering":
        """Raises InputError for a wrong jury, without prompts, a key or the package openai."""
        return cls(asked, folder, *options.parts(folder), options)

    def plan(self) -> str:
        """How many questions, pictures and tokens go where, at most."""
        texts, jury = self.prompts.texts, self.jury
        total = choosing = pixels = 0
        for video in self.asked.split.videos:
            for expressions, tracks in self.asked.groups(video):
                height, width = self._gallery(video, tracks).size
                pixels += height * width * len(expressions)
                total += len(expressions)
                choosing += len(expressions) * bool(tracks)
        each = jury.frames * pixels / max(total, 1) / texts.pixels_per_token
        lines = [f"{self.caller.address} will be sent questions about {total} expressions:"]
        for model in dict.fromkeys((*jury.presence, *jury.choice)):
            presence = total * jury.presence.count(model)
            choice = choosing * jury.choice.count(model)
            first, last = presence + choice, presence + choice * jury.rounds
            lines.append(
                f"  {model}: {presence} about presence, {choice} to {choice * jury.rounds} about "
                f"masklets; {first * jury.frames} to {last * jury.frames} pictures, about "
                f"{first * each / 1e6:.2g} to {last * each / 1e6:.2g} million tokens of pictures"
            )
        kept = sum(1 for _ in self.caller.folder.glob("*/*.json"))
        lines.append(f"  answered calls that are kept, and not sent again: {kept}")
        return "\n".join(lines)

    def __call__(self) -> dict[tuple[str, str], Outcome]:
        """All conversations. Raises InputError where a call fails or a limit is reached."""
        outcomes: dict[tuple[str, str], Outcome] = {}
        ready = BoundedSemaphore(2 * self.options.parallel)  # so that memory holds few pictures
        total = sum(len(video.expressions) for video in self.asked.split.videos)
        columns = (
            *(TextColumn("Answers"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()),
            TextColumn("{task.fields[tokens]:,} tokens"),
        )
        with (
            Progress(*columns, transient=True) as progress,
            ThreadPoolExecutor(self.options.parallel) as pool,
        ):
            bar = progress.add_task("", total=total, tokens=0)

            def answer(conversation: Conversation) -> None:
                try:
                    outcome = conversation()
                    self._write_pictures(outcome)
                    expression = conversation.expression
                    outcomes[expression.video, expression.expression_id] = outcome
                    progress.update(bar, advance=1, tokens=self.caller.tokens)
                except BaseException:
                    self.caller.stop()
                    raise
                finally:
                    ready.release()

            self._hold(pool, ready, answer)
        return outcomes

    def _hold(
        self,
        pool: ThreadPoolExecutor,
        ready: BoundedSemaphore,
        answer: Callable[[Conversation], None],
    ) -> None:
        """Hold all conversations in the pool; raises what ended one of them, after the others."""
        futures: list[Future[None]] = []
        try:
            for conversation in self._conversations():
                ready.acquire()
                futures = [future for future in futures if not future.done() or _failed(future)]
                if any(map(_failed, futures)):
                    break
                futures.append(pool.submit(answer, conversation))
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            self.caller.stop()
            pool.shutdown(cancel_futures=True)
        errors = [error for f in futures if not f.cancelled() and (error := f.exception())]
        if errors:
            raise next((error for error in errors if not isinstance(error, Stopped)), errors[0])

    def _conversations(self) -> Iterator[Conversation]:
        for video in self.asked.split.videos:
            for expressions, tracks in self.asked.groups(video):
                gallery = self._gallery(video, tracks)
                for e in expressions:
                    windows = self.asked.windows(e)
                    yield Conversation(e, gallery, windows, self.jury, self.prompts, self.caller)

    def _gallery(self, video: Any, tracks: Any) -> Gallery:
        return Gallery(self.asked.split, video, tracks, width=self.options.width, need_images=True)

    def _write_pictures(self, outcome: Outcome) -> None:
        """What the models saw, for the page; the conversation lets go of it."""
        for sha256, data in outcome.files.items():
            path = self.folder / "sent" / f"{sha256}.jpg"
            if not path.is_file():
                write_bytes(path, data)
        outcome.files.clear()


def _failed(future: Future[None]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is not None


def write_answers(answering: Answering, path: Path) -> dict[str, Any]:
    """Put the questions; write the answers and, beside them, the conversations. Returns these."""
    outcomes = answering()
    decisions: dict[str, dict[str, Any]] = {}
    exchanges: dict[str, dict[str, Any]] = {}
    for video in answering.asked.split.videos:
        for e in video.expressions:
            outcome = outcomes[video.name, e.expression_id]
            decisions.setdefault(video.name, {})[e.expression_id] = outcome.decision
            told = [asdict(exchange) for exchange in outcome.exchanges]
            exchanges.setdefault(video.name, {})[e.expression_id] = told
    record = {
        "rvos": __version__,
        "jury": asdict(answering.jury),  # type: ignore[call-overload]
        "options": asdict(answering.options),  # type: ignore[call-overload]
        "server": answering.caller.address,
        "prompts": {
            "name": answering.prompts.name,
            "version": answering.prompts.texts.version,
            "sha256": answering.prompts.sha256,
        },
        "calls": str(answering.caller.folder),
        "expressions": exchanges,
    }
    write_json(path.with_suffix(".conversations.json"), record)
    write_json(path, decisions)
    return record


def unread(record: dict[str, Any]) -> list[str]:
    """The questions to which no reply could be read, a line each."""
    return [
        f"video {video}, expression {key}: {e['model']}, {e['kind']}, round {e['round']}: "
        f"{e['problems'][-1]}"
        for video, of_video in record["expressions"].items()
        for key, told in of_video.items()
        for e in told
        if e["verdict"] is None
    ]


# ------------------------------------------------------------------------------- command


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos answer`: put the questions, or write the oracle's choice or the page."""
    options = _parser().parse_args(list(arguments))
    asked, folder = Asked.of(options.run), options.run / "ask"
    if options.oracle:
        if options.model:
            raise InputError("--oracle asks no model; leave --model out, or --oracle")
        path = options.out or folder / "oracle.json"
        write_json(path, oracle_decisions(options.run, asked))
        print(f"the oracle's choice: refine=given refine.path={path}")
        return 0
    if not options.model:
        raise InputError("python -m rvos answer RUN: expected --model NAME, --models or --oracle")
    keys = {key: getattr(options, key) for key in preset("answers", "default")}
    answering = Answering.of(make(Options, "answer", keys), asked, folder)
    if options.plan:
        print(answering.plan())
    else:
        put_questions(answering, options.out or folder / ANSWERS, options.run)
    return 0


def put_questions(answering: Answering, path: Path, run: Path) -> None:
    """Print the plan; write answers, conversations and their page; print what came of it.

    Raises InputError before the first call where the answers could not be written to `path`.
    """
    if path.is_dir() or path.suffix == ".html":
        what = "a folder" if path.is_dir() else "where the page of the answers goes"
        raise InputError(f"{path}: is {what}; --out expects a file such as {ANSWERS}")
    print(answering.plan(), flush=True)
    record, caller = write_answers(answering, path), answering.caller
    if problems := unread(record):
        print(list_problems("no reply could be read; counted as uncertain", problems))
    print(
        f"{caller.sent} calls with {caller.tokens:,} tokens; kept answers had "
        f"{caller.tokens_kept:,} tokens"
    )
    page = write_page(run, answering.asked, read_json(path), record, path.with_suffix(".html"))
    print(f"answers: refine=given refine.path={path}\npage: {page}")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"--models: expected names with commas between them, got {text!r}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rvos answer",
        description="Put the questions about a run's masklets to models on a server that speaks "
        "OpenAI's protocol, and write the answers that refine=given reads.",
    )
    add = parser.add_argument
    add("run", type=Path, help="folder of a run of eval.py")
    add("--model", "--models", help="a model, or several with commas: a jury")
    add("--presence-models", help="those that say whether the target is there (the same)")
    add("--agree", type=int, help="how many must call it absent (more than half)")
    add("--rounds", type=int, help="rounds of the choice, at most (3)")
    add("--frames", type=int, help="pictures per question (16)")
    add("--width", type=int, help="pixels of a picture (640)")
    add("--server", help="URL, such as http://127.0.0.1:8000/v1; OPENAI_API_KEY has the key")
    add("--prompts", help="a file of conf/ask, or a path (default)")
    add("--parallel", type=int, help="conversations at once (4)")
    add("--timeout", type=float, help="seconds until a call is sent again (120)")
    add("--max-calls", type=int, help="calls of this start, at most")
    add("--max-tokens", type=int, help="tokens of this start after which none is sent any more")
    add("--max-minutes", type=float, help="minutes after which no call is sent any more")
    add("--plan", action="store_true", help="print what would be sent, and send nothing")
    add("--oracle", action="store_true", help="write the choice of highest J, from ground truth")
    add("--out", type=Path, help="the file of answers (RUN/ask/answers.json)")
    parser.set_defaults(**preset("answers", "default"))
    return parser
