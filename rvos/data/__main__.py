"""`python -m rvos.data COMMAND key=value ...`: synthesize, and what else is done to data by hand."""

import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rvos import InputError

CONF = Path(__file__).parents[2] / "conf"


def synthesize(config: DictConfig) -> None:
    """A small MeViS dataset under `out` (conf/synthesize.yaml)."""
    from rvos.data.synthetic import synthesize

    synthesize(**OmegaConf.to_container(config, resolve=True, throw_on_missing=True))


COMMANDS = {"synthesize": synthesize}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in COMMANDS:
        lines = (f"  {name}: {command.__doc__}" for name, command in COMMANDS.items())
        print("usage: python -m rvos.data COMMAND key=value ...", *lines, sep="\n", file=sys.stderr)
        return 2
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose(arguments[0], overrides=arguments[1:])
        return COMMANDS[arguments[0]](config) or 0
    except (InputError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
