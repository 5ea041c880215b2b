"""A split -> its masklet store: `{noun: [track per instance]}` per video, each computed once.

The stage finds the noun of every expression, plans which (video, noun) runs are missing, and makes
them with the chosen method. A video's frames are decoded once for all its nouns. Each video's file
is written atomically as soon as it is made, so a killed run continues where it was; several
processes share the work by `rank` and `world_size`, and the files do not depend on their number.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rvos import InputError, list_problems
from rvos.data.mevis import Annotations, Split, Video
from rvos.data.sharding import balance
from rvos.frames import FrameError, FrameFolder, Frames
from rvos.masklets.flow import FlowTracker
from rvos.masklets.noun import NounFinder, Nouns, parts, read_nouns, write_nouns
from rvos.masklets.oracle import Oracle
from rvos.masks import FileError, Track, TrackFiles, read_json, write_json
from rvos.stores import Store, file_sha256

log = logging.getLogger(__name__)

Masklets = dict[str, list[Track]]  # {noun: [track per instance]}, of one video


@dataclass(frozen=True)
class VideoTask:
    """What is to be made for one video."""

    video: Video
    wanted: tuple[str, ...]  # single nouns to make masklets of, sorted
    nouns: Mapping[str, str]  # {expression_id: noun} of the whole video


class Method(Protocol):
    """How masklets are made: one of `sam2`, `flow`, `oracle`."""

    reads_frames: bool

    def settings(self) -> dict[str, Any]:
        """Everything that decides the masks besides the data and the weights, as JSON values."""

    def checkpoint_sha256(self) -> str | None: ...

    def make(self, task: VideoTask, frames: Frames | None) -> Masklets:
        """A list of tracks, possibly empty, for each wanted noun."""


@dataclass(frozen=True)
class MaskletFiles:
    """What the refinement reads."""

    path: Path  # of {video: {noun: [track per instance]}}: our store, or files made elsewhere
    nouns: Nouns
    origin: str  # the store's folder, or "unknown origin" for given files

    @property
    def tracks(self) -> TrackFiles:
        """Opened when asked: other processes may still be writing before that."""
        return TrackFiles(self.path)


class FlowMethod:
    """Moving objects, the same for every noun (`flow.py`)."""

    reads_frames = True

    def __init__(self, tracker: FlowTracker):
        self.tracker = tracker

    def settings(self) -> dict[str, Any]:
        return {"flow": vars(self.tracker)}

    def checkpoint_sha256(self) -> None:
        return None

    def make(self, task: VideoTask, frames: Frames | None) -> Masklets:
        assert frames is not None
        tracks = self.tracker.track(frames, frames.size)
        return {noun: tracks for noun in task.wanted}


class OracleMethod:
    """Ground-truth objects of the expressions that have the noun (`oracle.py`)."""

    reads_frames = False

    def __init__(self, oracle: Oracle, annotations: Annotations, nouns: Nouns):
        self.oracle = oracle
        self.annotations = annotations
        self.nouns = nouns

    def settings(self) -> dict[str, Any]:
        # Which objects a noun has follows from the nouns of all expressions.
        text = json.dumps(self.nouns, sort_keys=True)
        return {
            "oracle": vars(self.oracle),
            "nouns_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "mask_dict_sha256": file_sha256(self.annotations.path),
        }

    def checkpoint_sha256(self) -> None:
        return None

    def make(self, task: VideoTask, frames: Frames | None) -> Masklets:
        return {
            noun: self.oracle.tracks(
                task.video,
                self.annotations,
                [id_ for id_, entry in task.nouns.items() if noun in parts(entry)],
            )
            for noun in task.wanted
        }


@dataclass(frozen=True)
class Plan:
    """What a run will do; `print` it before it starts."""

    name: str
    split: Split
    tasks: tuple[VideoTask, ...]  # still to be made, of this process
    num_runs: int  # (video, noun) runs in all
    num_cached: int  # of these, already in the store
    store: Store
    world_size: int = 1

    def __str__(self) -> str:
        videos = self.split.videos
        todo = sum(len(task.wanted) for task in self.tasks)
        share = f" of this process (1 of {self.world_size})" if self.world_size > 1 else ""
        return "\n".join(
            [
                f"masklets={self.name}, {self.split.name}: {len(videos)} videos, "
                f"{sum(len(v.expressions) for v in videos)} expressions, "
                f"{self.num_runs} (video, noun) runs, {sum(len(v.frames) for v in videos)} frames",
                f"  cached: {self.num_cached} runs; to do{share}: {todo} runs in "
                f"{len(self.tasks)} videos, {sum(len(t.video.frames) for t in self.tasks)} frames",
                f"  store: {self.store.path}",
            ]
        )


@dataclass(frozen=True)
class MaskletStage:
    """The settings of one run of this stage: the keys of conf/masklets. See `make_masklets`."""

    name: Literal["sam2", "flow", "oracle", "files"]
    path: str | None
    nouns: str | None
    noun: NounFinder
    flow: FlowTracker
    oracle: Oracle
    sam2: Mapping[str, Any]  # the rest; arguments of rvos.masklets.detect_and_track.Sam2Method

    def check(self, split: Split, *, data_name: str, stores: Path | str, write: bool) -> None:
        """Find the nouns (kept in the store if `write`) and the weights, before hours of other
        work. Raises InputError for what is missing or malformed."""
        nouns = self.find_nouns(split, data_name=data_name, stores=stores, write=write)
        if self.name != "files":
            self._method(split, nouns, "cpu").checkpoint_sha256()

    def run(
        self,
        split: Split,
        *,
        data_name: str,
        stores: Path | str,
        rank: int = 0,
        world_size: int = 1,
        device: str = "cpu",
    ) -> MaskletFiles:
        """Make what is missing in this process's share of the split.

        With several processes, call it in each and wait for all before reading the result.
        Raises InputError: frames missing or, after all other videos, not decodable; ground truth,
        nouns or weights missing or malformed.
        """
        nouns = self.find_nouns(split, data_name=data_name, stores=stores, write=rank == 0)
        if self.name == "files":
            return self._given_files(nouns)
        method = self._method(split, nouns, device)
        plan = self.plan(
            split,
            nouns,
            method,
            data_name=data_name,
            stores=stores,
            rank=rank,
            world_size=world_size,
        )
        if rank == 0:
            Console().print(str(plan), soft_wrap=True, highlight=False)
        _make(plan, method, progress=rank == 0 and bool(plan.tasks))
        return MaskletFiles(plan.store.path, nouns, str(plan.store.path))

    def make_one(
        self, video: Video, frames: Frames, *, device: str = "cpu"
    ) -> tuple[Masklets, dict[str, str]]:
        """Masklets of one's own video and the nouns of its expressions; nothing is kept in stores.

        Raises InputError for methods that need a dataset: `oracle` and `files`.
        """
        if self.name in ("oracle", "files"):
            raise InputError(f"masklets={self.name} needs a dataset; one's own video: flow, sam2")
        split = Split(Path(), "", (video,), "")
        nouns = read_nouns(Path(self.nouns), split) if self.nouns else self.noun.for_split(split)
        method = self._method(split, nouns, device)
        task = VideoTask(video, tuple(sorted(_single(nouns[video.name]))), nouns[video.name])
        return _with_entries(task, method.make(task, frames)), dict(nouns[video.name])

    def find_nouns(
        self, split: Split, *, data_name: str, stores: Path | str, write: bool = True
    ) -> Nouns:
        """From `masklets.nouns`, else from the store's nouns.json, else found and kept there."""
        if self.nouns:
            return read_nouns(Path(self.nouns), split)
        store = Store.open(
            Path(stores),
            "nouns",
            data_name=data_name,
            split=split.name,
            settings=vars(self.noun),
            checkpoint_sha256=None,
            meta_sha256=split.meta_sha256,
        )
        path = store.path / "nouns.json"
        if path.is_file():
            log.info("nouns: %s (edit it to correct them)", path)
            return read_nouns(path, split)
        nouns = self.noun.for_split(split)
        if write:
            write_nouns(path, nouns)
            log.info("nouns written to %s: correct them there and run again", path)
        return nouns

    def plan(
        self,
        split: Split,
        nouns: Nouns,
        method: Method,
        *,
        data_name: str,
        stores: Path | str,
        rank: int = 0,
        world_size: int = 1,
    ) -> Plan:
        """Which (video, noun) runs are missing in this process's share. Opens the store."""
        store = Store.open(
            Path(stores),
            "masklets",
            data_name=data_name,
            split=split.name,
            settings={"name": self.name, **method.settings()},
            checkpoint_sha256=method.checkpoint_sha256(),
            meta_sha256=split.meta_sha256,
        )
        tasks, num_runs, num_cached = [], 0, 0
        costs = [len(v.frames) * (1 + len(_single(nouns[v.name]))) for v in split.videos]
        mine = balance(costs, world_size)[rank]
        for i, video in enumerate(split.videos):
            needed = _single(nouns[video.name])
            entries = set(nouns[video.name].values())
            done = _done(store, video.name)
            missing = tuple(sorted(needed - done))
            num_runs += len(needed)
            num_cached += len(needed & done)
            if i in mine and (missing or not entries <= done):
                tasks.append(VideoTask(video, missing, nouns[video.name]))
        return Plan(self.name, split, tuple(tasks), num_runs, num_cached, store, world_size)

    def _method(self, split: Split, nouns: Nouns, device: str) -> Method:
        if self.name == "flow":
            return FlowMethod(self.flow)
        if self.name == "oracle":
            return OracleMethod(self.oracle, Annotations(split), nouns)
        from rvos.masklets.detect_and_track import Sam2Method  # imports torch, transformers

        return Sam2Method(**self.sam2, device=device)

    def _given_files(self, nouns: Nouns) -> MaskletFiles:
        if not self.path:
            raise InputError("masklets.path: expected a file or folder of masklets, got nothing")
        try:
            TrackFiles(self.path)
        except FileError as error:
            raise InputError(f"masklets.path: {error}") from None
        return MaskletFiles(Path(self.path), nouns, "unknown origin")


