"""Classes and functions whose values are checked against their types."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import field, is_dataclass
from typing import Any, ParamSpec, TypeVar, dataclass_transform, overload

import pydantic
import pydantic.dataclasses
from pydantic import Field, TypeAdapter, ValidationError

from rvos.settings.wording import CONFIG, wrong_values

P = ParamSpec("P")
T = TypeVar("T")


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
        return _explained(pydantic.validate_call(config=CONFIG)(made), made)
    decorate = pydantic.dataclasses.dataclass(config=CONFIG, frozen=frozen, kw_only=kw_only)
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
            values = args[1:] if isinstance(described, type) else args  # without self
            raise wrong_values(error, described, values, kwargs) from None

    wrapper.__checked__ = True  # type: ignore[attr-defined]
    return wrapper


def is_checked(target: Any) -> bool:
    """Whether a class or function is decorated with `checked`."""
    return hasattr(target, "__checked__") or hasattr(target.__init__, "__checked__")


def is_plain(target: Any) -> bool:
    """Whether it is made by a dataclass of the standard library, which checks nothing."""
    if not is_dataclass(target) or not isinstance(target, type):
        return False
    maker = next(base for base in target.__mro__ if "__init__" in vars(base))
    return "__dataclass_fields__" in vars(maker) and not is_checked(target)


def plain_dataclass(target: Any, keys: Mapping[str, Any]) -> Any:
    """A dataclass of the standard library, with its values checked against their annotations."""
    if not hasattr(target, "__pydantic_config__"):
        pydantic.with_config(CONFIG)(target)
    try:
        return TypeAdapter(target).validate_python(dict(keys))
    except ValidationError as error:
        raise wrong_values(error, target, (), keys) from None
