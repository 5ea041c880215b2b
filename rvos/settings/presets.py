"""The presets of conf/, and what its files may refer to."""

import functools
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rvos import CONFIG_DIR
from rvos.errors import InputError


def shipped(path: str) -> str:
    """A file that comes with the repository, found from any working folder."""
    return path if Path(path).exists() else str(CONFIG_DIR.parent / path)


def env_or(name: str, default: str) -> str:
    """An environment variable; the default where it is unset or empty (oc.env would take "")."""
    return os.environ.get(name) or default


OmegaConf.register_new_resolver("shipped", shipped, replace=True)  # ${shipped:FILE} in conf/
# ${text:null} in conf/ is null, and says that the key takes a text: `2024` is then no number.
OmegaConf.register_new_resolver("text", lambda value: value, replace=True)
OmegaConf.register_new_resolver("env_or", env_or, replace=True)  # ${env_or:NAME,DEFAULT}


def configured_folder(name: str) -> Path:
    """A folder of conf/paths.yaml: data, weights, stores or runs."""
    return Path(OmegaConf.select(OmegaConf.load(CONFIG_DIR / "paths.yaml"), name))


def preset(group: str, name: str, *overrides: str) -> dict[str, Any]:
    """The settings of conf/<group>/<name>.yaml as a plain dict, with `overrides` (key=value).

        preset("coarse", "mutr", "clip_length=10")

    Interpolations are resolved with the defaults of conf/. Inside an entry point the files of
    --config-dir count too. Raises InputError for a preset or a key that is not there.
    """
    from hydra.core.global_hydra import GlobalHydra

    hydra = GlobalHydra.instance()
    places = str(hydra.config_loader().get_search_path()) if hydra.is_initialized() else None
    settings: Any = OmegaConf.to_container(_composed(group, name, overrides, places), resolve=True)
    return settings


@functools.cache
def _composed(group: str, name: str, overrides: tuple[str, ...], places: str | None) -> Any:
    """The node that `preset` resolves; a page or an ablation asks for the same one many times.

    `places` is where Hydra looks for files; None: it has not been told, and looks into conf/. A
    process reads the files once.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException, MissingConfigException

    told = places is not None
    add = "+" if group in ("loss", "optim", "callbacks") else ""  # those of train.yaml alone
    try:
        with nullcontext() if told else initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            cfg = compose(
                "eval",
                [f"{add}{group}={name}", *(f"{group}.{o}" for o in overrides), "output_dir=."],
            )
            return cfg[group]
    except MissingConfigException as error:
        choices = ", ".join(error.options or ())
        raise InputError(f"{group}={name}: no such preset; there are: {choices}") from None
    except HydraException as error:
        raise InputError(f"{group}={name}: {error}") from None