def make_masklets(
    *,
    name: str,
    path: str | None,
    nouns: str | None,
    noun: Mapping[str, Any],
    flow: Mapping[str, Any],
    oracle: Mapping[str, Any],
    **sam2: Any,
) -> MaskletStage:
    """The keys of conf/masklets/*.yaml -> the stage. Raises InputError for values out of range."""
    if name not in ("sam2", "flow", "oracle", "files"):
        raise InputError(f"masklets.name={name}: expected sam2, flow, oracle or files")
    return MaskletStage(
        name,
        path,
        nouns,
        NounFinder(**noun),
        FlowTracker(**flow),  # type: ignore
        Oracle(**oracle),
        sam2,
    )


# --------------------------------------------------------------------------- making files


def _make(plan: Plan, method: Method, *, progress: bool) -> None:
    """All videos of a plan, one file each; a video that fails does not stop the others."""
    frames = _open_all(plan) if method.reads_frames else {}
    problems: list[str] = []
    empty: list[str] = []
    with Progress(
        TextColumn("Masklets"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[video]}"),
        disable=not progress,
    ) as bar:
        total = sum(len(task.video.frames) for task in plan.tasks)
        shown = bar.add_task("", total=total, video="")
        for task in plan.tasks:
            bar.update(shown, video=task.video.name)
            try:
                made = method.make(task, frames.get(task.video.name)) if task.wanted else {}
            except FrameError as error:
                problems.append(str(error))
            else:
                _write(plan.store, task, made)
                empty += [f"{task.video.name}: {noun}" for noun, found in made.items() if not found]
            bar.advance(shown, len(task.video.frames))
    if empty:
        title = "(video, noun) runs that found no instance; refinement keeps their coarse masks"
        log.warning(list_problems(title, empty))
    if problems:
        raise InputError(list_problems("Videos without masklets; the others are done", problems))


