"""Videos, expressions and masks -> training clips.

One clip per (expression, anchor frame), anchors every `num_frames` frames. Every clip is a pure
function of (seed, epoch, index): the same whatever the number of workers and ranks. The rules
follow the fine-tuning code of MUTR for MeViS; docs/data.md lists its defects and our switches.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import Dataset

from rvos.data.frames import FrameError, image_size, normalise
from rvos.data.split import Expression, Split, Truth, Video
from rvos.errors import InputError
from rvos.masks import FileError, decode
from rvos.train import augment
from rvos.train.recipe import ClipRecipe

log = logging.getLogger(__name__)

Identity = tuple[str, str]  # video, expression_id

_frame_size = lru_cache(maxsize=4096)(image_size)  # of the first frame of each video


@dataclass(frozen=True)
class Sample:
    """One clip. Boxes are divided by w, h; where `valid` is False box and mask are empty."""

    frames: Tensor  # (T, 3, h, w) float32, ImageNet-normalised
    boxes_cxcywh_norm: Tensor  # (T, 4) float32 of 0..1
    masks: Tensor  # (T, h, w) bool, the union of the expression's objects
    valid: Tensor  # (T,) bool: the target is in the frame
    expression: str  # the text, as the model reads it
    identity: Identity
    frame_idx: Tensor  # (T,) int64, positions in Video.frames


@dataclass  # not frozen: Lightning assigns the fields of a copy when it casts to a precision
class Clip:
    """A batch of clips, padded at the bottom and right to one size."""

    frames: Tensor  # (B, T, 3, H, W) float32, zero in the padding
    padding: Tensor  # (B, H, W) bool, True on padded pixels
    sizes: Tensor  # (B, 2) int64: h, w of each clip without padding
    boxes_cxcywh_norm: Tensor  # (B, T, 4) float32, divided by each clip's own w, h
    masks: Tensor  # (B, T, H, W) bool
    valid: Tensor  # (B, T) bool
    expressions: tuple[str, ...]  # B texts
    identities: tuple[Identity, ...]
    frame_idx: Tensor  # (B, T) int64

    def __len__(self) -> int:
        return len(self.expressions)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Clip":
        """The same on another device."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Clip":
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "Clip":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        changed: Any = {name: change(tensor) for name, tensor in tensors.items()}
        return replace(self, **changed)


