"""What travels between a source of masklets and the stage."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rvos.data.split import Video
from rvos.masks import FileError, Track, TrackFiles, canonical_track, read_json
from rvos.nouns.finder import Nouns
from rvos.stages.run_folder import reading


@dataclass(frozen=True)
class CoarseTrack:
    """The coarse masks of one expression, (T,), and how sure the model is of each, in 0..1."""

    track: Track
    confidence: NDArray[np.float64]  # (T,); 0 where nothing is known


@dataclass(frozen=True)
class VideoTask:
    """What is to be made for one video."""

    video: Video
    wanted: tuple[str, ...]  # single nouns, or expression_ids, to make masklets of, sorted
    nouns: Mapping[str, str]  # {expression_id: noun} of the whole video
    # by expression_id, for a source that sets `reads_coarse`
    coarse: Mapping[str, CoarseTrack] = field(default_factory=dict)


def nouns_sha256(nouns: Nouns) -> str:
    """What identifies the nouns of all expressions of a split."""
    return hashlib.sha256(json.dumps(nouns, sort_keys=True).encode()).hexdigest()


def coarse_of(files: TrackFiles, video: Video) -> dict[str, CoarseTrack]:
    """The checked coarse masks of all expressions of a video. Raises FileError."""
    if video.name not in files:
        raise FileError(f"{files.path}: video {video.name} is not there")
    raw = files.read(video.name, video.frames)
    tracks: dict[str, Track] = {}
    for key in (e.expression_id for e in video.expressions):
        masks = raw.get(key) if isinstance(raw, dict) else None
        track = canonical_track(masks) if isinstance(masks, list) else None
        if track is None or len(track) != len(video.frames):
            where = f"{files.source(video.name)}: video {video.name}, expression {key}"
            raise FileError(f"{where}: expected {len(video.frames)} sound coarse masks")
        tracks[key] = track
    confidence = frame_scores(files, video)
    return {key: CoarseTrack(track, confidence[key]) for key, track in tracks.items()}


def frame_scores(coarse: TrackFiles, video: Video) -> dict[str, NDArray[np.float64]]:
    """How sure the model was of each frame's mask, by expression_id: (T,) in 0..1.

    It is the probability of the chosen query in the frame's sub-clip, read from `coarse_scores`
    beside the store; 0 everywhere for masks without such scores.
    """
    scores = {e.expression_id: np.zeros(len(video.frames)) for e in video.expressions}
    folder = coarse.folder_beside("coarse_scores")
    path = folder / f"{video.name}.json.gz" if folder else None
    if path is None or not path.is_file():
        return scores
    with reading(path, "make the store again with the run that made it"):  # perhaps another run
        content = read_json(path)["expressions"]
        for key, confidence in scores.items():
            whole = content[key].get("long_term")
            for clip in content[key]["clips"]:
                query = (whole or clip)["query"]
                frame_idx = clip["start"] + clip["step"] * np.arange(clip["frames"])
                confidence[frame_idx] = clip["scores"][query]
    return scores
