"""Meta's own package `sam2` as a tracker: `masklets.tracker=sam2_package`.

Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024. The same pixels, weights and
arguments as transformers' model in rvos/tracking/sam2.py.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rvos.errors import InputError
from rvos.tracking.sam2_frames import ModelFrames
from rvos.tracking.sam2_weights import (
    DOWNLOAD,
    load_state,
    read_meta_file,
    size_of,
    version_of,
)
from rvos.tracking.track import Step, VideoModel, drop_unread
from rvos.weights.kinds import names_file


class PackageTracker(VideoModel):
    """Meta's package `sam2`."""

    @torch.inference_mode()
    def logits(self, frames: ModelFrames, prompt_frame_idx: int, prompts: Tensor) -> Iterator[Step]:
        with self.autocast():
            state = self._state(frames)
            for i, prompt in enumerate(prompts):
                if prompts.ndim == 3:
                    self.model.add_new_mask(state, prompt_frame_idx, i, prompt)
                else:
                    self.model.add_new_points_or_box(
                        state, frame_idx=prompt_frame_idx, obj_id=i, box=prompt.float().numpy()
                    )
        for reverse in (False, True):
            passes = self.model.propagate_in_video(
                state, start_frame_idx=prompt_frame_idx, reverse=reverse
            )
            while True:
                with self.autocast():  # not while the caller works
                    step = next(passes, None)
                if step is None:
                    break
                frame_idx, _, logits = step
                if not (reverse and frame_idx == prompt_frame_idx):
                    yield Step(frame_idx, logits.float(), _object_scores(state, frame_idx))
                if not self.keep_state:
                    limits = (self.model.num_maskmem - 1, self.model.max_obj_ptrs_in_encoder - 1)
                    drop_unread(
                        state["output_dict_per_obj"],
                        state["frames_tracked_per_obj"],
                        prompt_frame_idx,
                        frame_idx,
                        reverse,
                        limits,
                    )

    def _state(self, frames: ModelFrames) -> dict[str, Any]:
        """Meta's `init_state` on our frames; its own loader reads nothing but a folder of JPEGs."""
        import sam2.sam2_video_predictor as predictor

        loader = predictor.load_video_frames
        predictor.load_video_frames = lambda **_: (frames, *frames.frames.size)
        try:
            return self.model.init_state("")
        finally:
            predictor.load_video_frames = loader


def _object_scores(state: Mapping[str, Any], frame_idx: int) -> Tensor:
    """(O,) of a frame that is just done: Meta's package yields masks only, its state has these."""
    logits = []
    for outputs in state["output_dict_per_obj"].values():
        kept = outputs["cond_frame_outputs"] | outputs["non_cond_frame_outputs"]
        logits.append(kept[frame_idx]["object_score_logits"].float().flatten())
    return torch.cat(logits).sigmoid()


def load_package(weights: str) -> Any:
    """Meta's video predictor with the settings of its `build_sam2_video_predictor`.

    That function itself would clear the application's Hydra. Holes in masks are not filled: the
    wheel lacks the extension for this. Raises InputError for missing or unreadable weights.
    """
    path = Path(weights)
    if not names_file(weights):
        raise InputError(
            f"masklets.weights={weights}: masklets.tracker=sam2_package reads Meta's "
            f".pt or .pth files only; get one from {DOWNLOAD}"
        )
    state = read_meta_file(path)
    size, version = size_of(state), version_of(state)
    name = "sam2.1" if version == "2.1" else "sam2"
    model = build_package(f"{name}/{name}_hiera_{size.name}.yaml")
    load_state(model, state, path)
    return model


def build_package(config: str, changes: Mapping[str, Any] | None = None) -> Any:
    """An untrained predictor from one of the package's own configs.

    changes: {dotted key: value} that replaces settings of the config. Raises InputError without
    the package.
    """
    from hydra.core.global_hydra import GlobalHydra

    application = GlobalHydra.instance().is_initialized()
    try:
        import sam2
    except ImportError:
        raise InputError(
            "masklets.tracker=sam2_package needs the package sam2: "
            "pip install --no-build-isolation sam2"
        ) from None
    if not application:  # importing sam2 takes Hydra's global state where nobody has it yet
        GlobalHydra.instance().clear()
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    settings = OmegaConf.load(Path(sam2.__file__).parent / "configs" / config).model
    settings._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    post_processing = {
        "sam_mask_decoder_extra_args.dynamic_multimask_via_stability": True,
        "sam_mask_decoder_extra_args.dynamic_multimask_stability_delta": 0.05,
        "sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh": 0.98,
        "binarize_mask_from_pts_for_mem_enc": True,
    }
    for key, value in {**post_processing, **(changes or {})}.items():
        OmegaConf.update(settings, key, value, force_add=True)
    OmegaConf.resolve(settings)
    return instantiate(settings).eval()
