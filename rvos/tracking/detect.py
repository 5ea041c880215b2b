"""Frame + noun -> boxes, by Grounding DINO (Liu et al., 2023) in transformers.

The prompt is the noun in lower case with a final period. Each noun has its own prompt: the model
lets image features attend to all words of a prompt, so a prompt of two nouns does not give the
boxes that each of them gives alone (tests/tracking/test_detect.py shows it). Batches therefore
consist of (frame, noun) pairs. A whole sentence may be a prompt too; then only the boxes whose
phrase names its subject count (`coarse=grounded`).
"""

import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import clip_boxes_to_image, nms, remove_small_boxes

from rvos.data.frames import Frame
from rvos.stages.runner import TooLarge
from rvos.tracking.pretrained import load_processor, load_strictly
from rvos.weights.tensors import check_numbers

log = logging.getLogger(__name__)
DOWNLOAD = "https://huggingface.co/IDEA-Research/grounding-dino-base, or -tiny for Swin-T"
OutOfMemory = torch.cuda.OutOfMemoryError


@dataclass(frozen=True)
class Boxes:
    """Detections of one noun in one frame, best first."""

    xyxy: NDArray[np.float32]  # (O, 4) pixels of the frame, inside it
    confidence: NDArray[np.float32]  # (O,) 0..1


@dataclass
class Detector:
    """Grounding DINO with its processor, as `load_detector` gives them."""

    model: Any
    processor: Any
    _: KW_ONLY
    box_threshold: float  # lowest confidence of a box
    text_threshold: float  # lowest confidence of the noun's words
    nms_iou: float  # of two boxes with a higher IoU the less confident is dropped
    batch_size: int  # pairs of frame and noun at once
    device: str

    def __post_init__(self) -> None:
        self.model = self.model.to(self.device).eval()
        self._told: set[str] = set()  # texts that were cut: a warning each

    def detect(
        self,
        frames: Sequence[Frame],
        nouns: Sequence[str],
        subjects: Sequence[str | None] | None = None,
    ) -> list[Boxes]:
        """One result per pair of an (H, W, 3) uint8 RGB frame and a noun; sizes may differ.

        Where `nouns` are sentences, `subjects` are the nouns that a box's phrase must have; None
        takes any phrase.

        Only frames of equal size share a batch, because padding would change the features of the
        backbone (Swin). Raises InputError when one frame does not fit into the GPU's memory.
        """
        results: list[Boxes] = []
        wanted = [None] * len(nouns) if subjects is None else subjects
        start = 0
        for stop in range(1, len(frames) + 1):
            full = stop - start == self.batch_size
            if full or stop == len(frames) or frames[stop].shape != frames[start].shape:
                results += self._batch(frames[start:stop], nouns[start:stop], wanted[start:stop])
                start = stop
        return results

    @torch.inference_mode()
    def _batch(
        self, frames: Sequence[Frame], nouns: Sequence[str], subjects: Sequence[str | None]
    ) -> list[Boxes]:
        inputs = self.processor(
            images=list(frames),
            text=[self._cut(prompt(noun)) for noun in nouns],
            padding=True,
            return_tensors="pt",
        ).to(self.device)
        try:
            outputs = self.model(**inputs)
        except OutOfMemory:
            if len(frames) == 1:
                raise TooLarge(
                    "out of GPU memory detecting in one frame; choose a smaller Grounding DINO "
                    "in detect.weights"
                ) from None
            torch.cuda.empty_cache()
            half = len(frames) // 2
            return [
                boxes
                for part in (slice(half), slice(half, None))
                for boxes in self._batch(frames[part], nouns[part], subjects[part])
            ]
        check_numbers({"boxes": outputs.pred_boxes}, "Grounding DINO's output")
        results = self.processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=self.box_threshold,
            text_threshold=self.text_threshold,
            target_sizes=[frame.shape[:2] for frame in frames],
        )
        return [
            self._cleaned(detected, frame.shape[:2], subject)
            for detected, frame, subject in zip(results, frames, subjects, strict=True)
        ]

    def _cut(self, text: str) -> str:
        """A prompt of at most as many tokens as the model reads; its own code cuts it likewise."""
        most = self.model.config.max_text_len
        tokens = self.processor.tokenizer(text)["input_ids"]
        if len(tokens) <= most:
            return text
        if text not in self._told:
            self._told.add(text)
            log.warning("Grounding DINO reads %d tokens of %d: %.60s...", most, len(tokens), text)
        kept = tokens[1 : most - 2]  # without its begin and end, and room for the period
        return self.processor.tokenizer.decode(kept) + "."

    def _cleaned(
        self, detected: dict[str, Any], size: tuple[int, int], subject: str | None = None
    ) -> Boxes:
        """Clip boxes to the frame; drop other phrases, empty ones and duplicates (NMS)."""
        boxes = clip_boxes_to_image(detected["boxes"].float().cpu(), size)  # (O, 4) xyxy
        large = remove_small_boxes(boxes, min_size=1).tolist()
        keep = [i for i in large if names(detected["text_labels"][i], subject)]
        boxes, scores = boxes[keep], detected["scores"].float().cpu()[keep]
        order = nms(boxes, scores, self.nms_iou)  # best first
        return Boxes(boxes[order].numpy(), scores[order].numpy())


def prompt(noun: str) -> str:
    """The noun as Grounding DINO expects it: " Cat" -> "cat."."""
    return noun.strip().lower().rstrip(".").strip() + "."


def names(phrase: str, subject: str | None) -> bool:
    """Whether the words of `subject` stand in a box's phrase, one behind the other.

    Case, accents and punctuation do not count: the model's tokenizer drops or parts them
    ("fire-truck" comes back as "fire - truck"). Without a subject any word will do.
    """
    if subject is None:
        return bool(phrase.strip())
    return f" {_words(subject)} " in f" {_words(phrase)} "


def _words(text: str) -> str:
    parted = unicodedata.normalize("NFD", text.lower())
    plain = "".join(c for c in parted if unicodedata.category(c) != "Mn")
    return " ".join(re.findall(r"[^\W_]+", plain))


def load_detector(weights: str, *, key: str = "masklets.detect.weights") -> tuple[Any, Any]:
    """Network and processor from a Hugging Face folder or name, which config key `key` gives.

    Raises InputError for weights that are missing or of another format.
    """
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    model = load_strictly(
        AutoModelForZeroShotObjectDetection,
        weights,
        kind="Grounding DINO",
        download=DOWNLOAD,
        key=key,
    )
    return model, load_processor(AutoProcessor, weights, key=key, download=DOWNLOAD)
