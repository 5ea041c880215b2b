"""Arguments of the command line as people type them -> as Hydra's grammar reads them."""

import argparse
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rvos import CONFIG_DIR
from rvos.errors import InputError, needing_models

SENTENCES = {"expression"}  # keys whose value is a text, whatever it holds: `null` and `${` too
LISTS = {"score.protocol"}  # keys whose value is a text, or a list of texts
GONE = {  # keys of older versions -> what to write now
    "claims.stale_after": "there is no such key any more; use shard=i/n (docs/cluster.md)",
    "masklets.with": "there is no such key any more; write masklets.beside",
}
MAY_GO = ("callbacks.", "logger.", "score.extra.")  # keys of these may be deleted: ~callbacks.ema


def as_typed(arguments: Sequence[str], config_name: str) -> list[str]:
    """The arguments of conf/<config_name>.yaml, with those values in quotes that are texts.

    A value is a text where Hydra cannot read it, or where Hydra reads no text although the config
    holds one (`data.root=2024`). `null` stays null, `${...}` is filled in, `~/` is the home folder,
    and in a multirun `path=a,b` remains a sweep over two paths. Raises InputError for the deletion
    of a key that the programs need.
    """
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+~")
        if key in GONE:
            raise InputError(f"{key}: {GONE[key]}")
        if argument.startswith("~") and not argument[1:].startswith(MAY_GO):
            raise InputError(
                f"argument {argument!r}: expected key=value; what may be deleted are keys of "
                f"{', '.join(MAY_GO)}"
            )

    @cache  # composed at most once, and only where what Hydra reads is no text
    def config() -> Any:
        return _composed(arguments, config_name)

    multirun = not {"-m", "--multirun"}.isdisjoint(arguments)
    return [_as_typed(argument, multirun, config) for argument in _options_last(arguments)]


def _options_last(arguments: Sequence[str]) -> list[str]:
    """Hydra reads no key=value after an option that stands after another key=value."""
    settings: list[str] = []
    options: list[str] = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        is_setting = word.startswith("~") or ("=" in word and not word.startswith("-"))
        is_folder = before.startswith(("-c", "--config")) and "=" not in before
        (settings if is_setting and not is_folder else options).append(word)
    return settings + options


def _as_typed(argument: str, multirun: bool, config: Callable[[], Any]) -> str:
    key, equals, text = argument.partition("=")
    name = key.lstrip("+")
    if not equals or name.startswith(("-", "~")):
        return argument
    if name in SENTENCES:
        text = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", text)  # no interpolation
    elif not _is_text(argument, multirun, config):
        return argument
    elif text.startswith("~/"):
        text = os.path.expanduser(text)
    # Backslashes are literal except before a quote and at the end, where they are doubled.
    text = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + (r"\'" if m[2] else ""), text)
    return f"{key}='{text}'"


def _is_text(argument: str, multirun: bool, config: Callable[[], Any]) -> bool:
    """Whether a value is to be put in quotes, lest Hydra reads less or something else."""
    key, _, typed = argument.partition("=")
    if (override := _read(argument)) is None:
        return _read(f"{key}=x") is not None  # else it is the key that Hydra cannot read
    if override.is_sweep_override():
        right = multirun
    else:
        value = override.value()
        right = value is None or (isinstance(value, str) and typed == typed.strip())
        right |= isinstance(value, list) and key in LISTS
    return not right and _holds_text(config(), key.lstrip("+"))


def _read(argument: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException:
        return None


def _holds_text(config: Any, key: str) -> bool:
    """Whether a key's value is a text: a reference to another key is what that one is."""
    value = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, str) and (reference := re.fullmatch(r"\$\{([\w.]+)\}", value)):
        return _holds_text(config, reference[1])
    return isinstance(value, str)


def own_configs(arguments: Sequence[str]) -> Path | None:
    """The folder of --config-dir."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--config-dir", "-cd", type=Path)
    return options.parse_known_args(arguments)[0].config_dir


def _composed(arguments: Sequence[str], config_name: str) -> Any:
    """What the config holds before keys are set: the chosen groups, with nothing resolved."""
    own = own_configs(arguments)
    folders = [CONFIG_DIR, *([own.absolute()] if own else [])]
    choices = [
        argument
        for argument in arguments
        if any((folder / re.split("[=@]", argument.lstrip("+"))[0]).is_dir() for folder in folders)
        and (override := _read(argument)) is not None
        and not override.is_sweep_override()
    ]
    search = [f"hydra.searchpath=[file://{folder}]" for folder in folders[1:]]
    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            chosen = compose(config_name, choices + search, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError):  # the last for refine=null
        return None  # composing with all arguments says what is wrong
    return OmegaConf.to_container(chosen)


@contextmanager
def explained() -> Iterator[None]:
    """What Hydra and OmegaConf cannot read, and a missing package, become an InputError."""
    try:
        with needing_models():
            yield
    except OverrideParseException as error:
        raise InputError(
            f"argument {error.override!r}: expected key=value, or an option as --help lists them"
        ) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(str(error)) from None