def _open_all(plan: Plan) -> dict[str, Frames]:
    """Every video's frames, so that missing files are reported before the work begins."""
    opened: dict[str, Frames] = {}
    problems = []
    for task in plan.tasks:
        folder = plan.split.folder / "JPEGImages" / task.video.name
        try:
            opened[task.video.name] = FrameFolder(folder, task.video.frames)
        except FrameError as error:
            problems.append(str(error))
    if problems:
        raise InputError(list_problems("Frames missing", problems))
    return opened


def _write(store: Store, task: VideoTask, made: Masklets) -> None:
    """One video's file: what was there, what was made, and the entries that name several."""
    single = dict(made)
    if store.has(task.video.name):
        single = {n: t for n, t in store.read(task.video.name).items() if len(parts(n)) == 1} | made
    value = _with_entries(task, single)
    store.write(task.video.name, {noun: value[noun] for noun in sorted(value)})
    write_json(_index(store, task.video.name), sorted(value))


def _with_entries(task: VideoTask, single: Masklets) -> Masklets:
    """With the masklets of the video's noun entries that name several nouns ("cat. dog")."""
    entries = {
        entry: _distinct([track for noun in parts(entry) for track in single[noun]])
        for entry in set(task.nouns.values())
    }
    return single | entries


def _distinct(tracks: Sequence[Track]) -> list[Track]:
    """Without repetition: two nouns may have found the very same masks."""
    result: list[Track] = []
    for track in tracks:
        if track not in result:
            result.append(track)
    return result


def _index(store: Store, video: str) -> Path:
    """Beside the masks: which nouns a video's file has (planning reads no masks)."""
    return store.path / ".nouns" / f"{video}.json"


def _done(store: Store, video: str) -> set[str]:
    path = _index(store, video)
    return set(read_json(path)) if path.is_file() and store.has(video) else set()


def _single(nouns: Mapping[str, str]) -> set[str]:
    return {part for entry in nouns.values() for part in parts(entry)}
