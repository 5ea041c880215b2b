"""What a user did wrong, said in one message: the family of errors, without imports of ours."""

import errno
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class InputError(ValueError):
    """A user's mistake: the entry points print the message and exit with status 1, no traceback.

    The message names the file, key, frame or value, what was expected, and what to do.
    """

    def __init__(self, message: str = ""):
        super().__init__(message)
        self.messages: tuple[str, ...] = (message,)  # several: found together


class FileError(InputError):
    """A file or folder that is missing, unreadable or not of the expected form."""


class MaskError(InputError):
    """A mask that is not a valid COCO compressed RLE; the message says what is wrong with it."""


class SettingsError(InputError):
    """Settings that make no sense; `problems` has one line for each."""

    def __init__(self, problems: Sequence[str]):
        each = tuple(dict.fromkeys(problems))
        all_of_them = list_problems("Wrong settings", each, shown=len(each))
        super().__init__(each[0] if len(each) == 1 else all_of_them)
        self.problems = self.messages = each

    def __reduce__(self) -> tuple[type["SettingsError"], tuple[Sequence[str]]]:
        return SettingsError, (self.problems,)


NO_TEXT = "it cannot be written as UTF-8; rename it, or write it anew" + (
    # with LC_ALL=C PYTHONUTF8=0 all names seem to be none
    "" if sys.getfilesystemencoding() == "utf-8" else ", or set PYTHONUTF8=1"
)


def is_text(text: str) -> bool:
    """Whether a text is of whole characters: halves of one, and bytes of a name, are none."""
    return text.isascii() or not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def check_texts(*texts: str) -> None:
    """Raise InputError for the first that no file of results could hold."""
    for text in texts:
        if not is_text(text):
            raise InputError(f"{text!r}: {NO_TEXT}")


@contextmanager
def one_message() -> Iterator[None]:
    """Every program and command runs in it: a user's mistake ends in one message on stderr.

    Exits with status 1, without a traceback; with 130 after Ctrl-C, and tells what fails while it
    stops. A path that the system refuses is such a mistake too: a user's own source opens files
    with `open`. What a terminal cannot show is escaped, and names that could not be written into
    any result are refused.
    """
    # Also torchmetrics imports it; at the first start it tells of its fonts and folders.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    logging.getLogger("torch").setLevel(logging.WARNING)  # if its import is stopped
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="backslashreplace")
    try:
        ours = (value for name, value in os.environ.items() if name.startswith("RVOS_"))
        check_texts(*sys.argv[1:], os.getcwd(), *ours)
        yield
    except (Exception, KeyboardInterrupt) as error:
        message, stopped = "", _ctrl_c_in(error)
        if isinstance(error, InputError):
            message = str(error)
        elif isinstance(error, OSError) and error.filename is not None:
            message = f"{error.filename}: {error.strerror}"
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                message += ". What is finished stays valid; start again to go on"
        if stopped is not None:
            todo = str(stopped) or "The same command makes what is missing."
            amid = "" if message or error is stopped else f" ({type(error).__name__}: {error})"
            print(f"\nStopped by Ctrl-C. {todo}{amid}", file=sys.stderr)
        elif not message:
            raise
    else:
        return
    if message:
        print(f"error: {message}", file=sys.stderr)
    sys.exit(1 if stopped is None else 130)


def _ctrl_c_in(error: BaseException | None) -> KeyboardInterrupt | None:
    """Also where a library, OmegaConf for one, made another error of it on the way."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def list_problems(title: str, problems: Sequence[str], *, shown: int = 10) -> str:
    """One message for all problems of a kind: the count, the first `shown`, how many more."""
    lines = [f"{title} ({len(problems)}):"]
    lines += ["  " + problem.replace("\n", "\n  ") for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"  ... and {len(problems) - shown} more")
    return "\n".join(lines).encode(errors="backslashreplace").decode()  # names may be no UTF-8


# Modules of the extra `models` of pyproject.toml that its core does not have.
MODELS = ("einops", "psutil", "pytorch_lightning", "timm", "torch", "torchvision", "transformers")


@contextmanager
def needing_models() -> Iterator[None]:
    """A package that only networks need, and that is not installed, becomes an InputError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in MODELS:
            raise
        raise InputError(
            f"this needs {error.name}, which is not installed: pip install 'rvos[models]'"
        ) from None
