"""Coarse masks -> one masklet per expression: `masklets=keyframe`.

The coarse mask of the frame that the model is most sure of prompts SAM 2, which tracks it to both
ends of the video. It stands alone or after the masklets of the expression's noun. The coarse masks
come from files; the model that made them is not known here.
"""

from collections import defaultdict
from dataclasses import fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rvos.data.frames import FrameCache
from rvos.data.split import Video
from rvos.errors import InputError
from rvos.masklets.files import NoMasklets
from rvos.masklets.flow import Flow
from rvos.masklets.sam2 import Sam2
from rvos.masklets.source import VideoTask, nouns_sha256
from rvos.masklets.stage import MadeMasklets
from rvos.masks import RLE, MaskletScores, MaskletTracks, Track, area
from rvos.nouns.finder import Nouns
from rvos.settings import all_checked, checked
from rvos.stages.work import CoarseFiles, MaskletFiles, MaskletSource, Work
from rvos.tracking.detect_and_track import Detection, Tracking
from rvos.tracking.flow import FlowTracker
from rvos.weights.provenance import digests


@checked(frozen=False, kw_only=True)
class KeyFrames(Tracking, MadeMasklets):
    """`masklets=keyframe`: SAM 2's settings; those of the noun's masklets, which `beside` names."""

    detect: Detection
    flow: FlowTracker
    beside: Literal["sam2", "flow"] | None

    name = "keyframe"
    by_expression = True
    reads_coarse = True

    def check(self, work: Work) -> None:
        """Find nouns and weights before hours of work. Raises InputError for what is missing."""
        if self.broader and self.beside is None:
            raise InputError(
                "masklets.broader: keyframe looks for nouns with masklets.beside=sam2 or flow alone"
            )
        all_checked(lambda: digests(self.weights_used()), lambda: self._nouns_source().check(work))

    def tracks(self, work: Work, coarse: CoarseFiles) -> MaskletFiles:
        """As `MadeMasklets.tracks`, after the masklets of the nouns, if they are asked for."""
        self._by_noun = self._nouns_source().tracks(work, coarse)
        return super().tracks(work, CoarseFiles(coarse.tracks, self._by_noun.failed))

    def find_nouns(self, work: Work) -> Nouns:
        return self._by_noun.nouns

    def bind(self, work: Work, coarse: CoarseFiles, nouns: Nouns) -> None:
        self._coarse = coarse

    def _nouns_source(self) -> MaskletSource:
        """What makes the masklets of the nouns; a new one, so that its networks go with it."""
        if self.beside is None:
            return NoMasklets()
        source: type[MadeMasklets] = Sam2 if self.beside == "sam2" else Flow
        return source(**{field.name: getattr(self, field.name) for field in fields(source)})

    def settings(self) -> dict[str, Any]:
        beside = None
        if files := self._by_noun.tracks:
            nouns = nouns_sha256(self._by_noun.nouns)
            beside = {"store": files.path.name, "nouns_sha256": nouns}
        coarse = self._coarse.tracks.identity()
        return {**super().settings(), "coarse": coarse, "with": beside}

    def make(self, task: VideoTask, frames: FrameCache) -> MaskletTracks:
        """One masklet per expression with a coarse mask; equal key frames share a pass."""
        from rvos.tracking.track import track_masks

        prompts: dict[int, dict[str, RLE]] = defaultdict(dict)  # {frame_idx: {expression_id: mask}}
        for key in (e.expression_id for e in task.video.expressions):
            coarse = task.coarse[key]
            frame_idx = key_frame(coarse.track, coarse.confidence)
            if frame_idx is not None and (mask := coarse.track[frame_idx]) is not None:
                prompts[frame_idx][key] = mask
        tracks: MaskletTracks = {e.expression_id: [] for e in task.video.expressions}
        for frame_idx, masks in sorted(prompts.items()):
            objects = track_masks(
                self._tracker,
                frames,
                frame_idx,
                list(masks.values()),
                objects_at_once=self.objects_at_once,
            )
            tracks |= {key: [tracked.track] for key, tracked in zip(masks, objects, strict=True)}
        return tracks

    def completed(
        self, video: Video, nouns: dict[str, str], made: MaskletTracks, scores: MaskletScores
    ) -> tuple[MaskletTracks, MaskletScores]:
        """After the masklets of each expression's noun."""
        if self._by_noun.tracks is None:
            return made, scores
        by_noun = self._by_noun.tracks.read(video.name)
        return {key: [*by_noun[nouns[key]], *tracks] for key, tracks in made.items()}, scores


def key_frame(track: Track, confidence: NDArray[np.float64]) -> int | None:
    """The frame with a mask and the highest confidence; of equals the largest mask, the first.

    None where no frame has a mask.
    """
    shown = [t for t, mask in enumerate(track) if area(mask)]
    return max(shown, key=lambda t: (confidence[t], area(track[t]), -t), default=None)
