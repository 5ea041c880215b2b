"""A split -> the coarse store: every video exactly once, on any number of devices, resumable.

Lightning's predict loop; each device takes whole videos. Per video two files are written, each
atomically: `<stores>/coarse_scores/<store>/<video>.json.gz` with the scores of the queries and the
protocol, then `<stores>/coarse/<store>/<video>.json.gz` with the masks, which says that the video
is done. A second start does what is missing. The files depend on the video alone (expressions are
batched within it), not on devices, order or interruptions.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from rvos import InputError, list_problems
from rvos.clip_plan import Clips, plan_clips
from rvos.coarse import Answer, CoarseSettings, answer, encoder
from rvos.coarse_progress import CoarseProgress
from rvos.data.mevis import Split, Video
from rvos.data.sharding import balance, cost
from rvos.devices import gather
from rvos.frames import FrameError, FrameFolder
from rvos.mutr import MUTR
from rvos.mutr.checkpoint import load_weights
from rvos.resized_frames import ResizedFrames
from rvos.stores import Store, file_sha256

log = logging.getLogger(__name__)

# Settings of conf/model that do not change what given weights answer.
_TRAINING_ONLY = {"_target_", "weights", "freeze_text_encoder", "dropout", "mti_dropout",
                  "checkpoint_backbone", "checkpoint_encoder"}  # fmt: skip


def open_coarse_store(
    root: Path | str,
    split: Split,
    settings: CoarseSettings,
    *,
    data_name: str,
    model: dict[str, Any],
    precision: str,
) -> Store:
    """The store of exactly this split, model (keys of conf/model), checkpoint, `precision`
    (`trainer.precision`) and protocol.

    Raises InputError when the checkpoint is missing or the folder was made under other settings.
    """
    architecture = {key: value for key, value in model.items() if key not in _TRAINING_ONLY}
    protocol = settings.protocol() | {"precision": str(precision), "model": architecture}
    if settings.clip_plan == "released_script":  # the clip lengths depend on all videos of a run
        order = [f"{v.name} {len(v.frames)} {len(v.expressions)}" for v in split.videos]
        text = "\n".join(sorted(order))
        protocol["videos_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return Store.open(
        Path(root),
        "coarse",
        data_name=data_name,
        split=split.name,
        settings=protocol,
        checkpoint_sha256=file_sha256(settings.checkpoint_file()),
        meta_sha256=split.meta_sha256,
    )


def run_coarse(
    split: Split,
    store: Store,
    settings: CoarseSettings,
    *,
    build_model: Callable[[], MUTR],
    trainer: pl.Trainer,
    videos: Sequence[Video] | None = None,
) -> None:
    """Fill the store with the masks of `videos` (None: of the split) that it does not have yet.

    The model is built, and the checkpoint loaded into it, only if there is something to do. With
    several devices every process calls this; all return when all videos are there. Raises
    InputError, before any work, for missing frames, empty expressions and a checkpoint that does
    not fit; after the other videos are done, for frames that cannot be decoded; and at once when
    the disk is full. What is finished stays valid.
    """
    wanted = split.videos if videos is None else videos
    names = set(store.missing(video.name for video in wanted))
    missing = [video for video in wanted if video.name in names]
    if not missing:
        log.info("coarse masks: all %d videos are in %s", len(wanted), store.path)
        return
    if trainer.is_global_zero:
        check_videos(split, missing)
    model = build_model()
    load_weights(model, settings.checkpoint_file())
    predictor = CoarsePredictor(model, split, missing, store, settings)
    if trainer.progress_bar_callback is not None:
        trainer.progress_bar_callback.disable()  # two live displays exclude each other
    try:
        trainer.predict(predictor, return_predictions=False)
        failures = gather(predictor.failures)
    finally:
        predictor.progress.stop()
    if trainer.is_global_zero:
        predictor.progress.print_summary(len(failures), trainer.world_size)
    if failures:
        raise InputError(list_problems("Frames that cannot be read; the other videos are done, and "
                                       "a second start does only these", failures))  # fmt: skip


def check_videos(split: Split, videos: Sequence[Video]) -> None:
    """Raise InputError listing all missing frames and empty expressions."""
    problems = []
    for video in videos:
        try:
            _frames(split, video)
        except FrameError as error:
            problems.append(str(error))
        problems += [
            f"video {video.name}, expression {expression.expression_id}: the text is empty"
            for expression in video.expressions
            if not expression.text.strip()
        ]
    if problems:
        raise InputError(list_problems(f"{split.folder}: videos that cannot be answered", problems))


class CoarsePredictor(pl.LightningModule):
    """The predict loop: one step is one video of this device's shard."""

    # With more devices than videos some have none.
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self,
        model: MUTR,
        split: Split,
        videos: Sequence[Video],
        store: Store,
        settings: CoarseSettings,
    ):
        super().__init__()
        self.model = model
        self.split, self.store, self.settings = split, store, settings
        self.videos = {video.name: video for video in videos}
        self.plans = plan_clips(
            split.videos,
            clip_plan=settings.clip_plan,
            clip_length=settings.clip_length,
            sampling=settings.sampling,
            processes=settings.script_processes,
        )
        scores_folder = store.path.parent.with_name("coarse_scores") / store.path.name
        self.scores = Store(scores_folder, store.provenance)
        self.progress = CoarseProgress(videos, store)
        self.failures: list[str] = []

    def predict_dataloader(self) -> "DecodedVideos":
        # Rank zero's list of videos: processes that start later may see more of them finished.
        names = self.trainer.strategy.broadcast(list(self.videos))
        videos = [self.videos[name] for name in names]
        mine = balance([cost(v) for v in videos], self.trainer.world_size)[self.global_rank]
        return DecodedVideos(self.split, [videos[i] for i in mine], self.settings.short_side)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, idx: int) -> Any:
        return batch  # frames go to the device clip by clip

    def on_predict_start(self) -> None:
        self._num_threads = torch.get_num_threads()
        if self.device.type == "cpu":
            torch.set_num_threads(self.settings.cpu_threads)
        if self.trainer.is_global_zero:
            self.progress.start()

    def on_predict_end(self) -> None:
        torch.set_num_threads(self._num_threads)

    def predict_step(self, batch: "tuple[Video, ResizedFrames | FrameError]") -> str:
        video, frames = batch
        if isinstance(frames, FrameError):
            log.error("%s", frames)
            self.failures.append(f"video {video.name}: {frames}")
            return video.name
        with frames:
            answers = self._answer(video, frames, self.plans[video.name])
        self._write(video, answers)
        self.progress.finish()
        return video.name

    def _answer(self, video: Video, frames: ResizedFrames, plans: Sequence[Clips]) -> list[Answer]:
        encode_text = encoder(self.model, [expression.text for expression in video.expressions])
        try:
            return answer(self.model, frames, encode_text, plans, self.settings,
                          report=self.progress.advance)  # fmt: skip
        except torch.OutOfMemoryError:
            raise InputError(
                f"video {video.name}: {max(len(clip) for clip in plans[0])} frames of "
                f"{frames.size[0]} x {frames.size[1]} pixels do not fit into the device's memory; "
                "lower coarse.expression_batch, or choose trainer.precision=bf16-mixed. What is "
                "finished stays valid."
            ) from None
        except InputError as error:
            raise InputError(f"video {video.name}: {error}") from None

    def _write(self, video: Video, answers: Sequence[Answer]) -> None:
        found = {e.expression_id: a for e, a in zip(video.expressions, answers, strict=True)}
        protocol = {
            **self.store.provenance["settings"],
            "checkpoint_sha256": self.store.provenance["checkpoint_sha256"],
            "expression_batch": self.settings.expression_batch,
        }
        scores = {expression_id: a.scores_as_json() for expression_id, a in found.items()}
        try:
            self.scores.write(video.name, {"protocol": protocol, "expressions": scores})
            self.store.write(video.name, {name: a.track for name, a in found.items()})
        except OSError as error:
            raise InputError(
                f"{self.store.path}: video {video.name} cannot be written: "
                f"{os.strerror(error.errno or 0)}. What is finished stays valid; start again to "
                "continue."
            ) from None


class DecodedVideos:
    """One device's videos with their frames, the next one being decoded while one is answered.

    A video whose frames cannot be read comes with its FrameError.
    """

    def __init__(self, split: Split, videos: Sequence[Video], short_side: int):
        self.split, self.videos, self.short_side = split, videos, short_side

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[tuple[Video, ResizedFrames | FrameError]]:
        with ThreadPoolExecutor(1) as pool:
            decoding = [pool.submit(self._decode, video) for video in self.videos[:1]]
            for i, video in enumerate(self.videos):
                frames = decoding.pop().result()
                following = self.videos[i + 1 : i + 2]
                decoding = [pool.submit(self._decode, after) for after in following]
                yield video, frames

    def _decode(self, video: Video) -> ResizedFrames | FrameError:
        try:
            return ResizedFrames(_frames(self.split, video), self.short_side)
        except FrameError as error:
            return error


def _frames(split: Split, video: Video) -> FrameFolder:
    return FrameFolder(split.folder / "JPEGImages" / video.name, video.frames)
