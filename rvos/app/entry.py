"""How the entry points start: composed config in, one clear error and exit status out."""

import functools
import os
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rvos import CONFIG_DIR
from rvos.app.arguments import as_typed, explained, own_configs
from rvos.errors import InputError, one_message

if TYPE_CHECKING:  # with the checks of settings, which --help does without
    from rvos.stages.devices import Devices
    from rvos.stages.sharding import Sharing

Task = Callable[[DictConfig], Any]


def entry_point(
    config_name: str, *, short_help: bool = False
) -> Callable[[Task], Callable[[], Any]]:
    """Decorate `task(cfg)`: Hydra composes `conf/<config_name>.yaml` and calls it.

    `--help` shows all settings; with `short_help` those of that file alone, and `--help-all` all.

    Users' mistakes end in one message on stderr and exit status 1, without a traceback. What the
    task returns is what a Hydra sweeper optimises. Sentences and paths are taken as typed.
    """

    def decorate(task: Task) -> Callable[[], Any]:
        in_task = False

        @functools.wraps(task)
        def job(cfg: DictConfig) -> Any:
            nonlocal in_task
            in_task = True
            # What is derived from read-only data goes there too, in all processes of this run.
            os.environ["RVOS_STORES"] = str(cfg.paths.stores)
            with one_message(), explained():  # here, since Hydra says more of what leaves a job
                from rvos.stages.run_folder import check_effects

                check_effects(config_name, HydraConfig.get().overrides.task, unread(cfg))
                if cfg.weights.revision is not None:
                    from rvos.weights.local import use_revisions

                    use_revisions(cfg.weights.revision)
                result = task(cfg)
            in_task = False
            return result

        composed = hydra.main(
            version_base="1.3", config_path=str(CONFIG_DIR), config_name=config_name
        )(job)

        @functools.wraps(task)
        def main() -> Any:
            nonlocal in_task
            in_task = False
            os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through to the handlers below
            # Read when torch is imported. By default threads that wait for one without a core spin:
            # beside another job on the same cores, a forward pass takes twenty times as long.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            with one_message(), explained():
                sys.argv[1:] = arguments = as_typed(sys.argv[1:], config_name)
                overrides = [word for word in arguments if not word.startswith("-")]
                flags = {*arguments} - {*overrides}
                try:
                    if flags in ({"--help"}, {"-h"}, {"--help-all"}):
                        short = short_help and flags != {"--help-all"}
                        page = _own_settings(config_name) if short else _all(config_name, overrides)
                        print(sys.modules[task.__module__].__doc__, page, sep="\n")
                        return None
                    import rvos.settings  # noqa: F401, what ${shipped:...} in conf/ is

                    return composed()
                except ConfigCompositionException as error:
                    raise InputError(with_near_key(str(error), config_name, overrides)) from None
                except (OSError, ValueError, TypeError, AssertionError) as error:
                    if in_task:
                        raise
                    # Hydra makes the run folder before the task, and opens its log.
                    cause = error if isinstance(error, OSError) else error.__cause__
                    if isinstance(cause, OSError):
                        told = f"output_dir: cannot write to {cause.filename}: {cause.strerror}"
                    elif isinstance(error, UnicodeDecodeError):  # Hydra does not name the file
                        from rvos.masks.files import NO_UTF8

                        files = (own_configs(arguments) or CONFIG_DIR).rglob("*.yaml")
                        its = (file for file in files if file.read_bytes() == error.object)
                        told = f"{next(its, 'a file of settings')}: {NO_UTF8}: {error}"
                    else:
                        told = f"{' '.join(arguments)}: {error}"
                    raise InputError(told) from None

        return main

    return decorate


def _all(config_name: str, overrides: Sequence[str]) -> str:
    """All groups and settings; Hydra's own page takes twice as long: it copies itself per group."""
    groups: dict[str, list[str]] = {}
    for file in sorted(CONFIG_DIR.glob("*/*.yaml")):
        groups.setdefault(file.parent.name, []).append(file.stem)
    settings = OmegaConf.to_yaml(_composed(config_name, overrides))
    choices = "\n".join(f"  {group}: {', '.join(names)}" for group, names in groups.items())
    return (
        f"Groups and their choices (group=choice):\n\n{choices}\n\n"
        f"Settings (key=value):\n\n{settings}\n"
        "Flags: --multirun, --cfg job (the settings alone), --config-dir DIR (own choices); "
        "--hydra-help lists all"
    )


def _own_settings(config_name: str) -> str:
    """What stands in conf/<config_name>.yaml itself, with its comments."""
    text = (CONFIG_DIR / f"{config_name}.yaml").read_text()
    before, _, settings = text.partition(f"task: {config_name}\n")
    comments = [line[2:] for line in before.splitlines() if line.startswith("#")]
    lines = [*comments[1:], "", *settings.splitlines()]
    return (
        re.sub(r"\$\{text:(\w+)\}", r"\1", "\n".join(lines))
        + "\n\n--help-all shows the settings of all stages."
    )


