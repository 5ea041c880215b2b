"""The keys of conf/model, checked; torch is not imported, so that wrong ones are named at once."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from rvos.settings import Count, Flag, Folder, Part, Text, checked, wrong

RESNETS = ("resnet50", "resnet101", "resnet10_tiny", "resnet10_video")
SWINS = ("swin_t", "swin_s", "swin_b", "swin_l")
VIDEO_SWINS = ("video_swin_t", "video_swin_s", "video_swin_b")
CONVNEXTS = ("convnext_large", "convnext_xxlarge")
CONVMAES = ("convmae_base", "convmae_large")
BACKBONES = (*RESNETS, *SWINS, *VIDEO_SWINS, *CONVNEXTS, *CONVMAES)
GROUPS = 32  # of the norms over hidden_dim channels


def _known(name: str) -> str:
    if name.removesuffix("_p4w7") not in BACKBONES and "." not in name:
        raise ValueError("no such backbone")
    return name


Backbone = Annotated[
    Text,
    AfterValidator(_known),
    Field(description=f"one of {', '.join(BACKBONES)}, or the dotted name of a class of your own"),
]
Dimension = Annotated[Count, Field(multiple_of=GROUPS, description=f"a multiple of {GROUPS}")]


@checked(kw_only=True)
class NetworkSettings:
    """What the network `rvos.mutr.MUTR` is made of; conf/model/mutr.yaml explains the keys.

    Raises SettingsError listing every value that makes no sense.
    """

    backbone: Backbone
    tokenizer: Text
    deform_attn: Literal["torch", "mmcv"]
    freeze_text_encoder: Flag
    num_classes: Count
    num_queries: Count
    hidden_dim: Dimension
    ffn_dim: Count
    num_heads: Count
    num_levels: Literal[4]
    num_points: Count
    encoder_layers: Count
    decoder_layers: Count
    mti_layers: Count
    mti_window: Count
    dropout: Part
    mti_dropout: Part
    box_refine: Flag
    rel_coord: Flag
    mask_channels: Count
    text_dim: Count
    text_layers: Count
    text_heads: Count
    text_ffn_dim: Count
    vocab_size: Count
    max_tokens: Count
    checkpoint_backbone: Flag
    checkpoint_encoder: Flag

    def __post_init__(self) -> None:
        for heads, dim in (("num_heads", "hidden_dim"), ("text_heads", "text_dim")):
            if getattr(self, dim) % getattr(self, heads):
                expected = f"a divisor of {dim}={getattr(self, dim)}"
                raise wrong(heads, expected, getattr(self, heads))


@checked(kw_only=True)
class ModelSettings(NetworkSettings):
    """The keys of conf/model: the network, and files of weights for it (see `build_mutr`).

    Raises SettingsError listing every value that makes no sense.
    """

    weights: Folder | None = None
    backbone_weights: Folder | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is not None and self.backbone_weights is not None:
            expected = f"null beside weights={self.weights}, which has a backbone of its own"
            raise wrong("backbone_weights", expected, self.backbone_weights)
