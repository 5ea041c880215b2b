"""Referring video object segmentation: coarse masks, masklets, windowed vote, MeViS scores.

The version, and the public names, each imported when it is asked for.
"""

import ast
from collections.abc import Callable
from functools import cache
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


def lazily(package: str, file: str) -> Callable[[str], Any]:
    """A package's `__getattr__`: a public name comes from its module when it is asked for.

    The imports in the package's `file`, those for type checkers, say which module has which name.
    """

    @cache
    def modules() -> dict[str, str]:
        nodes = ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
        imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        return {name.name: str(node.module) for node in imports for name in node.names}

    def get(name: str) -> Any:
        if name not in modules():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules()[name]), name)

    return get


_public = lazily(__name__, __file__)


def __getattr__(name: str) -> Any:
    return getattr(import_module("rvos.settings"), name) if name in _GONE else _public(name)


def __dir__() -> list[str]:
    return sorted(__all__)
