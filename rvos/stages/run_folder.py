"""Run folders: the settings of the results in a folder, and whether a new run may write there."""

import logging
import os
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic_core import to_json

from rvos.data.formats import open_split
from rvos.data.split import Expression, Split, Video
from rvos.errors import InputError, list_problems
from rvos.masks import FileError, read_json, read_text, write_bytes, write_json
from rvos.stages.store import differences

log = logging.getLogger(__name__)
SETTINGS_FILE = "config.yaml"  # {"config": settings, "inputs": hashes of the data}
SPLIT_FILE = "split.json"  # {video: {"frames", "files", "size", "expressions": {id: text}}}
MASKLETS_FILE = "masklets.json"  # {"path" from the run folder, "by_expression"}
WANDB_ID_FILE = "wandb_id"  # of the W&B run that each start into the folder goes on with

T = TypeVar("T")
# Settings that change nothing, by what it is that they do not change: a whole group, or one key.
_CLIPS = frozenset(  # what a training makes of data
    f"data.{key}"
    for key in (
        *("train_split", "sources", "val_split", "val_clips", "clip", "seed"),
        *("batch_size", "global_batch_size"),
    )
)
NO_EFFECT: Mapping[str, frozenset[str]] = {
    # the results in a run folder: they may differ between two runs into it
    "results": frozenset(
        {
            "output_dir",
            "paths",
            "trainer",
            "callbacks",
            "logger",
            "report",
            "ckpt_path",
            "device",
            "shard",
            "shards",
            "claims",  # of runs by earlier versions
            "answers",  # the file that they make is refine.path
            "score.workers",
            "data.num_workers",
            "coarse.expression_batch",
        }
    ),
    # the scores of a split: a comparison of two runs does not list them
    "scores": frozenset(
        {
            "output_dir",
            "name",
            "paths",
            "task",
            "ablation",
            "report",
            "shard",
            "shards",
            "claims",
            "answers",  # the file that they make is refine.path
        }
    ),
    # what given weights answer: keys of conf/model that matter in training alone
    "answers": frozenset(
        {
            "_target_",
            "_partial_",
            "weights",
            "backbone_weights",
            "freeze_text_encoder",
            "dropout",
            "mti_dropout",
            "checkpoint_backbone",
            "checkpoint_encoder",
        }
    ),
    # what a program or command does; how many workers suit a machine may be said to all, but for
    # data.num_workers, which predict refuses with all of data
    "eval": _CLIPS
    | {"data.release"}
    | {
        f"trainer.{key}"
        for key in (
            *("max_epochs", "max_steps", "gradient_clip_val", "gradient_clip_algorithm"),
            *("check_val_every_n_epoch", "val_check_interval", "num_sanity_val_steps"),
            *("limit_train_batches", "limit_val_batches", "overfit_batches"),
        )
    },
    "predict": frozenset({"data", "ablation", "score.max_videos", "score.protocol", "score.extra"}),
    "train": frozenset(
        {
            *("refine", "masklets", "presence", "ablation", "coarse.checkpoint"),
            *("data.protocol", "data.release", "score.protocol", "score.missing", "score.extra"),
        }
    ),
    "data verify": _CLIPS | {"data.split", "data.name", "data.protocol", "data.skip_bad"},
}


@contextmanager
def reading(path: Path, todo: str = "eval.py writes it: run it again") -> Iterator[None]:
    """A file of a run that is read in this context and damaged: one InputError, with what to do."""
    try:
        yield
    except FileError as error:
        raise InputError(f"{error}; {todo}") from None
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        problem = f"{error!r:.100}"
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise InputError(f"{path}: not as rvos writes it: {problem}; {todo}") from None


def as_written(kind: TypeAdapter[T], content: Any) -> T:
    """What rvos has written as JSON: numbers are numbers there, and true is not 1.

    Raises ValueError for anything else.
    """
    return kind.validate_json(to_json(content), strict=True)


