"""What is wrong with settings, collected: one error names all of it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from rvos.errors import InputError, SettingsError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a key of an object; key "": with the object; None: the text says where."""

    key: str | None
    text: str

    def at(self, path: str, title: str) -> str:
        if self.key is None:
            return self.text
        return f"{'.'.join(filter(None, (path, self.key))) if self.key else title}: {self.text}"


class WrongValues(SettingsError):
    """Wrong arguments of a class or function that does not know its place in conf/."""

    def __init__(self, wrong: Sequence[Problem], title: str):
        self.wrong = wrong
        super().__init__([problem.at("", title) for problem in wrong])

    def at(self, path: str, title: str, *, without: Collection[str] = ()) -> list[str]:
        """The problems with the place in front of the keys; `title` is that of the object."""
        return [
            p.at(path, title) for p in self.wrong if (p.key or "").partition(".")[0] not in without
        ]


def wrong(key: str, expected: str, got: Any) -> WrongValues:
    """What a class raises that finds one of its values wrong beside the others."""
    return WrongValues([Problem(key, f"expected {expected}, got {got!r}")], "")


class Checks:
    """Collects what is wrong with several settings, so that one error names all of it.

        with Checks() as check:
            rule = check(make_rule, "vote", window=window)
            page = check(Page, frames=frames)

    A call gives what its function returns, and None where that raises InputError. The block then
    ends with a SettingsError, which has the problems of all calls.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []

    def __enter__(self) -> "Checks":
        return self

    def __call__(self, make: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return make(*args, **kwargs)
        except InputError as error:
            self.problems += error.messages
        return cast(T, None)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self.problems:
            raise SettingsError(self.problems)


def all_checked(*makes: Callable[[], Any]) -> list[Any]:
    """What the calls return. Raises one SettingsError with the problems of all that fail."""
    with Checks() as check:
        return [check(make) for make in makes]
