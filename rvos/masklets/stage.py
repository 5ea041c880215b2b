"""A split -> its masklet store: `{noun: [track per instance]}` per video, each computed once.

A source with networks also gives scores of the instances, which lie beside, in
`<stores>/masklet_scores/<store>/<video>.json.gz`.

The stage finds the noun of every expression, plans which (video, noun) runs are missing, and makes
them with the chosen source. A video's frames are decoded once for all its nouns.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from rvos.data.frames import FrameCache, Frames
from rvos.data.split import Split, Video
from rvos.errors import InputError
from rvos.masklets.source import VideoTask, coarse_of
from rvos.masks import (
    FileError,
    MaskletScores,
    MaskletTracks,
    TrackFiles,
    read_json,
    write_json,
)
from rvos.nouns.coco import broader
from rvos.nouns.finder import NounFinder, Nouns, parts, read_nouns, write_nouns
from rvos.settings import Flag, checked
from rvos.stages.devices import Place
from rvos.stages.run_folder import reading
from rvos.stages.runner import Advance, Stage, run_stage
from rvos.stages.store import AGAIN, Store
from rvos.stages.work import CoarseFiles, MaskletFiles, Work
from rvos.weights.provenance import digests

log = logging.getLogger(__name__)


@checked(frozen=False, kw_only=True)
class MadeMasklets(ABC):
    """A source whose masklets are made here and kept in a store; its fields are keys of its file.

    `noun` finds the noun of each expression; `nouns`, a file {video: {expression_id: noun}}, gives
    them instead. With `broader`, a noun without any masklet is looked for once more, by a broader
    word; that it was found by it is not kept.
    """

    noun: NounFinder
    nouns: str | None
    broader: Flag

    name: ClassVar[str]  # in the names of stores
    uses_gpu: ClassVar[bool] = False
    needs_truth: ClassVar[bool] = False
    reads_frames: ClassVar[bool] = True
    reads_coarse: ClassVar[bool] = False  # whether tasks have the coarse masks of their video
    by_expression: ClassVar[bool] = False  # whether masklets are of expressions, not of nouns
    may_have_scores: ClassVar[bool] = False  # whether `make_scored` gives any

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that decides the masks besides the data and the weights, as JSON values."""

    @abstractmethod
    def make(self, task: VideoTask, frames: Any) -> MaskletTracks:
        """A list of tracks, possibly empty, for each wanted noun (or expression_id).

        `frames` is what `open` gives; None for a source that reads none.
        """

    def make_scored(self, task: VideoTask, frames: Any) -> tuple[MaskletTracks, MaskletScores]:
        """What `make` gives, and how sure the networks were; a source without scores gives {}."""
        return self.make(task, frames), {}

    def completed(
        self, video: Video, nouns: dict[str, str], made: MaskletTracks, scores: MaskletScores
    ) -> tuple[MaskletTracks, MaskletScores]:
        """What is kept of a video: what was made, and its entries of several nouns ("cat. dog").

        Nouns made before there were scores have none, and neither has an entry with such a noun.
        """
        tracks, tracks_scores = dict(made), dict(scores)
        for entry in set(nouns.values()):
            names = parts(entry)
            several = [track for noun in names for track in made[noun]]
            # Two nouns may have found the very same masks.
            kept = [i for i, track in enumerate(several) if track not in several[:i]]
            tracks[entry] = [several[i] for i in kept]
            if names and all(noun in scores for noun in names):
                kinds = {
                    kind: [s for n in names for s in scores[n][kind]] for kind in scores[names[0]]
                }
                tracks_scores[entry] = {kind: [v[i] for i in kept] for kind, v in kinds.items()}
        return tracks, tracks_scores

    def weights_used(self) -> dict[str, str]:
        """{config key: path, or name on the hub} of the weights; empty for a source without."""
        return {}

    def bind(self, work: Work, coarse: CoarseFiles, nouns: Nouns) -> None:  # noqa: B027
        """What a source may need to know before it is asked for its settings."""

    def prepare(self, place: Place) -> None:  # noqa: B027
        """Load the networks. Called once in every process that has something to do."""

    def open(self, frames: Frames) -> Frames:
        """The frames, decoded once. Runs in a thread while the video before is made."""
        return FrameCache(frames).fill()

    def check(self, work: Work) -> None:
        """Find the nouns (the first process keeps them in the store), ground truth and weights.

        Raises InputError for what is missing or malformed, before hours of work.
        """
        if self.broader and self.by_expression:
            raise InputError(f"masklets.broader: {self.name} has no nouns to look for")
        self.find_nouns(work)
        if self.needs_truth and work.truth is None:
            raise InputError(
                f"masklets={self.name} needs a split with ground truth; {work.split.name} has none"
            )
        digests(self.weights_used())  # obtains them

    def tracks(self, work: Work, coarse: CoarseFiles) -> MaskletFiles:
        """The files of the split's masklets, made where they are missing, and the nouns.

        Raises InputError: frames, ground truth, nouns or weights missing or malformed.
        """
        nouns = self.find_nouns(work)
        self.bind(work, coarse, nouns)
        settings = {"name": self.name, **self.settings()}
        if self.broader and not self.by_expression:
            settings["broader"] = True
        store = work.store("masklets", settings, self.weights_used())
        stage = MaskletStage(self, store, nouns, coarse.tracks)
        failed = run_stage(stage, work.split, work.devices, leave_out=coarse.failed)
        return MaskletFiles(
            TrackFiles(store.path), nouns, self.by_expression, {**coarse.failed, **failed}
        )

    def find_nouns(self, work: Work) -> Nouns:
        """The nouns of all expressions: from `masklets.nouns`, else from the store's nouns.json.

        Where neither is there they are found, and the first process keeps them in the store.
        """
        split = work.split
        if self.nouns:
            return read_nouns(Path(self.nouns), split)
        store = work.stores.open("nouns", split, settings=vars(self.noun))
        path = store.path / "nouns.json"
        if path.is_file():
            log.info("nouns: %s (edit it to correct them)", path)
            return read_nouns(path, split)
        nouns = self.noun.for_split(split)
        if work.devices.is_first:
            write_nouns(path, nouns)
            log.info("nouns written to %s: correct them there and run again", path)
        return nouns