def has_no_effect(key: str, on: str, also: Collection[str] = ()) -> bool:
    """Whether a dotted key, or a group it is in, has no effect on `on` (a key of NO_EFFECT).

    `also` are keys and groups without effect beside those.
    """
    parts = key.split(".")
    groups = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return not groups.isdisjoint(NO_EFFECT[on].union(also))


def check_effects(on: str, typed: Sequence[str], also: Collection[str] = ()) -> None:
    """Raises InputError for settings (key=value) of the command line without effect on `on`."""
    keys = {text: text.lstrip("+~").partition("=")[0] for text in typed}
    if idle := [text for text, key in keys.items() if has_no_effect(key, on, also)]:
        raise InputError(list_problems(f"without effect in rvos {on}", idle))


def read_settings(folder: Path) -> dict[str, Any]:
    """The content of a run's config.yaml; empty where there is none. Raises InputError."""
    path = folder / SETTINGS_FILE
    try:
        content = yaml.safe_load(read_text(path)) if path.is_file() else {}
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: not the settings of a run: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("config", {}), dict):
        raise InputError(f"{path}: not the settings of a run: expected {{config: {{...}}}}")
    return content


def check_folder(
    folder: Path, settings: dict[str, Any], *, inputs: dict[str, Any], results: Sequence[str]
) -> None:
    """Raise InputError that names each difference if `folder` holds `results` of other settings.

    `settings` is the resolved config, `inputs` identifies the data (hashes), `results` are names
    of what a run writes. Results of unknown settings are refused too.
    """
    present = [name for name in results if (folder / name).exists()]
    if not present:
        return
    if not (folder / SETTINGS_FILE).is_file():
        raise InputError(
            f"output_dir {folder} holds results of unknown settings ({', '.join(present)} without "
            f"{SETTINGS_FILE}); choose another folder"
        )
    rows = differences(read_settings(folder), {"config": settings, "inputs": inputs})
    lines = [
        f"{key.removeprefix('config.')}: was {before!r}, now {now!r}"
        for key, before, now in rows
        if not has_no_effect(key.removeprefix("config."), on="results")
        and not (before is None and now is False)  # a switch that an earlier version had not
    ]
    if lines:
        title = f"output_dir {folder} holds results of other settings; choose another folder"
        raise InputError(list_problems(title, lines))


def claim_folder(
    folder: Path, settings: dict[str, Any], *, inputs: dict[str, Any], results: Sequence[str]
) -> None:
    """Make `folder` this run's: record its settings; the same settings may run there again.

    The first of `results` is the file that says a run finished, and is removed. Raises InputError
    as `check_folder`, and where the folder cannot be written.
    """
    check_folder(folder, settings, inputs=inputs, results=results)
    # Not through OmegaConf, which would look for interpolations in the user's sentences.
    content = {"config": settings, "inputs": inputs}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    try:
        (folder / results[0]).unlink(missing_ok=True)
        write_bytes(folder / SETTINGS_FILE, text.encode())
    except OSError as error:
        raise InputError(
            f"output_dir: cannot write to {error.filename or folder}: {error.strerror}"
        ) from None


@dataclass(frozen=True)
class KeptVideo:
    """A video as a run has used it: what reads the run needs neither the video nor the dataset."""

    video: Video
    files: tuple[str, ...]  # names of the frames' files
    size: tuple[int, int] | None  # (height, width) of its frames, where they were there


@dataclass(frozen=True)
class _Kept:
    """A video in split.json."""

    frames: tuple[str, ...]
    files: tuple[str, ...]
    size: tuple[PositiveInt, PositiveInt] | None
    expressions: dict[str, str]


def keep_split(folder: Path, split: Split) -> None:
    """Record in a run folder which videos, frames and expressions the run uses."""
    content = {
        video.name: {
            "frames": video.frames,
            "files": split.files(video),
            "size": split.size(video),
            "expressions": {e.expression_id: e.text for e in video.expressions},
        }
        for video in split.videos
    }
    write_json(folder / SPLIT_FILE, content)


