"""`python -m rvos.data COMMAND key=value ...`: check a dataset, or write a small synthetic one."""

import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from rvos import InputError
from rvos.masks import FileError

CONFIG_DIR = Path(__file__).resolve().parents[2] / "conf"


def synthesize(config: DictConfig) -> int:
    """write a small MeViS dataset under `out` (conf/synthesize.yaml)"""
    from rvos.data.synthetic import synthesize

    settings = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    synthesize(**settings)  # type: ignore[arg-type]
    return 0


def verify(config: DictConfig) -> int:
    """count and check what lies under `data.root` (conf/verify.yaml)"""
    from rvos.data.verify import show, verify

    data = config.data
    reports = verify(
        data.root,
        format=data.format,
        release=data.release,
        splits=list(config.splits),
        decode=config.decode,
        workers=config.workers,
    )
    return 0 if show(reports, Console()) else 1


COMMANDS = {"synthesize": synthesize, "verify": verify}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in COMMANDS:
        lines = (f"  {name}: {command.__doc__}" for name, command in COMMANDS.items())
        print("usage: python -m rvos.data COMMAND key=value ...", *lines, sep="\n", file=sys.stderr)
        return 2
    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            config = compose(arguments[0], overrides=arguments[1:])
        return COMMANDS[arguments[0]](config)
    except (InputError, FileError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
