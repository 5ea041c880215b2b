"""A split -> the coarse store, by MUTR: `coarse=mutr`.

Per video two files are written, each atomically: `<stores>/coarse_scores/<store>/<video>.json.gz`
with the scores of the queries and the protocol, then `<stores>/coarse/<store>/<video>.json.gz` with
the masks, which says that the video is done. The files depend on the video alone (expressions are
batched within it), not on devices, order or interruptions.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rvos.coarse.clips import plan_clips
from rvos.coarse.settings import CoarseSettings
from rvos.data.frames import Frames
from rvos.data.split import Split, Video
from rvos.errors import InputError
from rvos.masks import Track, TrackFiles, file_sha256
from rvos.mutr import build_mutr
from rvos.mutr.settings import ModelSettings
from rvos.settings import checked, make
from rvos.stages.devices import Place
from rvos.stages.run_folder import has_no_effect
from rvos.stages.runner import Advance, Stage, TooLarge, run_stage
from rvos.stages.sharding import cost
from rvos.stages.store import Store, Stores
from rvos.stages.work import CoarseFiles, Work
from rvos.weights.provenance import digest, origins

if TYPE_CHECKING:
    from rvos.coarse.network_frames import NetworkFrames
    from rvos.coarse.segment import Segmentation
    from rvos.mutr import MUTR


@checked
class Mutr(CoarseSettings):
    """`coarse=mutr`. `model` builds the network: `functools.partial(build_mutr, ...)`.

    Raises SettingsError listing every value that makes no sense, those of the network too.
    """

    model: partial

    uses_gpu: ClassVar[bool] = True
    may_have_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.model.func is build_mutr:
            make(ModelSettings, "model", self.model.keywords)  # its key in conf/

    def check(self, work: Work) -> None:
        """Raises InputError without a checkpoint."""
        self.checkpoint_file()

    def tracks(self, work: Work) -> CoarseFiles:
        """The files of the split's coarse masks, made where they are missing."""
        split, devices = work.split, work.devices
        store = open_coarse_store(
            work.stores, split, self, model=self.model.keywords, precision=devices.precision
        )
        failed = run_stage(CoarseStage(split, store, self, self.model), split, devices)
        return CoarseFiles(TrackFiles(store.path), failed)


def open_coarse_store(
    stores: Stores,
    split: Split,
    settings: CoarseSettings,
    *,
    model: dict[str, Any],
    precision: str,
) -> Store:
    """The store of exactly this split, model, checkpoint, precision and protocol.

    `model` has the keys of conf/model, `precision` is `trainer.precision`.

    Raises InputError when the checkpoint is missing or the folder was made under other settings.
    """
    answers = {k: v for k, v in model.items() if not has_no_effect(k, on="answers")}
    protocol = settings.protocol() | {"precision": precision, "model": answers}
    if settings.clip_plan == "released_script":  # the clip lengths depend on all videos of a run
        order = [f"{v.name} {len(v.frames)} {len(v.expressions)}" for v in split.videos]
        text = "\n".join(sorted(order))
        protocol["videos_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    tokenizer, formerly = str(model.get("tokenizer")), {"settings": protocol}
    if tokenizer != "words":
        content = digest(tokenizer, key="model.tokenizer")
        protocol = protocol | {"model": answers | {"tokenizer": content}}
    used = {
        "coarse.checkpoint": str(settings.checkpoint),
        "model.tokenizer": tokenizer,
    }
    return stores.open(
        "coarse",
        split,
        settings=protocol,
        checkpoint_sha256=file_sha256(settings.checkpoint_file()),
        origins=origins(used),
        formerly=formerly,
    )


class CoarseMasks(Stage):
    """Masks of all expressions of a video, and beside them how sure the networks were."""

    name = "coarse masks"

    def __init__(self, store: Store):
        self.store, self.scores = store, store.beside("coarse_scores")

    def missing(self, video: Video) -> bool:
        return not (self.store.has(video.name) and self.scores.has(video.name))

    def problems(self, video: Video) -> list[str]:
        return [
            f"video {video.name}, expression {expression.expression_id}: the text is empty"
            for expression in video.expressions
            if not expression.text.strip()
        ]

    def keep(
        self, video: Video, tracks: dict[str, Track], scores: dict[str, Any], **protocol: Any
    ) -> None:
        """Write masks and scores by expression_id; `protocol`: what else is kept of the video."""
        protocol = {
            **self.store.provenance["settings"],
            "checkpoint_sha256": self.store.provenance["checkpoint_sha256"],
            **protocol,
        }
        self.scores.write(video.name, {"protocol": protocol, "expressions": scores})
        self.store.write(video.name, tracks)


class CoarseStage(CoarseMasks):
    """The masks of MUTR. The model is built only if something is missing."""

    unit = "expression-frames"

    def __init__(
        self,
        split: Split,
        store: Store,
        settings: CoarseSettings,
        build_model: "partial[MUTR]",
    ):
        super().__init__(store)
        self.settings, self.build_model = settings, build_model
        self.plans = plan_clips(
            split.videos,
            clip_plan=settings.clip_plan,
            clip_length=settings.clip_length,
            sampling=settings.sampling,
            processes=settings.script_processes,
        )

    def cost(self, video: Video) -> int:
        return cost(video)

    def problems(self, video: Video) -> list[str]:
        from rvos.mutr.text import too_long

        problems, keys = super().problems(video), self.build_model.keywords
        if self.build_model.func is not build_mutr:  # a network of one's own
            return problems
        texts = [e.text for e in video.expressions]
        long = too_long(texts, keys["tokenizer"], keys["max_tokens"])
        return problems + [f"video {video.name}: {said}" for said in long]

    def prepare(self, place: Place) -> None:
        """Raises InputError if the checkpoint does not fit, or is not that of the store."""
        from rvos.mutr.checkpoint import load_weights

        file = self.settings.checkpoint_file()
        model = self.build_model()
        load_weights(model, file)
        if file_sha256(file) != self.store.provenance["checkpoint_sha256"]:
            raise InputError(f"coarse.checkpoint: {file} has changed since the start; start again")
        self.model: MUTR = place.convert(model)
        self.place = place

    def open(self, frames: Frames) -> "NetworkFrames":
        from rvos.coarse.network_frames import NetworkFrames

        return NetworkFrames(frames, self.settings.short_side).fill()

    def make(
        self, video: Video, content: "NetworkFrames", advance: Advance
    ) -> "Sequence[Segmentation]":
        import torch

        from rvos.coarse.segment import encoder, segment_clips

        texts = [expression.text for expression in video.expressions]
        plans = self.plans[video.name]
        try:
            with self.place.answering():
                return segment_clips(
                    self.model,
                    content,
                    encoder(self.model, texts),
                    plans,
                    self.settings,
                    report=advance,
                )
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise TooLarge(
                f"{max(len(clip) for clip in plans[0])} frames of {content.size[0]} x "
                f"{content.size[1]} pixels do not fit into the device's memory; lower "
                "coarse.expression_batch, or choose trainer.precision=bf16-mixed"
            ) from None

    def write(self, video: Video, made: "Sequence[Segmentation]") -> None:
        ids = [expression.expression_id for expression in video.expressions]
        by_id = dict(zip(ids, made, strict=True))
        self.keep(
            video,
            {key: segmentation.track for key, segmentation in by_id.items()},
            {key: segmentation.scores_as_json() for key, segmentation in by_id.items()},
            expression_batch=self.settings.expression_batch,
        )
