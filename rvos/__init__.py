"""Referring video object segmentation: coarse masks, masklets, windowed vote, MeViS scores.

The version, and the public names, each imported when it is asked for.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvos.errors import InputError, SettingsError, list_problems
    from rvos.settings import CONFIG_DIR, Checks, preset, real, require, whole

__version__ = "0.2.0"

_MODULES = {
    "CONFIG_DIR": "settings",
    "Checks": "settings",
    "InputError": "errors",
    "SettingsError": "errors",
    "list_problems": "errors",
    "preset": "settings",
    "real": "settings",
    "require": "settings",
    "whole": "settings",
}

__all__ = [
    "CONFIG_DIR",
    "Checks",
    "InputError",
    "SettingsError",
    "__version__",
    "list_problems",
    "preset",
    "real",
    "require",
    "whole",
]


def lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`: a public name comes from its module when it is asked for."""

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return get


__getattr__ = lazily(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted(__all__)
