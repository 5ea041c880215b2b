"""A run's folder -> the tracks to export: its refined masks, or the masklets that it read."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rvos.data.split import Expression, Video, check_track
from rvos.errors import InputError, list_problems
from rvos.masks import Track, TrackFiles, read_json, size_of
from rvos.stages.run_folder import (
    MASKLETS_FILE,
    KeptVideo,
    MaskletsRecord,
    kept_videos,
    read_decisions,
    reading,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refined:
    """The refined masks of one video."""

    video: Video
    tracks: dict[str, Track]  # by expression_id
    files: tuple[str, ...]  # names of the frames' files
    size: tuple[int, int]  # (height, width) of masks and frames
    confidence: dict[str, float] = field(default_factory=dict)  # 0..1, of a presence rule


@dataclass(frozen=True)
class Masklets:
    """The masklets of one video, of which each expression, or each noun, has any number."""

    video: Video
    tracks: dict[str, list[Track]]  # by expression_id, or by noun
    files: tuple[str, ...]
    size: tuple[int, int]
    by_noun: bool = False


Exported = Refined | Masklets


@dataclass(frozen=True)
class Choice:
    """Which masks of a run; everything by default."""

    expressions: Sequence[str] | None = None  # expression_id or <video>/<expression_id>
    frames: tuple[int, int | None] = (0, None)  # positions: the first, and that after the last
    min_confidence: float | None = None  # 0..1: the least value of the run's presence rule

    def of(self, run: Path) -> Iterator[tuple[KeptVideo, dict[str, Any]]]:
        """The videos with their chosen expressions, and what the run decided on these, by id.

        Videos without a chosen expression are left out. Raises InputError.
        """
        videos = kept_videos(run)
        known = {name for kept in videos for e in kept.video.expressions for name in _names(e)}
        if unknown := [name for name in self.expressions or () if name not in known]:
            raise InputError(list_problems(f"--expressions: not in {run}", unknown))
        for kept in videos:
            path = run / "decisions" / f"{kept.video.name}.json"
            decisions = read_decisions(run, kept.video.name) if path.is_file() else {}
            chosen = tuple(
                e
                for e in kept.video.expressions
                if self.expressions is None or not _names(e).isdisjoint(self.expressions)
                if self._is_sure(decisions.get(e.expression_id, {}), run)
            )
            if chosen:
                yield replace(kept, video=replace(kept.video, expressions=chosen)), decisions

    def _is_sure(self, decision: Mapping[str, Any], run: Path) -> bool:
        if self.min_confidence is None:
            return True
        if "presence" not in decision:
            raise InputError(
                f"--min-confidence: {run} has no confidence; start it again with a presence rule, "
                "such as presence=coarse_score presence.threshold=0, which keeps all masks"
            )
        return decision["presence"]["value"] >= self.min_confidence


EVERYTHING = Choice()


def _names(expression: Expression) -> set[str]:
    return {expression.expression_id, f"{expression.video}/{expression.expression_id}"}


def refined_of(run: Path, choice: Choice = EVERYTHING) -> list[Refined]:
    """The refined masks of a run of eval.py or predict.py, video by video.

    A warning names the videos that are left out: those without any mask and without the frames,
    whose size is unknown, and those that have none of the chosen frames. Raises InputError where
    the run cannot be read or nothing is left.
    """

    def read(video: Video, _: Mapping[str, Any]) -> dict[str, list[Track]]:
        path = run / "refined" / f"{video.name}.json.gz"
        problems: list[str] = []
        with reading(path, "the run is not finished"):
            content = read_json(path)
            tracks = {
                e.expression_id: [
                    check_track(
                        content[e.expression_id],
                        video.frames,
                        None,
                        f"expression {e.expression_id}",
                        problems,
                    )
                ]
                for e in video.expressions
            }
        if problems:
            raise InputError(list_problems(f"{path}: malformed masks", problems))
        return tracks

    videos = []
    for found, decisions in _cut(run, choice, read):
        tracks = {key: track for key, (track,) in found.tracks.items()}
        values = {key: d["presence"]["value"] for key, d in decisions.items() if "presence" in d}
        videos.append(Refined(found.video, tracks, found.files, found.size, values))
    return videos


def masklets_of(run: Path, choice: Choice = EVERYTHING) -> list[Masklets]:
    """The masklets that the chosen expressions of a run had; else as `refined_of`."""
    if not (run / MASKLETS_FILE).is_file():
        raise InputError(f"--masklets: {run} read no masklets: no {MASKLETS_FILE}")
    record = MaskletsRecord.read(run)
    files = TrackFiles(run / record.path, instances=True)

    def read(video: Video, decisions: Mapping[str, Any]) -> dict[str, list[Track]]:
        content, tracks = files.read(video.name, video.frames), {}
        ids = [e.expression_id for e in video.expressions]
        with reading(run / "decisions" / f"{video.name}.json", "the run is not finished"):
            keys = ids if record.by_expression else [decisions[id_]["noun"] for id_ in ids]
        for key in keys:
            where, problems = f"{files.source(video.name)}: {key}", list[str]()
            if key not in content:
                raise InputError(f"--masklets: {where}: not there, but the run read it")
            tracks[key] = [
                check_track(track, video.frames, None, f"{where}, instance {i}", problems)
                for i, track in enumerate(content[key])
            ]
            if problems:
                raise InputError(list_problems("--masklets", problems))
        return tracks

    found = (masklets for masklets, _ in _cut(run, choice, read))
    return [replace(masklets, by_noun=not record.by_expression) for masklets in found]


def _cut(
    run: Path,
    choice: Choice,
    read: Callable[[Video, Mapping[str, Any]], dict[str, list[Track]]],
) -> list[tuple[Masklets, dict[str, Any]]]:
    """What `read` reads of the chosen expressions, in the chosen frames, and their decisions."""
    videos: list[tuple[Masklets, dict[str, Any]]] = []
    unknown: list[str] = []
    without: list[str] = []
    part = slice(*choice.frames)
    for kept, decisions in choice.of(run):
        tracks = read(kept.video, decisions)
        masks = [mask for of in tracks.values() for track in of for mask in track if mask]
        size = kept.size or next((tuple(mask["size"]) for mask in masks), None)
        size = size or _size_in_inputs(run, kept.video.name)
        if wrong := [mask["size"] for mask in masks if tuple(mask["size"]) != size]:
            text = f"{len(wrong)} masks of other sizes than {size}, such as {wrong[0]}"
            raise InputError(f"{run}: video {kept.video.name}: {text}")
        frames, files = kept.video.frames[part], kept.files[part]
        if size is None or not frames:
            (without if size else unknown).append(kept.video.name)
            continue
        tracks = {key: [track[part] for track in of] for key, of in tracks.items()}
        video = replace(kept.video, frames=frames)
        videos.append((Masklets(video, tracks, files, size), decisions))
    texts = [
        list_problems(title, names)
        for title, names in (
            ("videos of unknown size: no mask, and no frames in the run", unknown),
            ("videos without a frame of --frames", without),
        )
        if names
    ]
    if not videos:
        raise InputError("\n".join(texts) or "no expression has --min-confidence or more")
    for text in texts:
        log.warning(f"{text}\nThey are left out.")
    return videos


def _size_in_inputs(run: Path, video: str) -> tuple[int, int] | None:
    """(height, width) of the coarse masks and the truth that a run keeps of a video, if any."""
    path = run / "inputs" / f"{video}.json.gz"
    if not path.is_file():
        return None
    with reading(path):
        tracks = read_json(path)["tracks"].values()
        sizes = (size_of(mask) for track in tracks for mask in track)
        return next((size for size in sizes if size), None)
