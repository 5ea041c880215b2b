"""How a setting is declared and checked; the presets of conf/.

    @checked
    class Vote:
        window: Count
        tau: Part

    Vote(window=0, tau=2.0)                             # window: expected a whole number >= 1, ...
    make(Vote, "refine", {"window": 0, "tau": 2.0})     # refine.window: expected a whole number ...

A class does not know its place in conf/; `build` and `make`, which do, put it before the key. Each
raises one SettingsError that has all problems, those of nested objects too.
"""

import functools
import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, cast, dataclass_transform, overload

import pydantic
import pydantic.dataclasses
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WrapValidator,
)
from pydantic.json_schema import GenerateJsonSchema

from rvos import CONFIG_DIR
from rvos.errors import InputError, SettingsError

P = ParamSpec("P")
T = TypeVar("T")


def shipped(path: str) -> str:
    """A file that comes with the repository, found from any working folder."""
    return path if Path(path).exists() else str(CONFIG_DIR.parent / path)


def env_or(name: str, default: str) -> str:
    """An environment variable; the default where it is unset or empty (oc.env would take "")."""
    return os.environ.get(name) or default


OmegaConf.register_new_resolver("shipped", shipped, replace=True)  # ${shipped:FILE} in conf/
# ${text:null} in conf/ is null, and says that the key takes a text: `2024` is then no number.
OmegaConf.register_new_resolver("text", lambda value: value, replace=True)
OmegaConf.register_new_resolver("env_or", env_or, replace=True)  # ${env_or:NAME,DEFAULT}


def configured_folder(name: str) -> Path:
    """A folder of conf/paths.yaml: data, weights, stores or runs."""
    return Path(OmegaConf.select(OmegaConf.load(CONFIG_DIR / "paths.yaml"), name))


# ---------------------------------------------------------------------------------- kinds of values

# A number stays as it was typed (1, not 1.0), since names of stores depend on it.
_AS_TYPED = WrapValidator(lambda value, check: (check(value), value)[1])


def _ordered(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    if pair[0] > pair[1]:
        raise ValueError("the first is more than the second")
    return pair


def _different(values: Sequence[Any]) -> Sequence[Any]:
    if any(value in values[:i] for i, value in enumerate(values)):
        raise ValueError("a value stands there twice")
    return values


Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, StringConstraints(strict=True, pattern=r"\S")]  # not empty
Whole = Annotated[int, Field(strict=True, ge=0)]  # 0, 1, ...
Count = Annotated[int, Field(strict=True, ge=1)]  # 1, 2, ...
Real = Annotated[float, Field(strict=True, allow_inf_nan=False), _AS_TYPED]
Amount = Annotated[Real, Field(ge=0)]  # 0 and above
Positive = Annotated[Real, Field(gt=0)]
Share = Annotated[Real, Field(ge=0, le=1)]
Part = Annotated[Real, Field(ge=0, lt=1)]  # a share that is less than the whole
Inside = Annotated[Real, Field(gt=0, lt=1)]  # a share that is neither none nor all
Folder = Annotated[Text | Path, Field(description="a folder")]
Different = Annotated[
    Sequence[T], AfterValidator(_different), Field(description="different values, each {}")
]
LeastMost = Annotated[
    tuple[T, T], AfterValidator(_ordered), Field(description="least and most, each {}")
]


_GONE = ("flag", "least_and_most", "list_of", "one_of", "optional", "real", "require", "whole")


def __getattr__(name: str) -> Any:
    if name in _GONE:
        raise ImportError(
            f"rvos.settings.{name} is gone: a value is declared by its type alone, as in "
            "`@checked class Mine: window: Count; tau: Part` (docs/extending.md, Was and is now)"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# ------------------------------------------------------------------------------ classes, functions

_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


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


@overload
def checked(made: type[T], /) -> type[T]: ...
@overload
def checked(made: Callable[P, T], /) -> Callable[P, T]: ...
@overload
def checked(*, frozen: bool = True, kw_only: bool = False) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field, Field))
def checked(made: Any = None, /, *, frozen: bool = True, kw_only: bool = False) -> Any:
    """Decorate a class: a dataclass whose values are checked; or a function: its arguments are.

    Raises SettingsError where it is called with wrong values.
    """
    if made is None:
        return functools.partial(checked, frozen=frozen, kw_only=kw_only)
    if not isinstance(made, type):
        return _explained(pydantic.validate_call(config=_CONFIG)(made), made)
    decorate = pydantic.dataclasses.dataclass(config=_CONFIG, frozen=frozen, kw_only=kw_only)
    result: Any = decorate(made)
    pydantic.dataclasses.rebuild_dataclass(result)  # raises for annotations that are not known yet
    result.__init__ = _explained(result.__init__, result)
    return result


