"""Referring video object segmentation: coarse masks, masklets, windowed vote, MeViS scores."""

from collections.abc import Sequence

__version__ = "0.1.0"


class InputError(ValueError):
    """A user's mistake: the entry points print the message and exit with status 1, no traceback.

    The message names the file, key, frame or value, what was expected, and what to do.
    """


def list_problems(title: str, problems: Sequence[str], *, shown: int = 10) -> str:
    """One message for all problems of a kind: the count, the first `shown`, how many more."""
    lines = [f"{title} ({len(problems)}):", *(f"  {problem}" for problem in problems[:shown])]
    if len(problems) > shown:
        lines.append(f"  ... and {len(problems) - shown} more")
    return "\n".join(lines)
