"""What a user did wrong, said in one message: the family of errors, without imports of ours."""

from collections.abc import Sequence


class InputError(ValueError):
    """A user's mistake: the entry points print the message and exit with status 1, no traceback.

    The message names the file, key, frame or value, what was expected, and what to do.
    """


class SettingsError(InputError):
    """Settings that make no sense; `problems` has one line for each."""

    def __init__(self, problems: Sequence[str]):
        self.problems = found = tuple(dict.fromkeys(problems))  # each once
        one = len(found) == 1
        super().__init__(
            found[0] if one else list_problems("Wrong settings", found, shown=len(found))
        )

    def __reduce__(self) -> tuple[type["SettingsError"], tuple[Sequence[str]]]:
        return SettingsError, (self.problems,)


def list_problems(title: str, problems: Sequence[str], *, shown: int = 10) -> str:
    """One message for all problems of a kind: the count, the first `shown`, how many more."""
    shown_ones = [problem.replace("\n", "\n  ") for problem in problems[:shown]]
    lines = [f"{title} ({len(problems)}):", *(f"  {problem}" for problem in shown_ones)]
    if len(problems) > shown:
        lines.append(f"  ... and {len(problems) - shown} more")
    return "\n".join(lines)