def _explained(call: Callable[P, T], described: Any) -> Callable[P, T]:
    """The same, raising WrongValues; `described` has its parameters."""

    @functools.wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except ValidationError as error:
            names = [
                *["self"] * isinstance(described, type),
                *inspect.signature(described).parameters,
            ]
            given = dict(zip(names, args, strict=False)) | kwargs
            raise _wrong_values(error, described, given) from None

    wrapper.__checked__ = True  # type: ignore[attr-defined]
    return wrapper


def check_value(key: str, kind: Any, got: Any) -> None:
    """Raises SettingsError if a single value, that of `key`, is not of a kind such as `Count`."""
    adapter = TypeAdapter(kind)
    try:
        adapter.validate_python(got)
    except ValidationError:
        expected = _words(adapter.json_schema())
        raise SettingsError([f"{key}: expected {expected}, got {got!r}"]) from None


# -------------------------------------------------------------------------- the library's errors


def _wrong_values(error: ValidationError, described: Any, given: Mapping[str, Any]) -> WrongValues:
    """What pydantic found, one problem per key of conf/; `given` are the values by name."""
    schema = _schema(described)
    names = list(inspect.signature(described).parameters)
    absent: dict[tuple[str, str], list[str]] = {}  # {(object, what): its keys}
    problems: dict[str, Problem] = {}
    for found in error.errors(include_url=False):
        first, *rest = found["loc"] or ("",)
        loc = [names[first] if isinstance(first, int) else first, *map(str, rest)]
        cause = found.get("ctx", {}).get("error")
        if isinstance(cause, WrongValues):
            problems |= {str(problem.key): problem for problem in cause.wrong}
        elif isinstance(cause, InputError):
            texts = cause.problems if isinstance(cause, SettingsError) else [str(cause)]
            problems |= {text: Problem(None, text) for text in texts}
        elif found["type"].startswith(("missing", "unexpected")) and loc[-1] == found["loc"][-1]:
            what = "key missing" if found["type"].startswith("missing") else "no such key"
            absent.setdefault((".".join(loc[:-1]), what), []).append(loc[-1])
        else:
            keys, expected = _place(loc, schema)
            text = f"expected {expected or cause or found['msg']}, got {_value(given, keys)!r}"
            problems[".".join(keys)] = Problem(".".join(keys), text)
    lists = [
        Problem(key, f"{what}: {', '.join(sorted(keys))}")
        for (key, what), keys in sorted(absent.items(), reverse=True)  # unknown ones first
    ]
    return WrongValues([*lists, *problems.values()], described.__qualname__)


class _Schema(GenerateJsonSchema):
    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {"description": f"an object {schema['cls'].__name__}"} if "cls" in schema else {}


def _schema(described: Any) -> dict[str, Any]:
    """The JSON schema of a class or function, from which messages are worded."""
    config = None if isinstance(described, type) else _CONFIG
    return TypeAdapter(described, config=config).json_schema(schema_generator=_Schema)


def _place(loc: Sequence[str], schema: dict[str, Any]) -> tuple[list[str], str]:
    """The key of conf/ in which an error lies, as its parts, and what is expected of its value."""
    keys: list[str] = []
    node = schema
    for part in loc:
        options = [node, *node.get("anyOf", ())]
        refs = [schema["$defs"][o["$ref"].rpartition("/")[2]] for o in options if "$ref" in o]
        inside = [o["properties"][part] for o in [node, *refs] if part in o.get("properties", {})]
        if not inside:
            break
        node = inside[0]
        keys.append(part)
    return keys, "" if node is schema else _words(node)


