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

from typing import Any

from rvos import CONFIG_DIR
from rvos.settings.declare import checked
from rvos.settings.kinds import (
    Amount,
    Count,
    Different,
    Flag,
    Folder,
    Inside,
    LeastMost,
    Part,
    Positive,
    Real,
    Share,
    Text,
    Whole,
)
from rvos.settings.nodes import build, make, named
from rvos.settings.presets import configured_folder, preset
from rvos.settings.problems import Checks, all_checked, wrong

__all__ = [
    "Amount",
    "CONFIG_DIR",
    "Checks",
    "Count",
    "Different",
    "Flag",
    "Folder",
    "Inside",
    "LeastMost",
    "Part",
    "Positive",
    "Real",
    "Share",
    "Text",
    "Whole",
    "all_checked",
    "build",
    "checked",
    "configured_folder",
    "make",
    "named",
    "preset",
    "wrong",
]

_GONE = ("flag", "least_and_most", "list_of", "one_of", "optional", "real", "require", "whole")


def __getattr__(name: str) -> Any:
    if name in _GONE:
        raise ImportError(
            f"rvos.settings.{name} is gone: a value is declared by its type alone, as in "
            "`@checked class Mine: window: Count; tau: Part` (docs/extending.md, Was and is now)"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
