"""How the entry points start: composed config in, one clear error and exit status out."""

import functools
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rvos import InputError, list_problems
from rvos.masks import FileError, write_bytes

CONFIG_DIR = Path(__file__).resolve().parents[1] / "conf"
SETTINGS_FILE = "config.yaml"
# Keys that may differ between two runs into one folder: they do not change any result.
_FREE_KEYS = {
    "output_dir",
    "paths",
    "score.workers",
    "ckpt_path",
    "data.num_workers",
    "coarse.expression_batch",
    "trainer",
    "callbacks",
    "logger",
    "report",
}


def entry_point(
    config_name: str, *, sentences: Sequence[str] = ()
) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Decorate `task(cfg)`: Hydra composes `conf/<config_name>.yaml`; users' mistakes end in one
    message on stderr and exit status 1, without a traceback. Values of the keys `sentences` are
    taken as typed, whatever characters they hold."""

    def decorate(task: Callable[[DictConfig], None]) -> Callable[[], None]:
        @functools.wraps(task)
        def job(cfg: DictConfig) -> None:
            try:
                task(cfg)
            except (InputError, FileError) as error:
                _fail(error)

        composed = hydra.main(
            version_base="1.3", config_path=str(CONFIG_DIR), config_name=config_name
        )(job)

        @functools.wraps(task)
        def main() -> None:
            sys.argv[1:] = [quote_sentence(arg, sentences) for arg in sys.argv[1:]]
            os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through to the handlers below
            try:
                composed()
            except (HydraException, OmegaConfBaseException) as error:
                cause = error.__cause__  # of what an object made from the config complains about
                _fail(cause if isinstance(cause, InputError | FileError) else error)
            except OSError as error:  # Hydra makes the run folder before the task starts
                if error.filename is None:
                    raise
                _fail(f"output_dir: cannot write to {error.filename}: {error.strerror}")

        return main

    return decorate


def quote_sentence(argument: str, keys: Sequence[str]) -> str:
    """`key=any text` as Hydra's grammar wants it quoted, for the given keys; others unchanged."""
    key, equals, text = argument.partition("=")
    if not equals or key not in keys:
        return argument
    text = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", text)  # no interpolation
    # Backslashes are literal except before a quote and at the end, where they are doubled.
    text = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + (r"\'" if m[2] else ""), text)
    return f"{key}='{text}'"


def _fail(error: Any) -> None:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)


def run_folder() -> Path:
    """The folder of this run, or of this job of a multirun."""
    return Path(HydraConfig.get().runtime.output_dir)


def is_multirun() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def refuse_ranks_in_multirun(world_size: int) -> None:
    """Raises InputError for several ranks in a multirun that stays in this process.

    Every further rank would start the whole sweep again: jobs would hang, or run on fewer devices
    than they report.
    """
    launcher = HydraConfig.get().launcher.get("_target_", "")
    if world_size > 1 and is_multirun() and "submitit" not in launcher:
        raise InputError(
            f"--multirun with {world_size} processes per job cannot run in one process. Use one "
            "device per job (trainer.devices=1), one process per run (`wandb sweep`, "
            "`make sweep`, or a shell loop), or hydra/launcher=slurm with one task per device"
        )


def check_folder_of_ranks() -> None:
    """Raises InputError where torchrun or srun started this rank without a common output_dir."""
    started = "TORCHELASTIC_RUN_ID" in os.environ or (
        "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1
    )
    overrides = HydraConfig.get().overrides
    given = any(o.startswith("output_dir=") for o in overrides.task) or any(
        o.startswith("hydra.run.dir=") for o in overrides.hydra
    )
    if started and not given and not is_multirun():
        raise InputError(
            "under torchrun and srun every process resolves its own run folder: give "
            "output_dir=..., one for all"
        )


def check_folder(
    folder: Path, cfg: DictConfig, *, inputs: dict[str, Any], results: Sequence[str]
) -> None:
    """Raise InputError, naming each difference, if `folder` holds `results` (names of what a run
    writes) of other settings, or of unknown ones. `inputs` identifies the data (hashes)."""
    found = [name for name in results if (folder / name).exists()]
    if not found:
        return
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise InputError(
            f"output_dir {folder} holds results of unknown settings ({', '.join(found)} without "
            f"{SETTINGS_FILE}); choose another folder"
        )
    before = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    now = flat(_settings(cfg, inputs))
    differences = [
        f"{key.removeprefix('config.')}: was {before.get(key)!r}, now {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not _is_free(key.removeprefix("config."))
    ]
    if differences:
        title = f"output_dir {folder} holds results of other settings; choose another folder"
        raise InputError(list_problems(title, differences))


def claim_folder(
    folder: Path, cfg: DictConfig, *, inputs: dict[str, Any], results: Sequence[str]
) -> None:
    """Make `folder` this run's: record its settings; the same settings may run there again.

    The first of `results` is the file that says a run finished, and is removed. Raises InputError
    as `check_folder`.
    """
    check_folder(folder, cfg, inputs=inputs, results=results)
    (folder / results[0]).unlink(missing_ok=True)
    # Not through OmegaConf, which would look for interpolations in the user's sentences.
    text = yaml.safe_dump(_settings(cfg, inputs), sort_keys=False, allow_unicode=True)
    write_bytes(folder / SETTINGS_FILE, text.encode())


def _settings(cfg: DictConfig, inputs: dict[str, Any]) -> dict[str, Any]:
    return {"config": OmegaConf.to_container(cfg, resolve=True), "inputs": inputs}


def _is_free(key: str) -> bool:
    return key in _FREE_KEYS or key.partition(".")[0] in _FREE_KEYS


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """Nested settings -> {dotted key: value}."""
    if not isinstance(value, dict):
        return {key: value}
    result: dict[str, Any] = {}
    for name, item in value.items():
        result |= flat(item, f"{key}.{name}" if key else str(name))
    return result