class ScoredMasklets(MadeMasklets):
    """A source whose networks also say how sure they are of each instance."""

    may_have_scores = True

    @abstractmethod
    def make_scored(self, task: VideoTask, frames: Any) -> tuple[MaskletTracks, MaskletScores]:
        """The tracks of each wanted noun, and the scores of each track."""

    def make(self, task: VideoTask, frames: Any) -> MaskletTracks:
        return self.make_scored(task, frames)[0]


class MaskletStage(Stage):
    """The missing nouns (or expressions) of each video, by one source."""

    name = "masklets"
    remarks_title = "without any masklet; refinement keeps their coarse masks"

    def __init__(self, source: MadeMasklets, store: Store, nouns: Nouns, coarse: TrackFiles):
        self.source, self.store, self.nouns, self.coarse = source, store, nouns, coarse
        self.reads_frames = source.reads_frames

    def missing(self, video: Video) -> bool:
        entries = () if self.source.by_expression else self.nouns[video.name].values()
        return not self._needed(video).union(entries) <= self._done(video)

    def problems(self, video: Video) -> list[str]:
        try:
            if self.source.reads_coarse:
                coarse_of(self.coarse, video)
        except FileError as error:
            return [str(error)]
        return []

    def plan(self, split: Split, videos: Sequence[Video], world_size: int) -> str:
        runs = [len(self._needed(video)) for video in split.videos]
        cached = sum(len(self._needed(video) & self._done(video)) for video in split.videos)
        expressions = sum(len(video.expressions) for video in split.videos)
        frames, todo = (sum(len(v.frames) for v in some) for some in (split.videos, videos))
        kind = "expression" if self.source.by_expression else "noun"
        return (
            f"masklets={self.source.name}, {split.name}: {len(split.videos)} videos, "
            f"{expressions} expressions, {sum(runs)} (video, {kind}) runs, {frames} frames\n"
            f"  cached: {cached} runs; to do: {sum(runs) - cached} runs in {len(videos)} videos, "
            f"{todo} frames, on {world_size} device(s)\n  store: {self.store.path}"
        )

    def prepare(self, place: Place) -> None:
        self.source.prepare(place)

    def open(self, frames: Frames) -> Frames:
        return self.source.open(frames)

    def make(
        self, video: Video, content: Frames | None, advance: Advance
    ) -> tuple[MaskletTracks, MaskletScores]:
        """All that is needed of the video; what is there already is read from its file."""
        wanted = tuple(sorted(self._needed(video) - self._done(video)))
        coarse = coarse_of(self.coarse, video) if self.source.reads_coarse else {}
        task = VideoTask(video, wanted, self.nouns.get(video.name, {}), coarse)
        made, scores = self.source.make_scored(task, content) if wanted else ({}, {})
        if self.source.broader and not self.source.by_expression:
            self._look_again(task, content, made, scores)
        self.remarks += [f"video {video.name}, {key}" for key, tracks in made.items() if not tracks]
        if self.store.has(video.name):
            before = self.store.read(video.name)
            made = {noun: t for noun, t in before.items() if len(parts(noun)) == 1} | made
            if self.source.may_have_scores and self._scores.has(video.name):
                scores = self._scores.read(video.name) | scores
        return made, scores

    def _look_again(
        self,
        task: VideoTask,
        content: Frames | None,
        made: MaskletTracks,
        scores: MaskletScores,
    ) -> None:
        """Fill in the nouns without masklets by those of a broader word."""
        words = {n: word for n, tracks in made.items() if not tracks and (word := broader(n))}
        if not words:
            return
        again = replace(task, wanted=tuple(sorted(set(words.values()))))
        more, more_scores = self.source.make_scored(again, content)
        for noun, word in words.items():
            made[noun] = more[word]
            if word in more_scores:
                scores[noun] = more_scores[word]

    @cached_property
    def _scores(self) -> Store:
        return self.store.beside("masklet_scores")

    def write(self, video: Video, made: tuple[MaskletTracks, MaskletScores]) -> None:
        """With the entries that name several nouns; then the index, from which plans are made."""
        value, scores = self.source.completed(video, self.nouns.get(video.name, {}), *made)
        if self.source.may_have_scores:
            self._scores.write(video.name, {noun: scores[noun] for noun in sorted(scores)})
        if self.source.by_expression:
            self.store.write(video.name, value)
            return
        self.store.write(video.name, {noun: value[noun] for noun in sorted(value)})
        write_json(self._index(video), sorted(value))

    def _needed(self, video: Video) -> set[str]:
        if self.source.by_expression:
            return {expression.expression_id for expression in video.expressions}
        return {part for entry in self.nouns[video.name].values() for part in parts(entry)}

    def _done(self, video: Video) -> set[str]:
        """What the video's file has (of nouns read off its index: planning reads no masks)."""
        if not self.store.has(video.name):
            return set()
        if self.source.by_expression:  # such a file is written whole
            return self._needed(video)
        path = self._index(video)
        with reading(path, AGAIN):
            return set(read_json(path)) if path.is_file() else set()

    def _index(self, video: Video) -> Path:
        return self.store.path / ".nouns" / f"{video.name}.json"
