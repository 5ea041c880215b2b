"""Coarse masks of several models, made one: `coarse=several`. Needs no torch."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pycocotools import mask as coco
from pydantic import Field

from rvos.masks import (
    FileError,
    Track,
    TrackFiles,
    area,
    canonical_track,
    majority,
)
from rvos.settings import Text, all_checked, checked
from rvos.stages.store import given_files
from rvos.stages.work import CoarseFiles, Work


@checked
class Several:
    """`sources`: run folders (their refined masks), stores, or what `coarse=files` reads.

    `fusion`: `agreement` takes, for each expression, the track with the highest mean IoU with the
    others (`video_iou`; the earlier source where two are equal); `majority` the pixels that more
    than half of the sources have; `first` the track of the first source that has the expression.
    """

    sources: Annotated[Sequence[Text], Field(min_length=1)]
    fusion: Literal["agreement", "majority", "first"]

    uses_gpu: ClassVar[bool] = False
    may_have_scores: ClassVar[bool] = False

    def check(self, work: Work) -> None:
        """Raises SettingsError with all sources where nothing of the kind is."""
        _ = self._files

    def tracks(self, work: Work) -> CoarseFiles:
        """The sources, fused video by video when they are read."""
        return CoarseFiles(FusedTracks(self._files, self.fusion))

    @cached_property
    def _files(self) -> list[TrackFiles]:
        return all_checked(
            *(
                lambda path=path: given_files("coarse.sources", _masks_of(path))
                for path in self.sources
            )
        )


def _masks_of(path: str) -> str:
    """The refined masks of a run folder; anything else as it is."""
    refined = Path(path) / "refined"
    return str(refined) if refined.is_dir() else path


class FusedTracks(TrackFiles):
    """Reads as `TrackFiles` what several of them say. Raises FileError naming source and place."""

    def __init__(self, files: Sequence[TrackFiles], fusion: str):
        self.files, self.fusion = files, fusion
        self.path = files[0].path  # what messages name where no source has a video

    def videos(self) -> list[str]:
        return list(dict.fromkeys(video for files in self.files for video in files.videos()))

    def __contains__(self, video: str) -> bool:
        return any(video in files for files in self.files)

    def identity(self) -> Any:
        return {"fusion": self.fusion, "sources": [files.identity() for files in self.files]}

    def stamp(self, video: str) -> list[Any]:
        return [files.stamp(video) for files in self.files]

    def source(self, video: str) -> str:
        return ", ".join(files.source(video) for files in self.files)

    def folder_beside(self, stage: str) -> None:
        """Nothing lies beside masks of several sources."""

    def read(self, video: str, frames: Sequence[str] | None = None) -> dict[str, Any]:
        values = [files.read(video, frames) if video in files else {} for files in self.files]
        for files, value in zip(self.files, values, strict=True):
            if not isinstance(value, dict):
                raise FileError(f"{files.source(video)}: video {video}: expected an object")
        keys = dict.fromkeys(key for value in values for key in value)
        if self.fusion == "first":
            return {key: next(v[key] for v in values if key in v) for key in keys}
        fused = agreement if self.fusion == "agreement" else majority_of
        return {key: fused(self._tracks(video, key, values)) for key in keys}

    def _tracks(self, video: str, key: str, values: Sequence[dict[str, Any]]) -> list[Track]:
        tracks: list[Track] = []
        for files, value in zip(self.files, values, strict=True):
            where = f"{files.source(video)}: video {video}, expression {key}"
            if key not in value:
                raise FileError(
                    f"{where}: not there, coarse.fusion={self.fusion} needs all sources"
                )
            raw = value[key]
            track = canonical_track(raw) if isinstance(raw, list) else None
            if track is None or len({len(t) for t in (track, *tracks)}) > 1:
                raise FileError(f"{where}: malformed masks, or another number of them than before")
            tracks.append(track)
        sizes = {tuple(mask["size"]) for track in tracks for mask in track if mask is not None}
        if len(sizes) > 1:
            raise FileError(f"video {video}, expression {key}: masks of several sizes: {sizes}")
        return tracks


def video_iou(a: Track, b: Track) -> float:
    """Sum of the frames' intersections / sum of their unions; 1 if both tracks are empty."""
    overlap = [
        int(coco.area(coco.merge([x, y], intersect=True))) if x and y else 0
        for x, y in zip(a, b, strict=True)
    ]
    total = sum(map(area, a)) + sum(map(area, b)) - sum(overlap)
    return sum(overlap) / total if total else 1.0


def agreement(tracks: Sequence[Track]) -> Track:
    """The track with the highest mean IoU with the others; the earlier one where two are equal."""
    if len(tracks) == 1:
        return tracks[0]
    ious = np.array([[video_iou(a, b) for b in tracks] for a in tracks])  # (S, S)
    means = (ious.sum(1) - np.diag(ious)) / (len(tracks) - 1)
    return tracks[int(np.argmax(means.round(12)))]


def majority_of(tracks: Sequence[Track]) -> Track:
    """Pixels that are in more than half of the tracks, frame by frame."""
    return [majority(masks) for masks in zip(*tracks, strict=True)]