def collate(samples: Sequence[Sample], pad_to: int = 32) -> Clip:
    """B clips of T frames each, padded to the largest height and width among them.

    Both are rounded up to multiples of `pad_to` pixels.
    """
    sizes = torch.tensor([s.frames.shape[-2:] for s in samples])  # (B, 2)
    height, width = ((sizes.amax(0) + pad_to - 1) // pad_to * pad_to).tolist()
    count, num_frames = len(samples), len(samples[0].frames)
    frames = torch.zeros(count, num_frames, 3, height, width)
    masks = torch.zeros(count, num_frames, height, width, dtype=torch.bool)
    padding = torch.ones(count, height, width, dtype=torch.bool)
    for b, (sample, (h, w)) in enumerate(zip(samples, sizes.tolist(), strict=True)):
        frames[b, ..., :h, :w] = sample.frames
        masks[b, ..., :h, :w] = sample.masks
        padding[b, :h, :w] = False
    return Clip(
        frames=frames,
        padding=padding,
        sizes=sizes,
        boxes_cxcywh_norm=torch.stack([s.boxes_cxcywh_norm for s in samples]),
        masks=masks,
        valid=torch.stack([s.valid for s in samples]),
        expressions=tuple(s.expression for s in samples),
        identities=tuple(s.identity for s in samples),
        frame_idx=torch.stack([s.frame_idx for s in samples]),
    )


class ClipDataset(Dataset[Sample]):
    """Clips of a split by (epoch, index); an index alone means epoch 0.

    Clips without target are replaced by others, drawn from (seed, epoch, index) too, or kept. A
    file that was damaged since the split was checked is an InputError; with `skip_bad` its clip is
    replaced and the file named in the log.
    """

    def __init__(
        self, split: Split, truth: Truth, recipe: ClipRecipe, *, seed: int, skip_bad: bool
    ):
        self.split, self.truth, self.recipe = split, truth, recipe
        self.seed, self.skip_bad = seed, skip_bad
        # The clips themselves are not listed: MeViS has some 370,000, and every worker has its own.
        self._pairs = [(video, e) for video in split.videos for e in video.expressions]
        self._ends = np.cumsum([len(recipe.anchors(len(v.frames))) for v, _ in self._pairs])
        if recipe.no_target == "resample" and not any(e.annotation_ids for _, e in self._pairs):
            raise InputError(
                f"{split.folder}: no expression names an object to train on; expected "
                '"anno_id" (the splits train and valid_u have them)'
            )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def clip(self, index: int) -> tuple[Video, Expression, int]:
        """What clip `index` of an epoch is about: video, expression, anchor frame."""
        pair = int(np.searchsorted(self._ends, index, side="right"))
        video, expression = self._pairs[pair]
        anchors = self.recipe.anchors(len(video.frames))
        return video, expression, anchors[index - int(self._ends[pair])]

    def largest_size(self) -> tuple[int, int]:
        """Largest height and width in pixels of 100 clips spread over the epoch.

        Their geometry is drawn anew; a frame that cannot be read is left to who trains on it.
        """
        rng = np.random.default_rng(self.seed)
        sizes = [(1, 1)]
        for index in np.linspace(0, len(self) - 1, 100).astype(int):
            with suppress(FrameError):
                original = self._original_size(self.clip(index)[0])
                sizes.append(self.recipe.geometry(rng, original).size)
        height, width = np.max(sizes, axis=0).tolist()
        return height, width

    def _original_size(self, video: Video) -> tuple[int, int]:
        return _frame_size(self.split.frame_path(video.name, video.frames[0]))

    @property
    def texts(self) -> list[str]:
        """All expressions."""
        return [expression.text for _, expression in self._pairs]

    @property
    def meta_sha256(self) -> str:
        """What identifies the expressions."""
        return self.split.meta_sha256

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        return self.draw(np.random.default_rng([self.seed, epoch, index]), index)

    def draw(self, rng: Generator, index: int) -> Sample:
        """Clip `index`, or one in its place, with what `rng` gives."""
        for _ in range(10_000):
            try:
                sample = self._sample(rng, *self.clip(index))
            except (FileError, FrameError) as error:
                if not self.skip_bad:
                    advice = "mend it, or leave bad clips out with data.skip_bad=true"
                    raise InputError(f"{error}; {advice}") from None
                log.warning("%s; another clip takes its place", error)
                sample = None
            if sample is not None:
                return sample
            index = int(rng.integers(len(self)))
        raise InputError(
            f"{self.split.folder}: 10,000 clips in a row show no target; "
            "check the annotations or set data.clip.no_target=keep"
        )

    def _sample(
        self, rng: Generator, video: Video, expression: Expression, anchor: int
    ) -> Sample | None:
        """The clip, or None if it shows no target and is to be replaced."""
        recipe = self.recipe
        length = len(video.frames)
        frame_idx = recipe.frame_idx(rng, anchor, length)
        paths = [self.split.frame_path(video.name, video.frames[t]) for t in frame_idx]
        original = self._original_size(video)
        geometry = recipe.geometry(rng, original)
        copies = recipe.copies(rng, length, original)
        whole = self._masks(expression, frame_idx, original)  # (T, H, W)
        if copies is not None:
            copy_masks = [copy.mask(m) for copy, m in zip(copies, whole.numpy(), strict=True)]
            whole = torch.from_numpy(np.stack(copy_masks))
        masks = augment.place_masks(whole, geometry)  # (T, h, w)
        if recipe.boxes == "tight":
            boxes_xyxy = tight_boxes(masks)
        else:
            boxes_xyxy = augment.place_boxes(inclusive_boxes(whole), geometry)
        valid = (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(1)
        if recipe.no_target == "resample" and not valid.any():
            return None
        frames = augment.read_frames(paths, geometry, original, recipe.reduced_decode, copies)
        if recipe.recipe == "upstream":
            frames = recipe.photometric(rng, frames)
        return Sample(
            frames=normalise(frames),
            boxes_cxcywh_norm=normalised(boxes_xyxy * valid[:, None], geometry.size),
            masks=masks,
            valid=valid,
            expression=recipe.expression(expression.text, geometry.flip),
            identity=(video.name, expression.expression_id),
            frame_idx=torch.tensor(frame_idx),
        )

    def _masks(self, expression: Expression, frame_idx: list[int], size: tuple[int, int]) -> Tensor:
        """(T, H, W) uint8: the union of the expression's objects."""
        merged = np.zeros((len(frame_idx), *size), np.uint8)
        for annotation_id in expression.annotation_ids:
            for t, idx in enumerate(frame_idx):
                mask = self.truth.mask(annotation_id, idx)
                if mask is not None:
                    np.bitwise_or(merged[t], decode(mask), out=merged[t])
        return torch.from_numpy(merged)


def tight_boxes(masks: Tensor) -> Tensor:
    """(T, h, w) bool -> (T, 4) float32 x0, y0, x1, y1 in pixels, x1 and y1 exclusive; 0: empty."""
    boxes = torch.zeros(len(masks), 4)
    columns, rows = masks.any(1), masks.any(2)  # (T, w), (T, h)
    for t in range(len(masks)):
        if columns[t].any():
            x, y = columns[t].nonzero(), rows[t].nonzero()
            boxes[t] = torch.stack([x[0, 0], y[0, 0], x[-1, 0] + 1, y[-1, 0] + 1])
    return boxes


def inclusive_boxes(masks: Tensor) -> Tensor:
    """(T, H, W) -> (T, 4): as `tight_boxes`, but to the last column and row, as upstream."""
    boxes = tight_boxes(masks > 0)
    boxes[:, 2:] -= (boxes[:, 2:] > 0).float()
    return boxes


def normalised(boxes_xyxy: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., 4) pixels -> centre x, y, width, height divided by the image's width and height."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    scale = torch.tensor([size[1], size[0]])
    return torch.cat([(low + high) / 2 / scale, (high - low) / scale], dim=-1)
