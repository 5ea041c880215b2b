"""Nouns -> masklets of all their instances, found in every frame and tracked: `masklets=sam3`.

Torch is imported when the network is loaded, so that wrong settings are named at once.
"""

from typing import Any, Literal

from rvos.data.frames import FrameCache
from rvos.masklets.source import VideoTask
from rvos.masklets.stage import ScoredMasklets
from rvos.masks import MaskletScores, MaskletTracks
from rvos.nouns.finder import parts
from rvos.settings import checked
from rvos.stages.devices import Place
from rvos.stages.runner import TooLarge
from rvos.stages.work import Work
from rvos.weights.kinds import HubFolder

SHORT = 30  # bytes of a noun that SAM 3 reads for certain: a token has one at least


@checked(frozen=False, kw_only=True)
class Sam3(ScoredMasklets):
    """`masklets=sam3`: every instance of the nouns, from the frame on in which SAM 3 sees it."""

    weights: HubFolder
    precision: Literal["bf16", "fp32"]

    name = "sam3"
    uses_gpu = True

    def settings(self) -> dict[str, Any]:
        """What decides the masks besides the weights, whose config has the thresholds."""
        return {"precision": self.precision}

    def weights_used(self) -> dict[str, str]:
        return {"masklets.weights": self.weights}

    def check(self, work: Work) -> None:
        super().check(work)
        nouns = {n for of_video in self.find_nouns(work).values() for n in of_video.values()}
        if doubtful := [p for noun in nouns for p in parts(noun) if len(p.encode()) > SHORT]:
            from rvos.tracking.sam3 import check_nouns, load_sam3_processor

            check_nouns(load_sam3_processor(self.weights), sorted(doubtful))

    def prepare(self, place: Place) -> None:
        from rvos.tracking.sam3 import ConceptSegmenter, load_sam3

        model, processor = load_sam3(self.weights)
        self._segmenter = ConceptSegmenter(
            model, processor, device=place.device, precision=self.precision
        )

    def make_scored(
        self, task: VideoTask, frames: FrameCache
    ) -> tuple[MaskletTracks, MaskletScores]:
        import torch

        try:
            return self._segmenter.segment(frames, task.wanted)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise TooLarge(
                f"masklets=sam3: out of GPU memory with {len(task.wanted)} nouns "
                f"({str(error)[:120]}); choose masklets.precision=bf16 or masklets=sam2"
            ) from None
