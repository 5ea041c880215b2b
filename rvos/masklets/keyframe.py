"""Coarse masks -> one masklet per expression: `masklets=keyframe`.

The coarse mask of the frame that the model is most sure of prompts SAM 2, which tracks it to both
ends of the video. It stands alone or after the masklets of the expression's noun. The coarse masks
come from files; the model that made them is not known here.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rvos.data.frames import FrameCache, Frames
from rvos.data.split import Split, Truth, Video
from rvos.masklets.flow import Flow
from rvos.masklets.sam2 import Sam2
from rvos.masklets.source import MaskletFiles
from rvos.masklets.stage import MadeMasklets
from rvos.masks import RLE, FileError, Track, TrackFiles, area, canonical_track, read_json
from rvos.settings import all_checked, one_of, optional, require
from rvos.stages.devices import Devices, Place
from rvos.stages.runner import Advance, Stage, run_stage
from rvos.stages.store import Store, Stores
from rvos.tracking.flow import FlowTracker
from rvos.weights.provenance import digests_formerly, origins


def key_frames(**keys: Any) -> "KeyFrames":
    """The keys of conf/masklets/keyframe.yaml; `with`, a word of Python, is the field `beside`."""
    return KeyFrames(beside=keys.pop("with"), **keys)


@dataclass(kw_only=True)
class KeyFrames(Sam2):
    """`masklets=keyframe`: SAM 2's settings; those of the noun's masklets, which `beside` names."""

    flow: FlowTracker
    beside: str | None  # sam2 | flow

    name = "keyframe"
    may_have_scores = False

    def __post_init__(self) -> None:
        settings = SimpleNamespace(**{"with": self.beside})
        choices = {"with": optional(one_of("sam2", "flow"))}
        all_checked(super().__post_init__, lambda: require(settings, "masklets", **choices))

    def check(self, split: Split, stores: Stores, truth: Truth | None, *, write: bool) -> None:
        """Find nouns and weights before hours of work. Raises InputError for what is missing."""
        checks: list[Callable[[], Any]] = [self.checkpoint_sha256]
        if of_nouns := self._of_nouns():
            checks.append(lambda: of_nouns.check(split, stores, truth, write=write))
        all_checked(*checks)

    def tracks(
        self,
        split: Split,
        stores: Stores,
        devices: Devices,
        truth: Truth | None,
        coarse: TrackFiles | None = None,
    ) -> MaskletFiles:
        """The files `{expression_id: [track]}`, made where they are missing.

        Raises InputError as `MadeMasklets.tracks`, and listing coarse masks that are missing or
        malformed.
        """
        assert coarse is not None
        of_nouns = self._of_nouns()
        files = MaskletFiles(None, {}, "none")
        settings: dict[str, Any] = {"coarse": coarse.identity(), "with": None}
        if of_nouns:
            files = of_nouns.tracks(split, stores, devices, truth)
            nouns = json.dumps(files.nouns, sort_keys=True).encode()
            settings["with"] = {
                "store": Path(files.origin).name,
                "nouns_sha256": hashlib.sha256(nouns).hexdigest(),
            }
        store = stores.open(
            "masklets",
            split,
            settings={"name": self.name, **self.settings(), **settings},
            checkpoint_sha256=self.checkpoint_sha256(),
            origins=origins(self.weights_used()),
            formerly={"checkpoint_sha256": digests_formerly(self.weights_used())},
        )
        run_stage(KeyFrameStage(self, store, coarse, files), split, devices)
        return MaskletFiles(store.path, files.nouns, str(store.path), by_expression=True)

    def _of_nouns(self) -> MadeMasklets | None:
        """What makes the masklets of the nouns; a new one, so that its networks go with it."""
        if self.beside is None:
            return None
        made: type[Sam2] | type[Flow] = Sam2 if self.beside == "sam2" else Flow
        return made(**{field.name: getattr(self, field.name) for field in fields(made)})

    def settings(self) -> dict[str, Any]:
        return {"tracker": self.tracker, "precision": self.precision}

    def weights_used(self) -> dict[str, str]:
        return {"masklets.weights": self.weights}

    def prepare(self, place: Place) -> None:
        from rvos.tracking.sam2 import load_tracker

        self._tracker = load_tracker(
            self.tracker,
            self.weights,
            device=place.device,
            precision=self.precision,
            compile=self.compile,
        )

    def track(self, frames: FrameCache, frame_idx: int, masks: Sequence[RLE]) -> list[Track]:
        """One track per mask of a frame, in the same order."""
        from rvos.tracking.track import track_masks

        found = track_masks(
            self._tracker, frames, frame_idx, masks, objects_at_once=self.objects_at_once
        )
        return [one.track for one in found]


class KeyFrameStage(Stage):
    """The masklets of all expressions of a video; key frames that are equal share a pass."""

    name = "key-frame masklets"
    remarks_title = "expressions without a coarse mask: they have no key frame"

    def __init__(self, source: KeyFrames, store: Store, coarse: TrackFiles, of_nouns: MaskletFiles):
        self.source, self.store, self.coarse, self.of_nouns = source, store, coarse, of_nouns
        self._empty: list[str] = []

    def missing(self, video: Video) -> bool:
        return not self.store.has(video.name)

    def problems(self, video: Video) -> list[str]:
        try:
            self._coarse(video)
        except FileError as error:
            return [str(error)]
        return []

    def prepare(self, place: Place) -> None:
        self.source.prepare(place)

    def open(self, frames: Frames) -> FrameCache:
        return FrameCache(frames).fill()

    def make(self, video: Video, frames: Frames | None, advance: Advance) -> dict[str, list[Track]]:
        assert isinstance(frames, FrameCache)
        scores = frame_scores(self.coarse, video)
        prompts: dict[int, dict[str, RLE]] = defaultdict(dict)  # {frame_idx: {expression_id: mask}}
        for key, track in self._coarse(video).items():
            frame_idx = key_frame(track, scores[key])
            if frame_idx is None:
                self._empty.append(f"video {video.name}, expression {key}")
            elif (mask := track[frame_idx]) is not None:
                prompts[frame_idx][key] = mask
        tracks: dict[str, Track] = {}
        for frame_idx, masks in sorted(prompts.items()):
            found = self.source.track(frames, frame_idx, list(masks.values()))
            tracks |= dict(zip(masks, found, strict=True))
        of_nouns = self._of_nouns(video)
        return {
            e.expression_id: [
                *of_nouns.get(e.expression_id, []),
                *([tracks[e.expression_id]] if e.expression_id in tracks else []),
            ]
            for e in video.expressions
        }

    def remarks(self) -> list[str]:
        return self._empty

    def _coarse(self, video: Video) -> dict[str, Track]:
        """The checked coarse masks of all expressions. Raises FileError."""
        if video.name not in self.coarse:
            raise FileError(f"{self.coarse.path}: video {video.name} is not there")
        raw = self.coarse.read(video.name, video.frames)
        tracks = {}
        for key in (e.expression_id for e in video.expressions):
            found = raw.get(key) if isinstance(raw, dict) else None
            track = canonical_track(found) if isinstance(found, list) else None
            if track is None or len(track) != len(video.frames):
                where = f"{self.coarse.source(video.name)}: video {video.name}, expression {key}"
                raise FileError(f"{where}: expected {len(video.frames)} sound coarse masks")
            tracks[key] = track
        return tracks

    def _of_nouns(self, video: Video) -> dict[str, list[Track]]:
        """The masklets of each expression's noun; empty where they are not wanted."""
        if self.of_nouns.tracks is None:
            return {}
        by_noun = self.of_nouns.tracks.read(video.name)
        return {key: by_noun[noun] for key, noun in self.of_nouns.nouns[video.name].items()}


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
    content = read_json(path)["expressions"]
    for key, of_frame in scores.items():
        whole = content[key].get("long_term")
        for clip in content[key]["clips"]:
            query = (whole or clip)["query"]
            frame_idx = clip["start"] + clip["step"] * np.arange(clip["frames"])
            of_frame[frame_idx] = clip["scores"][query]
    return scores


def key_frame(track: Track, scores: NDArray[np.float64]) -> int | None:
    """The frame with a mask and the highest score; of equals that of the largest mask, the first.

    None where no frame has a mask.
    """
    shown = [t for t, mask in enumerate(track) if area(mask)]
    return max(shown, key=lambda t: (scores[t], area(track[t]), -t), default=None)
