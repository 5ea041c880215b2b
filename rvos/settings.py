"""How a setting is declared and checked; the presets of conf/."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from omegaconf import OmegaConf

from rvos.errors import InputError, SettingsError

P = ParamSpec("P")
T = TypeVar("T")

CONFIG_DIR = Path(__file__).resolve().parents[1] / "conf"


def shipped(path: str) -> str:
    """A file that comes with the repository, found from any working folder."""
    return path if Path(path).exists() else str(CONFIG_DIR.parent / path)


OmegaConf.register_new_resolver("shipped", shipped, replace=True)  # ${shipped:FILE} in conf/


# ------------------------------------------------------------------------------------ settings


@dataclass(frozen=True)
class Expected:
    """What a setting may be: in words, and as a test."""

    text: str
    accepts: Callable[[Any], bool]


def whole(least: int, most: int | None = None) -> Expected:
    """A whole number of at least `least` and at most `most`."""
    limit = f">= {least}" if most is None else f"from {least} to {most}"
    return Expected(
        f"a whole number {limit}",
        lambda value: (
            isinstance(value, int)
            and not isinstance(value, bool)
            and value >= least
            and (most is None or value <= most)
        ),
    )


def real(
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> Expected:
    """A number (never NaN) inside the given bounds."""
    low = f"{least:g} <= " if least is not None else f"{above:g} < " if above is not None else ""
    high = f" <= {most:g}" if most is not None else f" < {below:g}" if below is not None else ""
    return Expected(
        f"a number with {low}value{high}" if low or high else "a number",
        lambda value: (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and value == value
            and (least is None or value >= least)
            and (above is None or value > above)
            and (most is None or value <= most)
            and (below is None or value < below)
        ),
    )


def one_of(*choices: Any) -> Expected:
    """One of the given values."""
    text = " or ".join(str(choice) for choice in choices)
    return Expected(text, lambda value: any(value == c and type(value) is type(c) for c in choices))


def flag() -> Expected:
    """True or False."""
    return Expected("true or false", lambda value: isinstance(value, bool))


def words() -> Expected:
    """A text that is not empty."""
    return Expected("a text", lambda value: isinstance(value, str) and bool(value.strip()))


def optional(expected: Expected) -> Expected:
    """The same, or null."""
    return Expected(
        f"{expected.text}, or null", lambda value: value is None or expected.accepts(value)
    )


def list_of(expected: Expected, *, length: int | None = None, least: int = 0) -> Expected:
    """A list whose items are all as expected; of `length` items, or of at least `least`."""
    count = f" of {length}" if length is not None else f" of at least {least}" if least else ""

    def accepts(value: Any) -> bool:
        if isinstance(value, str) or not isinstance(value, Sequence):
            return False
        fits = len(value) >= least if length is None else len(value) == length
        return fits and all(map(expected.accepts, value))

    return Expected(f"a list{count}, each {expected.text}", accepts)


def least_and_most(expected: Expected) -> Expected:
    """Two values as expected, of which the second is not less than the first."""
    pair = list_of(expected, length=2)
    return Expected(
        f"least and most, each {expected.text}",
        lambda value: pair.accepts(value) and value[0] <= value[1],
    )


def require(settings: object, group: str, /, **expected: Expected) -> None:
    """Check attributes of `settings`, the keys of a group of conf/ ("": keys of no group).

    Raises SettingsError naming for every wrong one its key, its value and what was expected.
    """
    found = {key: getattr(settings, key) for key in expected}
    problems = [
        f"{group}.{key}".lstrip(".") + f": expected {expected[key].text}, got {value!r}"
        for key, value in found.items()
        if not expected[key].accepts(value)
    ]
    if problems:
        raise SettingsError(problems)


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
        except SettingsError as error:
            self.problems += error.problems
        except InputError as error:
            self.problems.append(str(error))
        return cast(T, None)

    def make(self, made: Any, keys: Mapping[str, Any], where: str) -> Any:
        """A dataclass of these keys; `where` begins what is said of unknown and missing ones."""
        known = {field.name: field for field in fields(made) if field.init}
        needed = {key for key, f in known.items() if f.default is f.default_factory is MISSING}
        unknown, missing = keys.keys() - known.keys(), needed - keys.keys()
        for what, names in (("no such key", unknown), ("key missing", missing)):
            if names:
                self.problems.append(f"{where}: {what}: {', '.join(sorted(names))}")
        if missing:
            return None
        return self(made, **{key: value for key, value in keys.items() if key in known})

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self.problems:
            raise SettingsError(self.problems)


def all_checked(*makes: Callable[[], Any]) -> list[Any]:
    """What the calls return. Raises one SettingsError with the problems of all that fail."""
    with Checks() as check:
        return [check(make) for make in makes]


def named(key: str, target: Any) -> Any:
    """The function or class of a dotted name, which stands under `key`. Raises InputError."""
    if not isinstance(target, str) or not all(target.rpartition(".")):
        raise InputError(
            f"{key}: expected the dotted name of a function or class (_target_), got {target!r}"
        )
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InputError(f"{key}: cannot import {target}: {error}") from None
    if not callable(found):
        raise InputError(f"{key}: {target} is neither a function nor a class")
    return found


def preset(group: str, name: str, *overrides: str) -> dict[str, Any]:
    """The settings of conf/<group>/<name>.yaml as a plain dict, with `overrides` (key=value).

        preset("coarse", "mutr", "clip_length=10")

    Interpolations are resolved with the defaults of conf/. Inside an entry point the files of
    --config-dir count too. Raises InputError for a preset or a key that is not there.
    """
    from hydra.core.global_hydra import GlobalHydra

    hydra = GlobalHydra.instance()
    places = str(hydra.config_loader().get_search_path()) if hydra.is_initialized() else None
    settings: Any = OmegaConf.to_container(_composed(group, name, overrides, places), resolve=True)
    return settings


@cache
def _composed(group: str, name: str, overrides: tuple[str, ...], places: str | None) -> Any:
    """The node that `preset` resolves; a page or an ablation asks for the same one many times.

    `places` is where Hydra looks for files; None: it has not been told, and looks into conf/. A
    process reads the files once.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException, MissingConfigException

    told = places is not None
    add = "+" if group in ("loss", "optim", "callbacks") else ""  # those of train.yaml alone
    try:
        with nullcontext() if told else initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = compose(
                "eval",
                [f"{add}{group}={name}", *(f"{group}.{o}" for o in overrides), "output_dir=."],
            )
            return cfg[group]
    except MissingConfigException as error:
        found = ", ".join(error.options or ())
        raise InputError(f"{group}={name}: no such preset; there are: {found}") from None
    except HydraException as error:
        raise InputError(f"{group}={name}: {error}") from None