def _composed(config_name: str, overrides: Sequence[str]) -> DictConfig:
    with hydra.initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return hydra.compose(config_name, list(overrides))


def with_near_key(message: str, config_name: str, overrides: Sequence[str]) -> str:
    """What Hydra says, in our words where a key is unknown: with the most similar one."""
    from rvos.stages.store import flat

    match = re.search(r"Could not override '([^']+)'", message)
    if match is None:  # a choice that is not there: the others are listed, and then folders
        return message.partition("\nConfig search path:")[0].rstrip()
    key = match[1]
    rest = [text for text in overrides if "=" in text and text.partition("=")[0] != key]
    try:
        settings: Any = OmegaConf.to_container(_composed(config_name, rest))
        groups = {*settings, "experiment"} - {key}
        near = get_close_matches(key, [*flat(settings), *groups], n=1)
    except ConfigCompositionException:  # of another override
        near = []
    hint = f"did you mean {near[0]}?" if near else "--help lists all"
    return f"{key}: no such key; {hint} (+{key}=... adds a key to the settings)"


def unread(cfg: DictConfig) -> set[str]:
    """Keys and groups that the chosen sources of a run do not read."""
    from rvos.stages.run_folder import NO_EFFECT
    from rvos.stages.store import flat

    if "answers" not in cfg:  # a training
        return set()
    of_model = {f"model.{key}" for key in NO_EFFECT["answers"] if not key.startswith("_")}
    coarse = flat(OmegaConf.to_container(cfg.coarse, resolve=False), "")
    unread = of_model if any("model" in key.split(".") for key in coarse) else {"model"}
    if cfg.answers.model is None:
        unread |= {f"answers.{key}" for key in cfg.answers if key != "model"}
    return unread


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as plain values, each setting once."""
    settings = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(settings, dict)
    settings.get("coarse", {}).pop("model", None)  # stands at the top level
    return {str(key): value for key, value in settings.items()}


def weights_used(cfg: DictConfig, groups: Sequence[str]) -> dict[str, str]:
    """{setting: weights} of these groups, for `rvos.weights.local.obtain`, which needs no torch."""
    from rvos.stages.store import flat

    settings = plain(cfg)
    used = {
        key: value
        for group in groups
        for key, value in flat(settings[group], group).items()
        if key.rpartition(".")[2] in ("weights", "backbone_weights", "checkpoint")
        and isinstance(value, str)
    }
    tokenizer = settings["model"].get("tokenizer", "words")
    if ("coarse.checkpoint" in used or "model" in groups) and tokenizer != "words":
        used["model.tokenizer"] = tokenizer
    return used


def devices_of(cfg: DictConfig, *, uses_gpu: bool, sharing: "Sharing | None" = None) -> "Devices":
    """Lightning's devices where a network or several devices are used, else this process alone.

    The latter needs no torch. Raises InputError as `check_ranks`.
    """
    from rvos.stages.devices import OneDevice

    if not uses_gpu and cfg.trainer.devices in (1, "1") and cfg.trainer.num_nodes == 1:
        return OneDevice(sharing=sharing)
    from rvos.stages.lightning import TrainerDevices, make_trainer

    trainer = make_trainer(cfg.trainer, logger=False, enable_checkpointing=False)
    check_ranks(trainer.world_size)
    return TrainerDevices(trainer, sharing)


def run_folder(cfg: DictConfig) -> Path:
    """The folder of this run, or of this job of a multirun; all shards have one.

    Raises InputError for shards without `output_dir`.
    """
    if OmegaConf.select(cfg, "shard") is None:
        return Path(HydraConfig.get().runtime.output_dir)
    if not any(o.startswith("output_dir=") for o in HydraConfig.get().overrides.task):
        raise InputError("shard: all shards write to one run folder; give output_dir=...")
    return Path(cfg.output_dir)


def folder_is_fixed() -> bool:
    """Whether the other processes and later starts of this job have the same run folder."""
    overrides = HydraConfig.get().overrides
    return (
        is_multirun()
        or any(o.startswith("output_dir=") for o in overrides.task)
        or any(o.startswith("hydra.run.dir=") for o in overrides.hydra)
    )


def is_multirun() -> bool:
    """Whether Hydra runs a sweep (`--multirun`)."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def check_ranks(world_size: int) -> None:
    """Raises InputError for several processes where they would go wrong.

    In a multirun that stays in this process, every further one would start the whole sweep again.
    Under torchrun and srun each would resolve a run folder of its own.
    """
    launcher = HydraConfig.get().launcher.get("_target_", "")
    if world_size > 1 and is_multirun() and "submitit" not in launcher:
        raise InputError(
            f"--multirun with {world_size} processes per job cannot run in one process. Use one "
            "device per job (trainer.devices=1), one process per run (`wandb sweep`, "
            "`make sweep`, or a shell loop), or hydra/launcher=slurm with one task per device"
        )
    started = "TORCHELASTIC_RUN_ID" in os.environ or (
        "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1
    )
    if started and not folder_is_fixed():
        raise InputError(
            "under torchrun and srun every process resolves its own run folder: give "
            "output_dir=..., one for all"
        )
