"""The name of a rule, or the settings of one -> the rule."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, cast

from rvos.errors import InputError
from rvos.refine.candidates import Rule
from rvos.settings import make, named, preset


def make_rule(name: str, **settings: Any) -> Rule:
    """The rule of conf/refine/<name>.yaml; `settings` replace those of the file.

        make_rule("sliding_vote", window=5)

    `window`, `tau` and `agree` are keys of every file, and are left out for a rule without them.
    Raises InputError for a name or a key that is not there, SettingsError for values out of range.
    """
    given = settings if "_target_" in settings else preset("refine", name) | settings
    rule = named("refine._target_", given["_target_"])
    if not is_dataclass(rule):
        raise InputError(f"refine._target_: expected a dataclass, got {given['_target_']}")
    known = {field.name for field in fields(rule)}
    arguments = {
        key: value for key, value in given.items() if key not in {"_target_", "name"} - known
    }
    for key in {"window", "tau", "agree"} - known:
        arguments.pop(key, None)
    made: Callable[..., Rule] = cast(Any, rule)
    return make(made, "refine", arguments, title=f"refine={name}")
