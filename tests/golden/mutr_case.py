"""A golden case's config -> our model, same parameters, same inputs; comparison of tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fill
import numpy as np
import pytest
import torch
from einops import rearrange
from omegaconf import OmegaConf

from rvos.mutr import MUTR, TextFeatures, VideoFeatures, build_mutr
from rvos.mutr.checkpoint import official_name

CONF = Path(__file__).parents[2] / "conf/model/mutr.yaml"
FLAGS = {  # extra options of a case -> our settings
    "--no_box_refine": {"box_refine": False},
    "--no_rel_coord": {"rel_coord": False},
}
RANDOM = [  # of torch.nn.init
    *("uniform_", "normal_", "trunc_normal_"),
    *(f"{name}_{kind}_" for name in ("kaiming", "xavier") for kind in ("uniform", "normal")),
]
NUMBERS = {
    "--num_queries": "num_queries",
    "--enc_layers": "encoder_layers",
    "--dec_layers": "decoder_layers",
}


def settings(config: dict, text_config: dict | None = None) -> dict:
    """Arguments of build_mutr for a case."""
    values = OmegaConf.to_container(OmegaConf.load(CONF), resolve=True)
    del values["_target_"], values["_partial_"]
    values["backbone"] = config["backbone"]
    if text_config:
        values |= {
            "text_dim": text_config["hidden_size"],
            "text_layers": text_config["num_hidden_layers"],
            "text_heads": text_config["num_attention_heads"],
            "text_ffn_dim": text_config["intermediate_size"],
            "vocab_size": text_config["vocab_size"],
            "max_tokens": text_config["max_position_embeddings"] - 2,
        }
    options = iter(config.get("extra") or [])
    for option in options:
        if option in FLAGS:
            values |= FLAGS[option]
        elif option in NUMBERS:
            values[NUMBERS[option]] = int(next(options))
        else:
            raise ValueError(f"golden case with an unknown option: {option}")
    return values


@contextmanager
def without_random_values() -> Iterator[None]:
    """Networks are built without start values, which `fill_` would replace anyway."""
    with pytest.MonkeyPatch.context() as patch:
        for name in RANDOM:
            patch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
        yield


def build(config: dict, text_config: dict) -> MUTR:
    with without_random_values():
        model = build_mutr(**settings(config, text_config))
    return fill.fill_(model, config["param_seed"], official_name)


def clips(config: dict, multiple: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """frames (B, T, 3, H, W) and padding (B, H, W); H and W the largest, in multiples."""
    videos = config["videos"]
    num_frames = videos[0][0]
    height = -(-max(h for _, h, _, _ in videos) // multiple) * multiple
    width = -(-max(w for _, _, w, _ in videos) // multiple) * multiple
    frames = torch.zeros(len(videos), num_frames, 3, height, width)
    padding = torch.ones(len(videos), height, width, dtype=torch.bool)
    for index, (t, h, w, seed) in enumerate(videos):
        frames[index, :, :, :h, :w] = fill.video(t, h, w, seed)
        padding[index, :h, :w] = False
    return frames, padding


def words(config: dict) -> tuple[torch.Tensor, torch.Tensor | None]:
    """ids and padding (E, L) of the captions."""
    ids, attention = fill.pad_ids([fill.token_ids(n, seed=seed) for n, seed in config["captions"]])
    return ids, None if attention.all() else attention == 0


def features(model: MUTR, config: dict, multiple: int = 1) -> tuple[VideoFeatures, TextFeatures]:
    return model.encode_video(*clips(config, multiple)), model.encode_tokens(*words(config))


def mix_clips_in_mti(model: MUTR, batch: int) -> None:
    """Makes MTI mix the clips of a batch as the official model does.

    It lays its input out as (levels, frames, clips) and reads it as (levels * clips, frames), so
    the windows of one clip hold frames of others. One clip per batch is unaffected. The golden
    data of larger batches, `.per_clip` included, has this mixing; our model does not.
    """

    def mix(_, args):
        (states,) = args
        official = rearrange(states, "(d b) t n c -> d t b n c", b=batch)
        return (official.reshape(states.shape),)

    model.mti.register_forward_pre_hook(mix)


def assert_close(name: str, ours: torch.Tensor, reference, *, rel: float) -> None:
    """Largest difference at most `rel` times the reference's largest value."""
    reference = torch.as_tensor(np.asarray(reference))
    assert ours.shape == reference.shape, f"{name}: {ours.shape}, expected {reference.shape}"
    difference = (ours.double() - reference.double()).abs().max().item()
    bound = rel * reference.abs().max().item()
    assert difference <= bound, f"{name}: differs by {difference:.3g}, allowed {bound:.3g}"


def assert_probe(
    name: str, ours: torch.Tensor, reference: dict, *, rel: float = 1e-5, moments: bool = True
) -> None:
    """Against a summary of `fill.summarize`: shape, sampled values, moments if asked for."""
    assert list(ours.shape) == reference["shape"], f"{name}: {list(ours.shape)}"
    summary = fill.probe(ours, len(reference["values"]))
    largest = max(abs(reference["min"]), abs(reference["max"]))
    difference = np.abs(np.subtract(summary["values"], reference["values"])).max()
    assert difference <= rel * largest, f"{name}: differs by {difference:.3g} of {largest:.3g}"
    if not moments:
        return
    for moment, unit in (("mean", "std"), ("std", "std"), ("abs_sum", "abs_sum")):
        difference = abs(summary[moment] - reference[moment])
        bound = rel * max(reference[unit], 1e-30)
        assert difference <= bound, f"{name}: {moment} differs by {difference:.3g}"
