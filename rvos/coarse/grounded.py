"""Sentences -> coarse masks without fine-tuning, by Grounding DINO and SAM 2: `coarse=grounded`.

The whole sentence is the detector's prompt. A box counts if its phrase names the sentence's
subject, the head noun; all such boxes are tracked, and their union is the mask (Ren et al.,
Grounded SAM, 2024).
"""

from collections.abc import Sequence
from typing import Any

from rvos.coarse.sentences import Answer, AnswersSentences, choices, subjects_of
from rvos.data.frames import FrameCache
from rvos.data.split import merge_tracks
from rvos.settings import checked
from rvos.tracking.detect_and_track import DetectAndTrack, Detection


class Grounding(Detection):
    """`coarse.detect.*`: where and how Grounding DINO looks for the sentence."""


@checked(frozen=False, kw_only=True)
class Grounded(DetectAndTrack, AnswersSentences):
    """`coarse=grounded`: Grounding DINO's boxes of the sentence's subject, tracked by SAM 2."""

    name = "grounded"
    group = "coarse"

    def settings(self) -> dict[str, Any]:
        return {"subject": "rules", **super().settings()}

    def answers(self, frames: FrameCache, texts: Sequence[str]) -> dict[str, Answer]:
        subjects = subjects_of(texts)
        tracks, scores = self.instances(frames, texts, list(subjects.values()))
        answers = {}
        for text, subject in subjects.items():
            track = merge_tracks(tracks[text], len(frames))
            sure = choices(scores[text]["detector"], scores[text]["object"], len(frames))
            remark = "" if any(track) else "its subject was found nowhere"
            answers[text] = Answer(track, sure, remark, subject)
        return answers
