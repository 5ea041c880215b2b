"""`python -m rvos data synthesize|verify|get ...`: write a small dataset, check or fetch one."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console

from rvos.app.arguments import as_typed, explained
from rvos.app.entry import with_near_key
from rvos.errors import InputError
from rvos.settings import CONFIG_DIR


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
    settings = {key: data[key] for key in ("format", "release", "meta")}
    settings |= {key: config[key] for key in ("decode", "workers")}
    settings["splits"] = [splits] if isinstance(splits, str) else list(splits)
    reports = verify(data.root, **settings)
    return 0 if show(reports, Console()) else 1


def get(config: DictConfig) -> int:
    """Fetch a dataset from Hugging Face's hub and check it (keys: conf/get.yaml)."""
    from rvos.app.datasets import DATASETS, get
    from rvos.data.verify import show, verify

    os.environ["RVOS_STORES"] = str(config.paths.stores)
    about, console = DATASETS[config.name], Console()
    root = Path(config.root or Path(config.paths.data) / config.name)
    splits = config.splits
    found = get(
        config.name,
        root,
        splits=list(splits) if isinstance(splits, ListConfig) else splits,
        accept_licence=config.accept_licence,
        revision=config.revision,
        console=console,
    )
    more = {"decode": config.decode, "workers": config.workers}
    reports = verify(root, format=about.format, release=about.release, splits=found, **more)
    console.print(f"data.root={root}", soft_wrap=True, highlight=False)
    return 0 if show(reports, console) else 1


COMMANDS = {"synthesize": synthesize, "verify": verify, "get": get}


def main(arguments: Sequence[str]) -> int:
    """Write a synthetic dataset, check a dataset, or fetch one."""
    from rvos.app.datasets import DATASETS

    parser = argparse.ArgumentParser(prog="python -m rvos data", description=main.__doc__)
    parsers = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        one = parsers.add_parser(name, help=command.__doc__, description=command.__doc__)
        if command is get:
            one.add_argument("name", choices=list(DATASETS))
        one.add_argument("settings", nargs="*", metavar="key=value")
    given = parser.parse_args(arguments)
    overrides = [f"+name={given.name}"] if given.command == "get" else []
    overrides += as_typed(given.settings, given.command)
    with explained():
        try:
            with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
                config = compose(given.command, overrides=overrides)
        except ConfigCompositionException as error:
            raise InputError(with_near_key(str(error), given.command, overrides)) from None
        if given.command == "verify":
            from rvos.stages.run_folder import check_effects

            check_effects("data verify", given.settings)
        return COMMANDS[given.command](config)
