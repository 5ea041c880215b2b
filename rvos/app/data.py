"""`python -m rvos data synthesize|verify key=value ...`: write a small dataset, or check one."""

import argparse
import os
import sys
from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from rvos import CONFIG_DIR, InputError
from rvos.app.arguments import as_typed, explain
from rvos.masks import FileError


def synthesize(config: DictConfig) -> int:
    """Write a small synthetic MeViS dataset under `out` (keys: conf/synthesize.yaml)."""
    from rvos.data.synthetic import synthesize

    settings = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    synthesize(**settings)  # type: ignore[arg-type]
    return 0


def verify(config: DictConfig) -> int:
    """Count and check the dataset under `data.root` (keys: conf/verify.yaml)."""
    from rvos.data.verify import show, verify

    os.environ["RVOS_STORES"] = str(config.paths.stores)
    data, splits = config.data, config.splits
    reports = verify(
        data.root,
        format=data.format,
        release=data.release,
        splits=[splits] if isinstance(splits, str) else list(splits),
        decode=config.decode,
        workers=config.workers,
        meta=data.meta,
    )
    return 0 if show(reports, Console()) else 1


COMMANDS = {"synthesize": synthesize, "verify": verify}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a synthetic dataset, or check a dataset."""
    parser = argparse.ArgumentParser(prog="python -m rvos data", description=main.__doc__)
    parsers = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        one = parsers.add_parser(name, help=command.__doc__, description=command.__doc__)
        one.add_argument("settings", nargs="*", metavar="key=value")
    given = parser.parse_args(arguments)
    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            config = compose(given.command, overrides=as_typed(given.settings))
        return COMMANDS[given.command](config)
    except OverrideParseException as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 1
    except (InputError, FileError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
