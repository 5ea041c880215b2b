"""The table of all weights that rvos can use: what for, where from, under which licence.

`python -m rvos weights`, `doctor` and docs/weights.md are views of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODEL_FILES = ("config.json", "*.json", "*.txt", "*.safetensors")  # patterns of a hub model
TOKENIZER_FILES = ("config.json", "*.json", "*.txt")
DRIVE = "https://drive.google.com/file/d/{}/view"
SWIN = "https://github.com/SwinTransformer/storage/releases/download"
GITHUB = "https://raw.githubusercontent.com"
PICODET = "dfe4d6cd0a18cd4126ee381e81df8a0b1e6ad97b"
NANOTRACK = "248663fde6bf7c40190cf10ee396d5662919ecd3/NanoTrack/models/nanotrackv2"
TORCHVISION = "https://download.pytorch.org/models"


@dataclass(frozen=True)
class Weight:
    """One row of the table. It has a `repo`, a `url`, a `command`, or no known address."""

    name: str
    purpose: str
    setting: str  # the key that takes it, or the choice that uses it
    licence: str  # as its page says; "none stated" where it says nothing
    files: tuple[str, ...] = MODEL_FILES  # patterns in the repo, or the file in paths.weights
    size: int | None = None  # bytes, about; None: unknown
    gated: bool = False  # the hub asks for a login and for consent to the licence
    repo: str | None = None  # on Hugging Face's hub
    former_repos: tuple[str, ...] = ()  # names that the hub redirects to `repo`; caches keep them
    url: str | None = None  # of the one file
    command: str | None = None  # another program that fetches it
    check: str | None = None  # fails where `command` has brought nothing
    by_hand: str | None = None  # where a browser finds what `command` fetches
    model_type: str | None = None  # in the config.json of what the setting takes
    backbone: str | None = None  # that of a MUTR; `model.backbone` must name it
    beside: str | None = None  # another key or choice that the setting needs or that uses it
    sha256: str | None = None  # the first digits, where they are published

    @property
    def used_by(self) -> str:
        """The settings that use it, for people."""
        backbone = self.backbone and f"model.backbone={self.backbone}"
        return ", ".join(filter(None, (self.setting, self.beside, backbone)))


def _hub(name: str, purpose: str, setting: str, licence: str, size: int, **rest: Any) -> Weight:
    return Weight(name.rpartition("/")[2], purpose, setting, licence, size=size, repo=name, **rest)


def _sam2(name: str, size: int) -> Weight:
    return _hub(
        f"facebook/sam2.1-hiera-{name}",
        f"SAM 2.1 {name}: tracks boxes",
        "masklets.weights",
        "Apache-2.0",
        size,
        model_type="sam2_video",
    )


def _dino(name: str, size: int) -> Weight:
    return _hub(
        f"IDEA-Research/grounding-dino-{name}",
        f"Grounding DINO {name}: boxes of a phrase",
        "masklets.detect.weights",
        "Apache-2.0",
        size,
        model_type="grounding-dino",
    )


def _mutr(name: str, backbone: str, trained_on: str, drive: str) -> Weight:
    return Weight(
        f"mutr_{name}_{backbone}",
        f"MUTR, {backbone}, {trained_on}",
        "model.weights",
        "MIT",
        (f"mutr_{name}_{backbone}.pth",),
        url=DRIVE.format(drive),
        backbone=backbone,
    )


def _small(name: str, file: str, purpose: str, licence: str, url: str, **rest: Any) -> Weight:
    setting, other = "masklets=small", "coarse=small"
    return Weight(name, purpose, setting, licence, (file,), url=url, beside=other, **rest)


def _backbone(name: str, trained_on: str, licence: str, url: str, **rest: Any) -> Weight:
    return Weight(
        f"backbone_{name}",
        f"backbone {name}, trained on {trained_on}",
        "model.backbone_weights",
        licence,
        (url.rpartition("/")[2],),
        url=url,
        backbone=name,
        **rest,
    )


# Sizes: the hub's pages, torchvision's metadata. Addresses of MUTR: README of OpenGVLab/MUTR, for
# `joint` and MeViS that of Tapall-AI/MeViS_Track_Solution_2024. Backbones: torchvision, and the
# READMEs of microsoft/Swin-Transformer and SwinTransformer/Video-Swin-Transformer.
_ROWS = (
    _dino("tiny", 690_000_000),
    _dino("base", 934_000_000),
    _sam2("tiny", 156_000_000),
    _sam2("small", 184_000_000),
    _sam2("base-plus", 324_000_000),
    _sam2("large", 898_000_000),
    _hub(
        "yonigozlan/EdgeTAM-hf",
        "EdgeTAM: tracks boxes, small",
        "masklets.weights",
        "Apache-2.0",
        56_000_000,
        model_type="edgetam_video",
        beside="masklets.tracker=edgetam",
    ),
    _hub(
        "facebook/sam3",
        "SAM 3: finds and tracks all instances of a noun",
        "masklets=sam3",
        "SAM License",
        3_440_000_000,
        gated=True,
        model_type="sam3_video",
    ),
    _hub(
        "FacebookAI/roberta-base",
        "RoBERTa's tokenizer (its weights are in MUTR's files)",
        "model.tokenizer",
        "MIT",
        3_000_000,
        files=TOKENIZER_FILES,
        model_type="roberta",
        former_repos=("roberta-base",),
    ),
    Weight(
        "mutr_mevis_swin_l",
        "MUTR, swin_l, fine-tuned on MeViS",
        "coarse.checkpoint",
        "none stated",
        ("mutr.pth",),
        url=DRIVE.format("1qaJhup2hhequeVbd-RnPlzloMfj-PNK1"),
        backbone="swin_l",
    ),
    _mutr(
        *("joint", "swin_l", "trained on RefCOCO/+/g and Ref-YouTube-VOS"),
        "1e2-BXV3HGxPxWFKO-z34PZDBShCzEmz9",
    ),
    *(
        _mutr("ytvos", backbone, "from upstream's table of Ref-YouTube-VOS", drive)
        for backbone, drive in (
            ("resnet50", "1W1hSYd1DDFdhl46rpE1Y1OgsG1N5Zh7B"),
            ("resnet101", "1tIX6jmM9MjCxbMDh89e2LugY2ul12GD6"),
            ("swin_l", "1PrWZjppjxEvJe2wQ7a3augG4iRQX1pLJ"),
            ("video_swin_t", "1-TkdQksTrmB253ao99NgnmsrsQkous2V"),
            ("video_swin_s", "1Z4ENlWAKIEp44HC0OH4CjsZXgQTMTvDK"),
            ("video_swin_b", "1-ezn8H2GPTc7o6cUGN1r3DI6sDLF2J5s"),
            ("convnext_large", "1w4o392nrKEDd2JqlBcu5r1ZqoSAMtFwD"),
            ("convmae_base", "1_hHPVici-RIcn7ocvn6RPDSMG4gJA5Pj"),
        )
    ),
    _backbone(
        "resnet50",
        "ImageNet-1k",
        "BSD-3-Clause",
        f"{TORCHVISION}/resnet50-0676ba61.pth",
        size=102_530_000,
        sha256="0676ba61",
    ),
    _backbone(
        "resnet101",
        "ImageNet-1k",
        "BSD-3-Clause",
        f"{TORCHVISION}/resnet101-63fe2227.pth",
        size=178_790_000,
        sha256="63fe2227",
    ),
    *(
        _backbone(f"swin_{s}", on, "MIT", f"{SWIN}/v1.0.0/swin_{long}.pth")
        for s, on, long in (
            ("t", "ImageNet-1k", "tiny_patch4_window7_224"),
            ("s", "ImageNet-1k", "small_patch4_window7_224"),
            ("b", "ImageNet-22k", "base_patch4_window7_224_22k"),
            ("l", "ImageNet-22k", "large_patch4_window7_224_22k"),
        )
    ),
    *(
        _backbone(f"video_swin_{s}", "Kinetics-400", "Apache-2.0", f"{SWIN}/v1.0.4/swin_{long}.pth")
        for s, long in (
            ("t", "tiny_patch244_window877_kinetics400_1k"),
            ("s", "small_patch244_window877_kinetics400_1k"),
            ("b", "base_patch244_window877_kinetics400_22k"),
        )
    ),
    _small(
        "picodet_s_416_coco",
        "picodet_s_416_coco.onnx",
        "PicoDet-S: boxes of COCO's classes, small",
        "none stated (PaddleDetection, where it was trained: Apache-2.0)",
        f"{GITHUB}/hpc203/picodet-onnxruntime/{PICODET}/coco/picodet_s_416_coco.onnx",
        size=4_040_573,
        sha256="cdab77bdde16e4f76bec734c4e5791801d1739e4c7ec1995e0e110e04300d0c2",
    ),
    *(
        _small(
            f"nanotrack_{part}",
            f"nanotrack_{part}_sim.onnx",
            f"NanoTrack v2, {part}: follows a box, small",
            "Apache-2.0",
            f"{GITHUB}/HonglinChu/SiamTrackers/{NANOTRACK}/nanotrack_{part}_sim.onnx",
            size=size,
            sha256=sha256,
        )
        for part, size, sha256 in (
            (
                "backbone",
                1_056_849,
                "530bdd0cd00f19afab79a863e71ba71e3312395a5dc9151af675082bdaaa2fc4",
            ),
            ("head", 726_198, "0d8c0637be849f092cc7236cae02e55c8b9455ebe37ba50601d6115db4247cd9"),
        )
    ),
    _small(
        "u2netp",
        "u2netp.onnx",
        "U2-Net-p: the salient object of a picture, small",
        "Apache-2.0",
        "https://github.com/danielgatis/rembg/releases/download/v0.0.0/u2netp.onnx",
        size=4_574_861,
        sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
    ),
    Weight(
        "benepar_en3",
        "benepar: the paper's parser of nouns",
        "masklets.noun.method=benepar",
        "Apache-2.0 (code)",
        (),
        command="python -c \"import benepar; benepar.download('benepar_en3')\"",
        check="python -c \"import nltk; nltk.data.find('models/benepar_en3')\"",
        by_hand="https://kitaev.com/benepar/index.xml has its address",
    ),
    Weight(
        "en_core_web_sm",
        "spaCy: another parser of nouns",
        "masklets.noun.method=spacy",
        "MIT",
        (),
        command="python -m spacy download en_core_web_sm",
        check='python -c "import en_core_web_sm"',
        by_hand="https://github.com/explosion/spacy-models/releases",
    ),
)
WEIGHTS: Mapping[str, Weight] = {row.name: row for row in _ROWS}
# Names of several rows, for `weights get`.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "small": ("picodet_s_416_coco", "nanotrack_backbone", "nanotrack_head", "u2netp")
}
