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
from rvos.coarse import Answer, CoarseSettings, answer, encoder, scores_file
from rvos.coarse_progress import CoarseProgress
from rvos.data.mevis import Split, Video
from rvos.data.sharding import balance, cost
from rvos.devices import end_on_sigterm, gather
from rvos.frames import FrameError, FrameFolder
from rvos.mutr import MUTR
from rvos.mutr.checkpoint import load_weights
from rvos.resized_frames import ResizedFrames
from rvos.stores import Store, file_sha256

log = logging.getLogger(__name__)

# Settings of conf/model that do not change what given weights answer.
_TRAINING_ONLY = {
    "_target_",
    "weights",
    "freeze_text_encoder",
    "dropout",
    "mti_dropout",
    "checkpoint_backbone",
    "checkpoint_encoder",
}


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
    not fit; after the other videos are done, for frames that cannot be decoded; and, when the other
    devices have done their share, if one met a full disk. What is finished stays valid.
    """
    wanted = split.videos if videos is None else videos
    predictor = CoarsePredictor(split, wanted, store, settings, build_model)
    missing = predictor.missing()
    # With several devices every process goes on to where rank zero's list of videos counts: others
    # may be filling the same store.
    if not missing and trainer.world_size == 1:
        log.info("coarse masks: all %d videos are in %s", len(wanted), store.path)
        return
    if trainer.is_global_zero:
        check_videos(split, missing)
    if missing:
        predictor.load()
    if trainer.progress_bar_callback is not None:
        trainer.progress_bar_callback.disable()  # two live displays exclude each other
    try:
        trainer.predict(predictor, return_predictions=False)
        unreadable, fatal = gather(predictor.unreadable), gather(predictor.fatal)
    finally:
        predictor.progress.stop()
    if trainer.is_global_zero and predictor.names:
        predictor.progress.print_summary(len(unreadable), trainer.world_size)
    elif trainer.is_global_zero:
        log.info("coarse masks: all %d videos are in %s", len(wanted), store.path)
    if unreadable:
        fatal.append(
            list_problems(
                "Frames that cannot be read; the other videos are done, and "
                "a second start does only these",
                unreadable,
            )
        )
    if fatal:
        raise InputError("\n".join(dict.fromkeys(fatal)))


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

    def __init__(
        self,
        split: Split,
        videos: Sequence[Video],
        store: Store,
        settings: CoarseSettings,
        build_model: Callable[[], MUTR],
    ):
        super().__init__()
        # With more devices than videos some have none. (Set here: Lightning's __init__ sets it.)
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.split, self.settings, self.build_model = split, settings, build_model
        self.store, self.scores = store, store.beside("coarse_scores")
        self.videos = {video.name: video for video in videos}
        self.plans = plan_clips(
            split.videos,
            clip_plan=settings.clip_plan,
            clip_length=settings.clip_length,
            sampling=settings.sampling,
            processes=settings.script_processes,
        )
        self.progress = CoarseProgress([], store)
        self.model: MUTR | None = None
        self.names: list[str] = []  # of the videos to be answered by all devices
        self.unreadable: list[str] = []  # frames; the other videos go on
        self.fatal: list[str] = []  # what ended this device's work

    def missing(self) -> list[Video]:
        """Videos that lack masks or scores."""
        lacking = {*self.store.missing(self.videos), *self.scores.missing(self.videos)}
        return [video for name, video in self.videos.items() if name in lacking]

    def load(self) -> None:
        """Raises InputError if the checkpoint does not fit, or is not that of the store."""
        file = self.settings.checkpoint_file()
        self.model = self.build_model()
        load_weights(self.model, file)
        if file_sha256(file) != self.store.provenance["checkpoint_sha256"]:
            raise InputError(f"coarse.checkpoint: {file} has changed since the start; start again")

    def setup(self, stage: str) -> None:
        self.names = self.trainer.strategy.broadcast([video.name for video in self.missing()])
        if not self.names:
            self.model = None  # on all devices: Lightning compares their weights
        elif self.model is None:
            self.load()
        self.progress = CoarseProgress([self.videos[name] for name in self.names], self.store)

    def predict_dataloader(self) -> "DecodedVideos":
        videos = [self.videos[name] for name in self.names]
        mine = balance([cost(v) for v in videos], self.trainer.world_size)[self.global_rank]
        self.decoded = DecodedVideos(
            self.split, [videos[i] for i in mine], self.settings.short_side
        )
        return self.decoded

    def transfer_batch_to_device(self, batch: Any, device: torch.device, idx: int) -> Any:
        return batch  # frames go to the device clip by clip

    def on_predict_start(self) -> None:
        end_on_sigterm(self.trainer)
        if self.trainer.is_global_zero and self.names:
            self.progress.start()

    def predict_step(self, batch: "Decoded") -> str:
        video = batch.video
        try:
            with batch.frames() as frames:
                answers = self._answer(video, frames, self.plans[video.name])
            self._write(video, answers)
        except FrameError as error:
            log.error("%s", error)
            self.unreadable.append(f"video {video.name}: {error}")
        except InputError as error:  # raised when all devices have come to their end
            self.fatal.append(str(error))
            self.decoded.end()
        else:
            self.progress.finish()
        return video.name

    def _answer(self, video: Video, frames: ResizedFrames, plans: Sequence[Clips]) -> list[Answer]:
        assert self.model is not None
        encode_text = encoder(self.model, [expression.text for expression in video.expressions])
        try:
            return answer(
                self.model, frames, encode_text, plans, self.settings, report=self.progress.advance
            )
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
        ids = [expression.expression_id for expression in video.expressions]
        protocol = {
            **self.store.provenance["settings"],
            "checkpoint_sha256": self.store.provenance["checkpoint_sha256"],
            "expression_batch": self.settings.expression_batch,
        }
        try:
            self.scores.write(video.name, scores_file(ids, answers, protocol))
            tracks = [a.track for a in answers]
            self.store.write(video.name, dict(zip(ids, tracks, strict=True)))
        except OSError as error:
            raise InputError(
                f"{self.store.path}: video {video.name} cannot be written: "
                f"{os.strerror(error.errno or 0)}. What is finished stays valid; start again to "
                "continue."
            ) from None


class Decoded:
    """A video and its frames, or what was wrong with them. (Not a dataclass: Lightning converts
    what is in one.)"""

    def __init__(self, video: Video, found: ResizedFrames | InputError):
        self.video, self.found = video, found

    def frames(self) -> ResizedFrames:
        """Raises FrameError for frames that cannot be read, InputError for a full disk."""
        if isinstance(self.found, InputError):
            raise self.found
        return self.found


class DecodedVideos:
    """One device's videos with their frames, the next one being decoded while one is answered."""

    def __init__(self, split: Split, videos: Sequence[Video], short_side: int):
        self.split, self.videos, self.short_side = split, videos, short_side
        self._ended = False

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[Decoded]:
        with ThreadPoolExecutor(1) as pool:
            decoding = [pool.submit(self._decode, video) for video in self.videos[:1]]
            for i in range(len(self.videos)):
                decoded = decoding.pop().result()
                following = self.videos[i + 1 : i + 2]
                decoding = [pool.submit(self._decode, after) for after in following]
                yield decoded
                if self._ended:
                    return

    def end(self) -> None:
        """No further video."""
        self._ended = True

    def _decode(self, video: Video) -> Decoded:
        try:
            return Decoded(video, ResizedFrames(_frames(self.split, video), self.short_side))
        except InputError as error:
            return Decoded(video, error)


def _frames(split: Split, video: Video) -> FrameFolder:
    return FrameFolder(split.folder / "JPEGImages" / video.name, video.frames)