def _value(given: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        given = given[key] if isinstance(given, Mapping) else getattr(given, key)
    return given


def _words(schema: Mapping[str, Any]) -> str:
    """What a JSON schema allows."""
    items = schema.get("items") or schema.get("prefixItems", [{}])[0]
    if text := schema.get("description"):
        return text.format(_words(items)) if "{}" in text else text
    if "$ref" in schema:
        return f"the keys of {schema['$ref'].rpartition('/')[2]}"
    if "anyOf" in schema:
        texts = [_words(option) for option in schema["anyOf"] if option != {"type": "null"}]
        return " or ".join(texts) + ", or null" * ({"type": "null"} in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(map(str, schema.get("enum", [schema.get("const")])))
    low, above = (
        schema.get("minimum", schema.get("ge")),
        schema.get("exclusiveMinimum", schema.get("gt")),
    )
    most, below = (
        schema.get("maximum", schema.get("le")),
        schema.get("exclusiveMaximum", schema.get("lt")),
    )
    match schema.get("type"):
        case "integer":
            limit = f">= {low}" if most is None else f"from {low} to {most}"
            return f"a whole number {limit}" if low is not None else "a whole number"
        case "number":
            left = (
                "" if low is above is None else f"{above:g} < " if low is None else f"{low:g} <= "
            )
            right = (
                ""
                if most is below is None
                else f" < {below:g}"
                if most is None
                else f" <= {most:g}"
            )
            return f"a number with {left}value{right}" if left or right else "a number"
        case "boolean":
            return "true or false"
        case "string":
            return "a text"
        case "array":
            least, longest = schema.get("minItems"), schema.get("maxItems")
            count = (
                f" of {least}"
                if least and least == longest
                else f" of at least {least}"
                if least
                else ""
            )
            return f"a list{count}, each {_words(items)}" if items else f"a list{count}"
        case "object":
            return f"{{name: {_words(schema.get('additionalProperties') or {}) or 'value'}}}"
    return ""


# ------------------------------------------------------------------------------ nodes of the config


def build(node: Any, path: str) -> Any:
    """The objects that a node of the config describes; `path` is its key in conf/.

    Each part with a `_target_` is made as Hydra's `instantiate` makes it (`_partial_`, `_args_` and
    `_recursive_` included). `name`, the label of a choice, is an argument of a target that has it.
    Raises SettingsError with what is wrong with all parts.
    """
    if isinstance(node, BaseContainer):
        node = OmegaConf.to_container(node, resolve=True)
    with Checks() as check:
        return _built(node, path, check)


def make(target: Callable[..., T], path: str, keys: Mapping[str, Any], *, title: str = "") -> T:
    """What `target` makes of the keys of the node `path` of conf/ ("": of no group).

    The values are checked, also where it is a plain dataclass. `title` begins what is said of
    unknown and missing keys. Raises SettingsError with all that is wrong.
    """
    try:
        return _plain(target, keys) if _is_plain(target) else target(**keys)
    except WrongValues as error:
        raise SettingsError(error.at(path, title or target.__qualname__)) from None


_HYDRA_KEYS = ("_target_", "_args_", "_convert_", "_partial_", "_recursive_")
_WRONG: Any = object()  # stands for what could not be made


def _built(node: Any, path: str, check: "Checks") -> Any:
    """As `build`; what is wrong goes to `check`, the problems of an object before those inside."""
    if not isinstance(node, Mapping | list):
        return node
    items = dict(enumerate(node)) if isinstance(node, list) else dict(node)
    inside = Checks()
    if items.get("_recursive_", True):
        items = {k: _built(item, f"{path}.{k}".lstrip("."), inside) for k, item in items.items()}
    result: Any = list(items.values()) if isinstance(node, list) else items
    if "_target_" in items:
        result = _instance(items, path, check)
    elif inside.problems:
        result = _WRONG
    check.problems += inside.problems
    return result


def _instance(items: dict[Any, Any], path: str, check: "Checks") -> Any:
    """The object of a node whose parts are made."""
    title = f"{path}: {items['_target_']}".removeprefix(": ")
    target = check(named, f"{path}._target_".lstrip("."), items["_target_"])
    if target is None:
        return _WRONG
    keys = {key: value for key, value in items.items() if key not in _HYDRA_KEYS}
    if "name" not in _parameters(target):
        keys.pop("name", None)
    wrong = {key for key, value in keys.items() if value is _WRONG}
    try:
        if items.get("_partial_"):
            return functools.partial(target, *items.get("_args_", ()), **keys)
        if _is_plain(target):
            return _plain(target, keys)
        if not wrong or _is_checked(target):
            return target(*items.get("_args_", ()), **keys)
    except WrongValues as error:
        check.problems += error.at(path, title, without=wrong)
    except SettingsError as error:
        check.problems += error.problems
    except Exception as error:  # any library's or user's class
        if not wrong:
            check.problems.append(
                str(error) if isinstance(error, InputError) else f"{title}: {error}"
            )
    return _WRONG


def _parameters(target: Any) -> Collection[str]:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):  # of a few built-in classes
        return ()


def _is_checked(target: Any) -> bool:
    return hasattr(target, "__checked__") or hasattr(target.__init__, "__checked__")


def _is_plain(target: Any) -> bool:
    """Whether it is made by a dataclass of the standard library, which checks nothing."""
    if not is_dataclass(target) or not isinstance(target, type):
        return False
    maker = next(base for base in target.__mro__ if "__init__" in vars(base))
    return "__dataclass_fields__" in vars(maker) and not _is_checked(target)


def _plain(target: Any, keys: Mapping[str, Any]) -> Any:
    """A dataclass of the standard library, with its values checked against their annotations."""
    if not hasattr(target, "__pydantic_config__"):
        pydantic.with_config(_CONFIG)(target)
    try:
        return TypeAdapter(target).validate_python(dict(keys))
    except ValidationError as error:
        raise _wrong_values(error, target, keys) from None


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


@functools.cache
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
