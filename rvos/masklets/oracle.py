"""Ground-truth instances as masklets: the upper bound of any refinement, with optional errors.

The errors (dropped frames, dilation, swapped identities) come from one seed per video and
annotation id, so the same object errs alike under every noun.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from rvos.data.split import Truth, Video
from rvos.masklets.source import VideoTask, nouns_sha256
from rvos.masklets.stage import MadeMasklets
from rvos.masks import Mask, MaskletTracks, Track, decode, encode
from rvos.nouns.finder import Nouns, parts
from rvos.settings import Share, Whole, checked
from rvos.stages.work import CoarseFiles, Work


@checked
class Oracle:
    """Settings of `masklets=oracle`.

    drop: probability with which an instance is absent from a frame.
    dilate: largest growth (shrinkage, if the draw is negative) in pixels; each track draws its own.
    swap: probability per frame that two instances of a noun exchange identities from there on.
    seed: of all of these.
    """

    drop: Share
    dilate: Whole
    swap: Share
    seed: Whole

    def tracks(
        self, video: Video, annotations: Truth, expression_ids: Sequence[str]
    ) -> list[Track]:
        """One track per object that the given expressions refer to, in the order of the file.

        Raises InputError when an annotation is missing or malformed.
        """
        expressions = (e for e in video.expressions if e.expression_id in expression_ids)
        ids = [annotation_id for e in expressions for annotation_id in e.annotation_ids]
        noisy = [
            self._disturb(track, self._random(video.name, id_))
            for id_, track in annotations.tracks(video, ids).items()
        ]
        return self._swapped(noisy, self._random(video.name, "swap"))

    def _random(self, *names: str) -> Generator:
        text = "/".join([str(self.seed), *names])
        return np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))

    def _disturb(self, track: Track, random: Generator) -> Track:
        growth = int(random.integers(-self.dilate, self.dilate + 1))
        dropped = random.random(len(track)) < self.drop
        return [
            None if gone else _grown(mask, growth)
            for mask, gone in zip(track, dropped, strict=True)
        ]

    def _swapped(self, tracks: list[Track], random: Generator) -> list[Track]:
        if len(tracks) < 2 or not self.swap:
            return tracks
        order = list(range(len(tracks)))
        result: list[Track] = [[] for _ in tracks]
        for t in range(len(tracks[0])):
            if random.random() < self.swap:
                a, b = random.choice(len(tracks), 2, replace=False)
                order[a], order[b] = order[b], order[a]
            for i, source in enumerate(order):
                result[i].append(tracks[source][t])
        return result


@checked(frozen=False, kw_only=True)
class OracleMasklets(MadeMasklets):
    """`masklets=oracle`: ground-truth objects of the expressions that have the noun."""

    oracle: Oracle

    name = "oracle"
    needs_truth = True
    reads_frames = False

    def bind(self, work: Work, coarse: CoarseFiles, nouns: Nouns) -> None:
        assert work.truth is not None
        self._truth, self._nouns = work.truth, nouns

    def settings(self) -> dict[str, Any]:
        # Which objects a noun has follows from the nouns of all expressions.
        return {
            "oracle": vars(self.oracle),
            "nouns_sha256": nouns_sha256(self._nouns),
            "mask_dict_sha256": self._truth.fingerprint(),
        }

    def make(self, task: VideoTask, frames: None) -> MaskletTracks:
        return {
            noun: self.oracle.tracks(
                task.video,
                self._truth,
                [id_ for id_, entry in task.nouns.items() if noun in parts(entry)],
            )
            for noun in task.wanted
        }


def _grown(mask: Mask, pixels: int) -> Mask:
    """A mask dilated (eroded, if negative) by a disc of that radius; None if nothing is left."""
    if mask is None or pixels == 0:
        return mask
    size = 2 * abs(pixels) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    change = cv2.dilate if pixels > 0 else cv2.erode
    changed = change(np.ascontiguousarray(decode(mask)), disc)
    return encode(changed) if changed.any() else None
