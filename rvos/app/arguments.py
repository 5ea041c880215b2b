"""Arguments of the command line as people type them -> as Hydra's grammar reads them."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from rvos.errors import InputError

SENTENCES = {"expression"}  # keys whose value is a text, whatever it holds
# Last parts of the keys that hold a path or a name; null stays null, ${...} is filled in.
PATHS = {
    *("root", "split", "train_split", "val_split", "meta", "out", "format"),  # data
    *("path", "nouns", "checkpoint", "ckpt_path", "weights", "backbone_weights", "model"),  # stages
    *("video", "expressions", "output_dir", "oracle", "ablation"),
    *("dir", "dirpath", "save_dir", "default_root_dir", "filename"),  # of Hydra, of Lightning
    *("name", "project", "group", "id"),  # of a run, of W&B
}


MAY_GO = ("callbacks.", "logger.", "score.extra.")  # keys of these may be deleted: ~callbacks.ema


def as_typed(arguments: Sequence[str]) -> list[str]:
    """The arguments, with values of sentences and paths quoted where Hydra would read them wrongly.

    In a multirun `path=a,b` remains a sweep over two paths. `~/` is the home folder. Raises
    InputError for the deletion of a key that the programs need.
    """
    for argument in arguments:
        if argument.startswith("~") and not argument[1:].startswith(MAY_GO):
            raise InputError(
                f"argument {argument!r}: expected key=value; what may be deleted are keys of "
                f"{', '.join(MAY_GO)}"
            )
    multirun = not {"-m", "--multirun"}.isdisjoint(arguments)
    return [_as_typed(argument, multirun) for argument in arguments]


def _as_typed(argument: str, multirun: bool) -> str:
    key, equals, text = argument.partition("=")
    name = key.lstrip("+")
    if not equals or name.startswith("-"):
        return argument
    if name in SENTENCES:
        text = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", text)  # no interpolation
    elif name.startswith("paths.") or name.rpartition(".")[2] in PATHS:
        if _is_read_right(argument, text, multirun):
            return argument
        text = os.path.expanduser(text) if text.startswith("~/") else text
    else:
        return argument
    # Backslashes are literal except before a quote and at the end, where they are doubled.
    text = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + (r"\'" if m[2] else ""), text)
    return f"{key}='{text}'"


def _is_read_right(argument: str, text: str, multirun: bool) -> bool:
    """Whether Hydra reads the value of a path's key as a text or as null, and reads all of it."""
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    if override.is_sweep_override():
        return multirun
    value = override.value()
    return value is None or (isinstance(value, str) and text == text.strip())


@contextmanager
def explained() -> Iterator[None]:
    """What Hydra and OmegaConf cannot read or compose becomes an InputError."""
    try:
        yield
    except OverrideParseException as error:
        raise InputError(_explain(error)) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(str(error)) from None


def _explain(error: OverrideParseException) -> str:
    """What is wrong with an argument that Hydra cannot read, and how it can be written."""
    key, equals, value = error.override.partition("=")
    if not equals:
        return f"argument {error.override!r}: expected key=value, or an option as --help lists them"
    quoted = value.replace("\\", "\\\\").replace('"', r"\"")
    return (
        f"argument {error.override!r}: Hydra cannot read the value ({error.message}); if it is "
        f"meant as a text, put it in quotes, and those in the shell's: '{key}=\"{quoted}\"'"
    )
