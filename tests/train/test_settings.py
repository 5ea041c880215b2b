"""Wrong settings of training and data: one error lists every one, whatever kind it has."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

from hydra.errors import InstantiationException  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from test_conf import composed  # noqa: E402

from rvos import CONFIG_DIR, InputError, SettingsError, require, whole  # noqa: E402
from rvos.app.entry import check_nested  # noqa: E402
from rvos.data.synthetic import synthesize  # noqa: E402
from rvos.data.verify import verify  # noqa: E402
from rvos.mutr.losses import MutrLoss  # noqa: E402
from rvos.train.callbacks import LastCheckpoint, Speed  # noqa: E402
from rvos.train.validation import Validation, VideoScores  # noqa: E402


def group(name: str, *overrides: str):
    """A group of conf/ as train.py gets it."""
    return composed("train", "output_dir=x", *overrides)[name]


def data_module(**changes):
    node = OmegaConf.to_container(group("data"), resolve=True)
    return instantiate(node | changes)


def clip_recipe(**changes):
    return replace(data_module().clip, **changes)


def resizing(**changes):
    return replace(data_module().clip.resizing, **changes)


def photometric(**changes):
    return replace(data_module().clip.photometric, **changes)


def pseudo_clip(**changes):
    return replace(data_module().clip.pseudo_clip, **changes)


def optim(**changes):
    return replace(instantiate(group("optim")), **changes)


def loss(**changes):
    node = OmegaConf.to_container(group("loss"))
    del node["_target_"]
    return MutrLoss(**node | changes)


def video_scores(**changes):
    counts = {"max_videos": None, "num_overlays": 0} | changes
    return VideoScores(SimpleNamespace(videos=()), None, None, folder=None, **counts)


def synthetic(**changes):
    node = OmegaConf.to_container(OmegaConf.load(CONFIG_DIR / "synthesize.yaml"))
    synthesize(**node | {"out": "/nowhere"} | changes)


def verified(**changes):
    settings = {"format": "mevis", "release": "any", "splits": ["train"]}
    verify("/nowhere", **settings | {"decode": True, "workers": 1} | changes)


NAN = float("nan")
# class -> how it is made, the group its messages name, wrong values by key
WRONG = {
    "DataModule": (
        data_module,
        "data",
        {
            "name": "",
            "format": None,
            "root": 3,
            "split": ["valid_u"],
            "train_split": None,
            "sources": "refcoco",
            "val_split": 7,
            "release": "v3",
            "meta": "",
            "protocol": None,
            "clip": None,
            "batch_size": 0,
            "global_batch_size": "four",
            "val_clips": -1,
            "num_workers": 1.5,
            "skip_bad": "yes",
            "seed": -1,
        },
    ),
    "ClipRecipe": (
        clip_recipe,
        "data.clip",
        {
            "recipe": "mine",
            "num_frames": 0,
            "frames": "some",
            "local_offsets": [3, 1],
            "no_target": None,
            "boxes": "loose",
            "flip_words": True,
            "lower_case": "no",
            "reduced_decode": 1,
            "resizing": None,
            "photometric": {"brightness": 32},
            "plain_short_side": "small",
            "pad_to": 0,
            "pseudo_clip": {"brightness": 40},
        },
    ),
    "Resizing": (
        resizing,
        "data.clip.resizing",
        {
            "short_sides": [],
            "max_long_side": 0,
            "crop_probability": 1.5,
            "crop_short_sides": 400,
            "crop_sides": [600, 384],
            "flip_probability": "half",
        },
    ),
    "Photometric": (
        photometric,
        "data.clip.photometric",
        {
            "brightness": -1,
            "contrast": [1.5, 0.5],
            "saturation": [0.5],
            "hue": "red",
            "channel_order_probability": NAN,
            "overflow": "saturate",
        },
    ),
    "PseudoClip": (
        pseudo_clip,
        "data.clip.pseudo_clip",
        {
            "brightness": 300,
            "hue_saturation": -5,
            "perspective": 1.5,
            "translation": NAN,
            "rotation": "some",
            "blur_probability": 2,
            "blur_sizes": [],
        },
    ),
    "Optim": (
        optim,
        "optim",
        {
            "lr": "fast",
            "lr_backbone": -1e-6,
            "lr_text_encoder": None,
            "lr_linear_proj": NAN,
            "weight_decay": [0.1],
            "betas": [0.9, 1.0],
            "warmup_steps": 0.5,
            "milestones": [2, 1],
            "gamma": 0,
        },
    ),
    "MutrLoss": (
        loss,
        "loss",
        {"ce": "much", "bbox": -1, "giou": None, "mask": [2], "dice": NAN},
    ),
    "Validation": (Validation, "validation", {"at_start": "yes", "num_overlays": -1}),
    "Recipe of synthesize": (
        synthetic,
        "synthesize",
        {
            "num_videos": {"test": 1},
            "hidden_truth": ["test"],
            "num_frames": 0,
            "size": 128,
            "num_objects": [4, 2],
            "object_size": [0.2, 0.9],
            "camera_shake": "much",
            "pillars": 2,
            "no_target": 1.0,
            "jpeg_quality": 0,
            "seed": None,
            "workers": 0,
        },
    ),
}


@pytest.mark.parametrize("make, name, wrong", WRONG.values(), ids=WRONG)
def test_one_error_lists_every_wrong_setting(make, name, wrong):
    with pytest.raises((SettingsError, InstantiationException)) as raised:
        make(**wrong)
    error = raised.value.__cause__ or raised.value  # Hydra wraps those of its objects
    assert isinstance(error, SettingsError)
    assert {problem.partition(":")[0] for problem in error.problems} == {
        f"{name}.{key}" for key in wrong
    }
    for problem in error.problems:
        key = problem.partition(":")[0].removeprefix(f"{name}.")
        assert "expected " in problem and problem.endswith(f"got {wrong[key]!r}")


@pytest.mark.parametrize("make, name, wrong", WRONG.values(), ids=WRONG)
def test_the_tables_name_every_key(make, name, wrong):
    """So that a new key without a check is found."""
    groups = {
        "data": lambda: group("data"),
        "data.clip": lambda: group("data").clip,
        "data.clip.resizing": lambda: group("data").clip.resizing,
        "data.clip.pseudo_clip": lambda: group("data").clip.pseudo_clip,
        "data.clip.photometric": lambda: group("data").clip.photometric,
        "optim": lambda: group("optim"),
        "loss": lambda: group("loss"),
        "validation": lambda: group("validation"),
        "synthesize": lambda: OmegaConf.load(CONFIG_DIR / "synthesize.yaml"),
    }
    keys = {str(key) for key in groups[name]() if not str(key).startswith("_")}
    assert set(wrong) == keys - {"out"}


@pytest.mark.parametrize("value", [0, 1.5, "often", None, True])
def test_callbacks_count_optimizer_steps(value, tmp_path):
    with pytest.raises(SettingsError, match=r"callbacks.last.every_n_steps: expected a whole"):
        LastCheckpoint(dirpath=tmp_path, every_n_steps=value)
    with pytest.raises(SettingsError, match=r"callbacks.speed.every_n_steps: expected a whole"):
        Speed(every_n_steps=value)


def test_counts_of_scored_and_drawn_videos():
    with pytest.raises(SettingsError, match=r"score.max_videos: .*got 0"):
        video_scores(max_videos=0)
    with pytest.raises(SettingsError, match=r"validation.num_overlays: .*got 'all'"):
        video_scores(num_overlays="all")


def test_verify_lists_all():
    with pytest.raises(SettingsError) as raised:
        verified(release="v3", splits="train", decode="yes", workers=0)
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        "data.release",
        "verify.splits",
        "verify.decode",
        "verify.workers",
    ]


def test_inner_and_outer_settings_are_reported_together():
    """Hydra alone makes the innermost object first and stops there."""
    overrides = [
        "data.batch_size=none",
        "data.clip.num_frames=0",
        "data.clip.resizing.short_sides=[]",
        "data.clip.photometric.hue=red",
    ]
    node = OmegaConf.to_container(group("data", *overrides), resolve=True)
    with pytest.raises(SettingsError) as raised:
        check_nested(node)
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        "data.batch_size",
        "data.clip.num_frames",
        "data.clip.resizing.short_sides",
        "data.clip.photometric.hue",
    ]


@dataclass
class Inner:
    size: int

    def __post_init__(self):
        require(self, "inner", size=whole(1))


@dataclass
class Outer:
    parts: list
    count: int = 1

    def __post_init__(self):
        require(self, "outer", count=whole(1))
        self.sizes = [part.size for part in self.parts]


def made_outer(parts, limit):
    if limit > len(parts):
        raise InputError(f"limit: expected at most {len(parts)}, got {limit}")
    return parts


OUTER, INNER, FUNCTION = (f"{__name__}.{name}" for name in ("Outer", "Inner", "made_outer"))


@pytest.mark.parametrize(
    "node, problems",
    [
        ({"_target_": OUTER, "parts": [{"_target_": INNER, "size": 2}], "count": 2}, []),
        (
            {"_target_": OUTER, "parts": [{"_target_": INNER, "size": 0}], "count": 0},
            ["outer.count: expected a whole number >= 1, got 0", "inner.size: expected a whole"],
        ),
        (
            {"_target_": OUTER, "parts": [{"_target_": INNER, "size": 0}]},
            ["inner.size: "],  # the outer object cannot be looked at: its part has no size
        ),
        (
            {"_target_": INNER, "colour": "red", "width": 3},
            [f"{INNER}: no such key: colour, width", f"{INNER}: key missing: size"],
        ),
        (
            {"_target_": FUNCTION, "parts": [{"_target_": INNER, "size": 0}], "limit": 4},
            ["limit: expected at most 1", "inner.size: "],
        ),
        ({"_target_": FUNCTION, "parts": []}, [f"{FUNCTION}: made_outer() missing 1 required"]),
        (
            {"_target_": FUNCTION, "parts": [{"_target_": "rvos.nothing.Here"}], "limit": 0},
            ["_target_: cannot import rvos.nothing.Here"],
        ),
        ({"_target_": FUNCTION, "_partial_": True, "parts": [{"_target_": INNER, "size": 1}]}, []),
    ],
)
def test_everything_inside_of_a_node_is_looked_at(node, problems):
    if not problems:
        check_nested(node)
        return
    with pytest.raises(SettingsError) as raised:
        check_nested(node)
    assert len(raised.value.problems) == len(problems)
    for found, expected in zip(raised.value.problems, problems, strict=True):
        assert found.startswith(expected)


PRESETS = [
    f"{folder}={file.stem}"
    for folder in ("data", "optim", "loss", "callbacks", "experiment", "debug")
    for file in sorted((CONFIG_DIR / folder).glob("*.yaml"))
]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_are_accepted(preset):
    cfg = composed("train", "output_dir=x", preset)
    check_nested(OmegaConf.to_container(cfg.data, resolve=True))
    callbacks = [node for node in cfg.callbacks.values() if node is not None]
    for node in (cfg.data, cfg.optim, cfg.loss, *callbacks):
        instantiate(node)
    Validation(**cfg.validation)


@pytest.mark.parametrize("experiment, steps", [("demo", 100), ("demo_pretrain", 2000)])
def test_the_demos_end_after_a_number_of_steps(experiment, steps):
    """Not of minutes: a slower machine takes longer and gets the same weights."""
    trainer = composed("train", "output_dir=x", f"experiment={experiment}").trainer
    assert (trainer.max_steps, trainer.max_epochs, trainer.max_time) == (steps, -1, None)
    interval = trainer.val_check_interval  # forward passes, here one a step, or a share of an epoch
    epoch = trainer.limit_train_batches
    assert steps % (interval if isinstance(interval, int) else epoch) == 0  # the end is validated
