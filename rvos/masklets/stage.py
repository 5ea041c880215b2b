"""A split -> its masklet store: `{noun: [track per instance]}` per video, each computed once.

A source with networks also gives scores of the instances, which lie beside, in
`<stores>/masklet_scores/<store>/<video>.json.gz`.

The stage finds the noun of every expression, plans which (video, noun) runs are missing, and makes
them with the chosen source. A video's frames are decoded once for all its nouns.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rvos.data.frames import Frames
from rvos.data.split import Split, Truth, Video
from rvos.errors import InputError
from rvos.masklets.source import (
    MaskletFiles,
    MaskletSource,
    VideoTask,
)
from rvos.masks import MaskletScores, MaskletTracks, Track, TrackFiles, read_json, write_json
from rvos.nouns.finder import Nouns, parts, read_nouns, write_nouns
from rvos.stages.devices import Devices, Place
from rvos.stages.runner import Advance, Stage, run_stage
from rvos.stages.store import Store, Stores
from rvos.weights.provenance import digests_formerly, origins

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class MadeMasklets(MaskletSource):
    """A source whose masklets are made here and kept in a store."""

    def check(self, split: Split, stores: Stores, truth: Truth | None, *, write: bool) -> None:
        """Find the nouns (kept in the store if `write`) and the weights, before hours of work.

        Raises InputError for what is missing or malformed.
        """
        nouns = find_nouns(self, split, stores, write=write)
        self._bind(split, truth, nouns)
        self.checkpoint_sha256()

    def tracks(
        self,
        split: Split,
        stores: Stores,
        devices: Devices,
        truth: Truth | None,
        coarse: TrackFiles | None = None,
    ) -> MaskletFiles:
        """The files of the split's masklets, made where they are missing, and the nouns.

        `coarse` is for sources that start from coarse masks.

        Raises InputError: frames missing or, after all other videos, not decodable; ground truth,
        nouns or weights missing or malformed.
        """
        nouns = find_nouns(self, split, stores, write=devices.is_first)
        self._bind(split, truth, nouns)
        store = stores.open(
            "masklets",
            split,
            settings={"name": self.name, **self.settings()},
            checkpoint_sha256=self.checkpoint_sha256(),
            origins=origins(self.weights_used()),
            formerly={"checkpoint_sha256": digests_formerly(self.weights_used())},
        )
        run_stage(MaskletStage(self, store, nouns), split, devices)
        return MaskletFiles(store.path, nouns, str(store.path))

    def _bind(self, split: Split, truth: Truth | None, nouns: Nouns) -> None:
        if self.needs_truth and truth is None:
            raise InputError(
                f"masklets={self.name} needs a split with ground truth; {split.name} has none"
            )
        self.bind(split, truth, nouns)


def find_nouns(source: MaskletSource, split: Split, stores: Stores, *, write: bool) -> Nouns:
    """The nouns of all expressions: from `masklets.nouns`, else from the store's nouns.json.

    Where neither is there they are found, and kept in the store if `write`.
    """
    if source.nouns:
        return read_nouns(Path(source.nouns), split)
    store = stores.open("nouns", split, settings=vars(source.noun))
    path = store.path / "nouns.json"
    if path.is_file():
        log.info("nouns: %s (edit it to correct them)", path)
        return read_nouns(path, split)
    nouns = source.noun.for_split(split)
    if write:
        write_nouns(path, nouns)
        log.info("nouns written to %s: correct them there and run again", path)
    return nouns


class MaskletStage(Stage):
    """The missing nouns of each video, by one source."""

    name = "masklets"
    remarks_title = "(video, noun) runs that found no instance; refinement keeps their coarse masks"

    def __init__(self, source: MaskletSource, store: Store, nouns: Nouns):
        self.source, self.store, self.nouns = source, store, nouns
        self.reads_frames = source.reads_frames
        self._empty: list[str] = []

    def missing(self, video: Video) -> bool:
        return not set(self.nouns[video.name].values()) | self._needed(video) <= self._done(video)

    def cost(self, video: Video) -> int:
        return len(video.frames)

    def plan(self, split: Split, videos: Sequence[Video], world_size: int) -> str:
        runs = [len(self._needed(video)) for video in split.videos]
        cached = sum(len(self._needed(video) & self._done(video)) for video in split.videos)
        expressions = sum(len(video.expressions) for video in split.videos)
        frames, todo = (sum(len(v.frames) for v in some) for some in (split.videos, videos))
        return (
            f"masklets={self.source.name}, {split.name}: {len(split.videos)} videos, "
            f"{expressions} expressions, {sum(runs)} (video, noun) runs, {frames} frames\n"
            f"  cached: {cached} runs; to do: {sum(runs) - cached} runs in {len(videos)} videos, "
            f"{todo} frames, on {world_size} device(s)\n  store: {self.store.path}"
        )

    def prepare(self, place: Place) -> None:
        self.source.prepare(place)

    def open(self, frames: Frames) -> Frames:
        return self.source.open(frames)

    def make(
        self, video: Video, frames: Frames | None, advance: Advance
    ) -> tuple[MaskletTracks, MaskletScores]:
        """All single nouns of the video, those that are there already read from its file."""
        wanted = self._needed(video) - self._done(video)
        task = VideoTask(video, tuple(sorted(wanted)), self.nouns[video.name])
        made, scores = self.source.make_scored(task, frames) if wanted else ({}, {})
        self._empty += [f"{video.name}: {noun}" for noun, found in made.items() if not found]
        if self.store.has(video.name):
            before = self.store.read(video.name)
            made = {noun: t for noun, t in before.items() if len(parts(noun)) == 1} | made
            if self.source.may_have_scores and self._scores.has(video.name):
                scores = self._scores.read(video.name) | scores
        return made, scores

    @cached_property
    def _scores(self) -> Store:
        return self.store.beside("masklet_scores")

    def write(self, video: Video, made: tuple[MaskletTracks, MaskletScores]) -> None:
        """With the entries that name several nouns; then the index, from which plans are made."""
        value, scores = _with_entries(self.nouns[video.name], *made)
        if self.source.may_have_scores:
            self._scores.write(video.name, {noun: scores[noun] for noun in sorted(scores)})
        self.store.write(video.name, {noun: value[noun] for noun in sorted(value)})
        write_json(self._index(video), sorted(value))

    def remarks(self) -> list[str]:
        return self._empty

    def _needed(self, video: Video) -> set[str]:
        return {part for entry in self.nouns[video.name].values() for part in parts(entry)}

    def _done(self, video: Video) -> set[str]:
        """The nouns that the video's file has (read off its index: planning reads no masks)."""
        path = self._index(video)
        return set(read_json(path)) if path.is_file() and self.store.has(video.name) else set()

    def _index(self, video: Video) -> Path:
        return self.store.path / ".nouns" / f"{video.name}.json"


def _with_entries(
    nouns: Mapping[str, str], single: MaskletTracks, scores: MaskletScores
) -> tuple[MaskletTracks, MaskletScores]:
    """With the masklets of the video's noun entries that name several nouns ("cat. dog").

    Nouns made before there were scores have none, and neither has an entry with such a noun.
    """
    entries: MaskletTracks = {}
    of_entries: MaskletScores = {}
    for entry in set(nouns.values()):
        names = parts(entry)
        tracks = [track for noun in names for track in single[noun]]
        kept = _distinct(tracks)
        entries[entry] = [tracks[i] for i in kept]
        if names and all(noun in scores for noun in names):
            of_entries[entry] = {
                kind: [[score for noun in names for score in scores[noun][kind]][i] for i in kept]
                for kind in scores[names[0]]
            }
    return single | entries, scores | of_entries


def _distinct(tracks: Sequence[Track]) -> list[int]:
    """Positions without repetition: two nouns may have found the very same masks."""
    return [i for i, track in enumerate(tracks) if track not in tracks[:i]]
