"""Coarse masks of whole videos during training -> J, F, J&F by eval.py's scoring, and overlays."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.loggers import WandbLogger

from rvos.coarse.segment import segment_video
from rvos.coarse.settings import CoarseSettings
from rvos.data.split import Expression, Split, Truth, merge_tracks
from rvos.masks import overlay
from rvos.mutr import MUTR
from rvos.score.inputs import first_videos
from rvos.score.measures import Summary, score_track
from rvos.stages.lightning import TrainerPlace
from rvos.stages.sharding import balance, cost

COLOR = (255, 60, 0)  # RGB of masks in overlays


@dataclass(frozen=True)
class Overlay:
    """One frame of one expression: three images (H, W, 3) uint8 RGB side by side."""

    expression: Expression
    frame_name: str
    image: NDArray[np.uint8]  # frame, frame with target, frame with prediction
    JF: float  # of the expression, 0..1


class VideoScores:
    """Scores the first `max_videos` videos of a split, as eval.py does, shared out over the ranks.

    Of the first `num_overlays` videos one expression each is drawn: a file in `folder` and, with
    W&B, a row of a table.
    """

    def __init__(
        self,
        split: Split,
        truth: Truth,
        coarse: CoarseSettings,
        *,
        max_videos: int | None,
        num_overlays: int,
        folder: Path,
    ):
        self.split, self.truth, self.coarse = split, truth, coarse
        self.num_overlays, self.folder = num_overlays, folder
        self.videos = first_videos(split, max_videos).videos

    def __call__(self, model: MUTR, trainer: pl.Trainer) -> dict[str, float]:
        """J, F, JF: means over the expressions of all ranks, in 0..1."""
        mine = balance([cost(video) for video in self.videos], trainer.world_size)
        training = model.training
        scores, overlays = [], []
        for idx in mine[trainer.global_rank]:
            video_scores, video_overlays = self._video(model, idx)
            scores += video_scores
            overlays += video_overlays
        model.train(training)
        place = TrainerPlace(trainer)
        scores, overlays = place.gather(scores), place.gather(overlays)
        if trainer.is_global_zero and overlays:
            self._show(overlays, trainer)
        summary = Summary.of([j for j, _ in scores], [f for _, f in scores])
        return {"J": summary.J, "F": summary.F, "JF": summary.JF}

    def _video(self, model: MUTR, idx: int) -> tuple[list[tuple[float, float]], list[Overlay]]:
        """(J, F) of every expression, means over the frames; and the overlay of one of them."""
        video = self.videos[idx]
        frames = self.split.open_frames(video)
        texts = [expression.text for expression in video.expressions]
        answers = segment_video(model, frames, texts, self.coarse)
        scores, overlays = [], []
        for number, (expression, answer) in enumerate(zip(video.expressions, answers, strict=True)):
            objects = self.truth.tracks(video, expression.annotation_ids, frames.size)
            target = merge_tracks(list(objects.values()), len(video.frames))
            J, F = score_track(target, answer.track)
            scores.append((float(np.mean(J)), float(np.mean(F))))
            if idx < self.num_overlays and number == idx % len(answers):
                t = len(video.frames) // 2
                image = next(islice(frames, t, None))
                panels = [image, *(overlay(image, m[t], COLOR) for m in (target, answer.track))]
                JF = sum(scores[-1]) / 2
                overlays.append(Overlay(expression, video.frames[t], np.hstack(panels), JF))
        return scores, overlays

    def _show(self, overlays: Sequence[Overlay], trainer: pl.Trainer) -> None:
        step = trainer.global_step
        self.folder.mkdir(parents=True, exist_ok=True)
        for drawn in overlays:
            name = f"{step:06d}_{drawn.expression.video}_{drawn.expression.expression_id}.png"
            cv2.imwrite(str(self.folder / name), drawn.image[..., ::-1])  # OpenCV writes BGR
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _log_table(logger, overlays, step)


def _log_table(logger: WandbLogger, overlays: Sequence[Overlay], step: int) -> None:
    import wandb

    rows = []
    for drawn in overlays:
        frame, target, prediction = map(wandb.Image, np.hsplit(drawn.image, 3))
        row = {
            "step": step,
            "video": drawn.expression.video,
            "expression_id": drawn.expression.expression_id,
            "expression": drawn.expression.text,
            "frame": frame,
            "target": target,
            "prediction": prediction,
            "JF": drawn.JF,
        }
        rows.append(row)
    data = [list(row.values()) for row in rows]
    logger.log_table("val/overlays", columns=list(rows[0]), data=data)
