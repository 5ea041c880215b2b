"""Referring video object segmentation: coarse masks, masklets, windowed vote, MeViS scores.

The version, and the public names, each imported when it is asked for.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvos.errors import InputError, SettingsError, list_problems
    from rvos.settings import (
        Checks,
        Count,
        Flag,
        Part,
        Real,
        Share,
        Text,
        Whole,
        checked,
        preset,
    )

__version__ = "0.2.0"
_PACKAGE = Path(__file__).resolve().parent
# In a wheel inside of the package, in a checkout beside it (setup.py).
CONFIG_DIR = next(filter(Path.is_dir, (_PACKAGE / "conf", _PACKAGE.parent / "conf")))

_MODULES = {
    "Checks": "settings",
    "Count": "settings",
    "Flag": "settings",
    "InputError": "errors",
    "Part": "settings",
    "Real": "settings",
    "SettingsError": "errors",
    "Share": "settings",
    "Text": "settings",
    "Whole": "settings",
    "checked": "settings",
    "list_problems": "errors",
    "preset": "settings",
}
_GONE = ("real", "require", "whole")  # rvos.settings says what to write instead

__all__ = [
    "CONFIG_DIR",
    "Checks",
    "Count",
    "Flag",
    "InputError",
    "Part",
    "Real",
    "SettingsError",
    "Share",
    "Text",
    "Whole",
    "__version__",
    "checked",
    "list_problems",
    "preset",
]


def lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`: a public name comes from its module when it is asked for."""

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return get


__getattr__ = lazily(__name__, _MODULES | dict.fromkeys(_GONE, "settings"))


def __dir__() -> list[str]:
    return sorted(__all__)
