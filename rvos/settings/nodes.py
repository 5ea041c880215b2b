"""A node of the config -> its object, and what is wrong with all parts of it."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

from rvos.errors import InputError, SettingsError
from rvos.settings.declare import is_checked, is_plain, plain_dataclass
from rvos.settings.problems import Checks, WrongValues

T = TypeVar("T")


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
        return plain_dataclass(target, keys) if is_plain(target) else target(**keys)
    except WrongValues as error:
        raise SettingsError(error.at(path, title or target.__qualname__)) from None


_HYDRA_KEYS = ("_target_", "_args_", "_convert_", "_partial_", "_recursive_")
_WRONG: Any = object()  # stands for what could not be made


def _built(node: Any, path: str, check: Checks) -> Any:
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


def _instance(items: dict[Any, Any], path: str, check: Checks) -> Any:
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
        if is_plain(target):
            return plain_dataclass(target, keys)
        if not wrong or is_checked(target):
            return target(*items.get("_args_", ()), **keys)
    except WrongValues as error:
        check.problems += error.at(path, title, without=wrong)
    except InputError as error:
        check.problems += () if wrong and not isinstance(error, SettingsError) else error.messages
    except Exception as error:  # any library's or user's class
        check.problems += [] if wrong else [f"{title}: {error}"]
    return _WRONG


def _parameters(target: Any) -> Collection[str]:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):  # of a few built-in classes
        return ()


def named(key: str, target: Any) -> Any:
    """The function or class of a dotted name, which stands under `key`. Raises InputError."""
    if not isinstance(target, str) or not all(target.rpartition(".")):
        raise InputError(
            f"{key}: expected the dotted name of a function or class (_target_), got {target!r}"
        )
    module, _, name = target.rpartition(".")
    try:
        value = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InputError(f"{key}: cannot import {target}: {error}") from None
    if not callable(value):
        raise InputError(f"{key}: {target} is neither a function nor a class")
    return value