def kept_videos(folder: Path) -> list[KeptVideo]:
    """The videos of a run. Raises InputError where the run has not recorded them."""
    path = folder / SPLIT_FILE
    if not path.is_file():
        raise InputError(
            f"{folder}: expected the folder of a run of eval.py or predict.py, with {SPLIT_FILE}. "
            "If an older rvos made it, start the run again with its settings"
        )
    with reading(path):
        kept = as_written(_SPLIT, read_json(path))
    # Names of one's own files may be what a dataset's may not: long, with backslashes.
    wrong = [
        name
        for name, one in kept.items()
        if len(one.files) != len(one.frames)
        or not one.frames
        or not {"", ".", ".."}.isdisjoint([*name.split("/"), *one.frames])
        or any("/" in frame for frame in one.frames)
    ]
    if wrong:
        raise InputError(list_problems(f"{path}: not the videos of a run", [*map(repr, wrong)]))
    return [
        KeptVideo(
            Video(
                name,
                tuple(one.frames),
                tuple(Expression(name, id_, text, ()) for id_, text in one.expressions.items()),
            ),
            one.files,
            one.size,
        )
        for name, one in kept.items()
    ]


def used_split(folder: Path, config: Mapping[str, Any]) -> Split:
    """The split as a run used it, with what the dataset says of it where that is still there.

    `config` has the run's settings. Raises InputError where the run has not recorded its videos.
    """
    videos = [kept.video for kept in kept_videos(folder)]
    with reading(folder / SETTINGS_FILE):
        data = config["data"]
        kind, root, name, meta = data["format"], data["root"], data["split"], data.get("meta")
    try:
        split = open_split(kind, root, name, meta=meta)
    except InputError as error:
        log.warning("%s. The run is read without its dataset: no pictures of frames", error)
        split = Split(Path(root) / name, name, (), "")
    known = {(e.video, e.expression_id): e for v in split.videos for e in v.expressions}

    def used(e: Expression) -> Expression:
        return replace(known.get((e.video, e.expression_id), e), text=e.text)

    as_used = (replace(v, expressions=tuple(map(used, v.expressions))) for v in videos)
    return replace(split, videos=tuple(as_used))


@dataclass(frozen=True)
class MaskletsRecord:
    """Where the masklets of a run lie."""

    path: str  # from the run folder
    by_expression: bool  # a list per expression, and not per noun

    @classmethod
    def read(cls, folder: Path) -> "MaskletsRecord":
        """That of a run. Raises InputError."""
        with reading(folder / MASKLETS_FILE):
            return as_written(_MASKLETS, read_json(folder / MASKLETS_FILE))


@dataclass(frozen=True)
class _Window:
    start: NonNegativeInt
    stop: NonNegativeInt
    selected: list[NonNegativeInt]


@dataclass(frozen=True)
class _Presence:
    value: float


@dataclass(frozen=True)
class _Decision:
    """What is read of what a run decided on one expression; there is more."""

    noun: str
    windows: list[_Window] | None = None
    presence: _Presence | None = None


def read_decisions(folder: Path, video: str) -> dict[str, Any]:
    """{expression_id: what the run decided} of one video, as in its file. Raises InputError."""
    path = folder / "decisions" / f"{video}.json"
    with reading(path):
        decisions = read_json(path)
        as_written(_DECISIONS, decisions)
    return decisions


def wandb_id(folder: Path, given: str | None) -> str | None:
    """The id of a folder's W&B run: the given one, else that kept there, else a new one.

    None where the environment names the run (`wandb agent`, WANDB_RUN_ID).
    """
    if given or {"WANDB_SWEEP_ID", "WANDB_RUN_ID"} & os.environ.keys():
        return given
    file = folder / WANDB_ID_FILE
    return file.read_text(encoding="utf-8") if file.is_file() else secrets.token_hex(4)


def keep_wandb_id(folder: Path, run_id: str) -> None:
    """Remember the id of the folder's W&B run."""
    write_bytes(folder / WANDB_ID_FILE, run_id.encode())


_SPLIT, _MASKLETS = TypeAdapter(dict[str, _Kept]), TypeAdapter(MaskletsRecord)
_DECISIONS = TypeAdapter(dict[str, _Decision])
