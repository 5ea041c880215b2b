"""What a value may be: kinds for the fields and arguments of what is declared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, StringConstraints, WrapValidator

T = TypeVar("T")

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
