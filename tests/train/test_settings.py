"""Wrong settings of training and data: one error lists every one, whatever kind it has."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

import pytorch_lightning as pl  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from test_conf import composed  # noqa: E402

from rvos import CONFIG_DIR, Count, InputError, SettingsError, checked  # noqa: E402
from rvos.app.train import check_settings  # noqa: E402
from rvos.app.training import make_parts  # noqa: E402
from rvos.data.synthetic import synthesize  # noqa: E402
from rvos.data.verify import verify  # noqa: E402
from rvos.settings import build, make  # noqa: E402
from rvos.train import run  # noqa: E402
from rvos.train.callbacks import BestCheckpoint, LastCheckpoint  # noqa: E402
from rvos.train.resume import resume_from  # noqa: E402
from rvos.train.settings import TrainerSettings, Validation  # noqa: E402


def group(name: str, *overrides: str):
    """A group of conf/ as train.py gets it."""
    return composed("train", "output_dir=x", *overrides)[name]


def made(path: str):
    """What builds the node `path` of train.py's config, with other values of some keys."""

    def build_it(**changes):
        node = OmegaConf.select(composed("train", "output_dir=x"), path)
        node = OmegaConf.to_container(node, resolve=True) | changes
        return build({"_target_": f"{__name__}.Validation"} | node, path)

    return build_it


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
        made("data"),
        "data",
        {
            "name": "",
            "format": None,
            "root": 3,
            "split": ["valid_u"],
            "train_split": 3,
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
        made("data.clip"),
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
            "photometric": "bright",
            "plain_short_side": "small",
            "pad_to": 0,
            "pseudo_clip": 40,
        },
    ),
    "Resizing": (
        made("data.clip.resizing"),
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
        made("data.clip.photometric"),
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
        made("data.clip.pseudo_clip"),
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
        made("optim"),
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
        made("loss"),
        "loss",
        {"ce": "much", "bbox": -1, "giou": None, "mask": [2], "dice": NAN},
    ),
    "Validation": (made("validation"), "validation", {"at_start": "yes", "num_overlays": -1}),
    "Recipe of synthesize": (
        synthetic,
        "",
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
    with pytest.raises(SettingsError) as raised:
        make(**wrong)
    error = raised.value
    keys = [problem.partition(":")[0] for problem in error.problems]
    assert sorted(keys) == sorted(f"{name}.{key}".lstrip(".") for key in wrong)
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
        "": lambda: OmegaConf.load(CONFIG_DIR / "synthesize.yaml"),
    }
    keys = {str(key) for key in groups[name]() if not str(key).startswith("_")}
    assert set(wrong) == keys - {"out"}


@pytest.mark.parametrize("value", [0, 1.5, "often", None, True])
def test_callbacks_count_optimizer_steps(value, tmp_path):
    with pytest.raises(SettingsError, match=r"^every_n_steps: expected a whole number >= 1, got"):
        LastCheckpoint(dirpath=tmp_path, every_n_steps=value)
    node = {"_target_": "rvos.train.callbacks.Speed", "every_n_steps": value}
    with pytest.raises(SettingsError, match=r"^callbacks.speed.every_n_steps: expected a whole"):
        build({"speed": node}, "callbacks")


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["save_top_k=2"], "callbacks.best.save_top_k: expected 1, got 2"),
        (["save_top_k=-1"], "callbacks.best.save_top_k: expected 1, got -1"),
        (["monitor=val/loss"], "callbacks.best.mode: expected min for val/loss, got max"),
        (["save_top_k=2", "filename='best-{val/JF:.0f}'"], "callbacks.best.save_top_k: expected 1"),
        (["mode=min"], "callbacks.best.mode: expected max for val/JF, got min"),
        (["monitor=null"], "callbacks.best.monitor: expected a name as val/JF, got None"),
        (["filename=last"], "callbacks.best.filename: expected a name as best, got 'last'"),
        (["filename=null"], "callbacks.best.filename: expected a name as best, got None"),
        (["save_on_train_epoch_end=true"], "callbacks.best.save_on_train_epoch_end: expected that"),
        (["save_top_k=2", "filename='best-{step}'"], None),
        (["save_top_k=2", "filename='{epoch}'"], None),
        (["save_top_k=2", "enable_version_counter=true"], None),
        (["monitor=val/loss", "mode=min"], None),
    ],
)
def test_the_best_checkpoint_is_never_the_worst(overrides, message):
    best = group("callbacks", *(f"callbacks.best.{text}" for text in overrides)).best
    if message is None:
        assert build(best, "callbacks.best").save_top_k in (1, 2)
        return
    with pytest.raises(SettingsError, match=f"^{message}"):
        build(best, "callbacks.best")


def best_in(folder):
    return BestCheckpoint(
        dirpath=folder, filename="best", save_top_k=1, monitor="val/JF", mode="max"
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["best", "best-v1", "best-step=7"])
def test_the_best_weights_are_exported_whatever_their_file_is_called(name, tmp_path, monkeypatch):
    """With several kept, another folder, or Lightning's counter of versions, it is not best.ckpt;
    the last weights would be exported in its place."""
    best = best_in(tmp_path / "elsewhere")
    best.best_model_path = str(tmp_path / "elsewhere" / f"{name}.ckpt")
    trainer = pl.Trainer(
        accelerator="cpu", callbacks=[best], logger=False, default_root_dir=tmp_path
    )
    for file in (Path(best.best_model_path), tmp_path / "checkpoints" / "last.ckpt"):
        file.parent.mkdir()
        file.write_bytes(b"")
    loaded = []
    monkeypatch.setattr(run, "load_weights", lambda _, path: loaded.append(path.name))
    monkeypatch.setattr(run, "save_official", lambda *_: None)
    assert run.finish(trainer, torch.nn.Linear(1, 1), tmp_path)["weights_of"] == f"{name}.ckpt"
    Path(best.best_model_path).unlink()
    run.finish(trainer, torch.nn.Linear(1, 1), tmp_path)
    assert loaded == [f"{name}.ckpt", "last.ckpt"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("gone", ["nowhere", "moved", "lost"])
def test_the_best_stays_the_best_where_a_run_goes_on_elsewhere(gone, tmp_path):
    """With another output_dir, or in a folder that was moved; the score of a lost one is none."""
    before, here = tmp_path / "before" / "best.ckpt", tmp_path / "here" / "best.ckpt"
    first, then = (best_in(path.parent) for path in (before, here))
    first.best_model_path, first.best_model_score = str(before), torch.tensor(0.7)
    if kept := {"nowhere": before, "moved": here}.get(gone):
        kept.parent.mkdir()
        kept.write_bytes(b"")
    then.load_state_dict(first.state_dict())
    assert then.best_model_path == (str(kept) if kept else "")
    trainer = pl.Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path)
    assert then.check_monitor_top_k(trainer, torch.tensor(0.6)) is not bool(kept)
    assert then.check_monitor_top_k(trainer, torch.tensor(0.8))


def test_keys_of_no_group_and_of_the_score_are_checked_before_training():
    cfg = composed("train", "output_dir=x", "hints=-1", "compile=2", "score.max_videos=0")
    with pytest.raises(SettingsError) as raised:
        make_parts(cfg)
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        "compile",
        "hints",
        "score.max_videos",
    ]


def test_a_trainer_file_of_ones_own_needs_not_all_keys():
    assert make(TrainerSettings, "trainer", {"max_steps": 1e5}).max_steps == 100_000


def test_names_of_epochs_are_one_for_several_validations(tmp_path):
    """Two checkpoints of one epoch would have one name."""
    named = "callbacks.best.filename='{epoch}'"
    wrong = [named, "callbacks.best.save_top_k=2", "trainer.val_check_interval=0.5"]
    cfg = composed("train", f"output_dir={tmp_path}", *wrong)
    with pytest.raises(SettingsError, match="several may have the name {epoch}.ckpt.*best-{step}"):
        check_settings(cfg)
    cfg.trainer.val_check_interval = 1.0
    check_settings(cfg)


def test_a_split_or_sources_are_trained_on():
    with pytest.raises(SettingsError, match="^data.train_split: expected a text, got None"):
        made("data")(train_split=None)
    source = {"format": "mevis", "root": "x", "split": "train", "meta": None}
    sources = {"one": {"_target_": "rvos.train.joint.Source"} | source}
    with pytest.raises(
        SettingsError, match="^data.train_split: expected null beside data.sources, got 'train'"
    ):
        made("data")(sources=sources)


def test_verify_lists_all():
    with pytest.raises(SettingsError, match="^data.release: expected any or v1 or v2 .*, got 'v3'"):
        verified(release="v3")
    with pytest.raises(SettingsError) as raised:
        verified(splits="train", decode="yes", workers=0)
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        "splits",
        "decode",
        "workers",
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
        build(node, "data")
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        "data.batch_size",
        "data.clip.num_frames",
        "data.clip.resizing.short_sides",
        "data.clip.photometric.hue",
    ]


@checked
class Inner:
    size: Count


@dataclass
class Outer:  # of the standard library, as users write them
    parts: list
    count: int = 1

    def __post_init__(self):
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
            {"_target_": OUTER, "parts": [{"_target_": INNER, "size": 0}], "count": "many"},
            [
                "x.count: expected a whole number, got 'many'",
                "x.parts.0.size: expected a whole number >= 1, got 0",
            ],
        ),
        (
            {"_target_": INNER, "colour": "red", "width": 3},
            [f"x: {INNER}: no such key: colour, width", f"x: {INNER}: key missing: size"],
        ),
        (
            {"_target_": FUNCTION, "parts": [{"_target_": INNER, "size": 0}], "limit": 4},
            ["x.parts.0.size: "],  # a plain function can be called with sound arguments alone
        ),
        (
            {"_target_": FUNCTION, "parts": [{"_target_": INNER, "size": 1}], "limit": 4},
            ["limit: expected at most 1"],
        ),
        ({"_target_": FUNCTION, "parts": []}, [f"x: {FUNCTION}: made_outer() missing 1 required"]),
        (
            {"_target_": FUNCTION, "parts": [{"_target_": "rvos.nothing.Here"}], "limit": 0},
            ["x.parts.0._target_: cannot import rvos.nothing.Here"],
        ),
        ({"_target_": FUNCTION, "_partial_": True, "parts": [{"_target_": INNER, "size": 1}]}, []),
    ],
)
def test_everything_inside_of_a_node_is_looked_at(node, problems):
    if not problems:
        build(node, "x")
        return
    with pytest.raises(SettingsError) as raised:
        build(node, "x")
    assert len(raised.value.problems) == len(problems)
    for told, expected in zip(raised.value.problems, problems, strict=True):
        assert told.startswith(expected)


PRESETS = [
    f"{folder}={file.stem}"
    for folder in ("data", "optim", "loss", "callbacks", "experiment", "debug")
    for file in sorted((CONFIG_DIR / folder).glob("*.yaml"))
]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_are_accepted(preset):
    cfg = composed("train", "output_dir=x", preset)
    for name in ("data", "optim", "loss", "callbacks"):
        build(cfg[name], name)
    Validation(**cfg.validation)


@pytest.mark.parametrize("experiment, steps", [("demo", 100), ("demo_pretrain", 2000)])
def test_the_demos_end_after_a_number_of_steps(experiment, steps):
    """Not of minutes: a slower machine takes longer and gets the same weights."""
    trainer = composed("train", "output_dir=x", f"experiment={experiment}").trainer
    assert (trainer.max_steps, trainer.max_epochs, trainer.max_time) == (steps, -1, None)
    interval = trainer.val_check_interval  # forward passes, here one a step, or a share of an epoch
    epoch = trainer.limit_train_batches
    assert steps % (interval if isinstance(interval, int) else epoch) == 0  # the end is validated


WITHOUT_TORCH = """
import sys

sys.modules.update(torch=None, torchvision=None, pytorch_lightning=None)  # importing them fails
from rvos.app.train import main

sys.argv[1:] = %r
main()
"""


def test_wrong_values_are_named_before_torch_is_imported(tmp_path):
    """A second instead of ten. Every group that is rvos' own has one wrong value."""
    wrong = [
        "data.batch_size=0",
        "data.clip.num_frames=0",
        "data.clip.resizing.max_long_side=0",
        "data.clip.photometric.hue=red",
        "data.clip.pseudo_clip.rotation=some",
        "data.sources.refcoco.weight=0",
        "loss.ce=much",
        "optim.lr=-1",
        "model.num_levels=3",
        "model.hidden_dim=100",
        "callbacks.last.every_n_steps=0",
        "callbacks.time_left.after_steps=1",
        "callbacks.best.save_top_k=2",
        "trainer.devices=four",
        "trainer.max_epochs=-5",
        "coarse.clip_length=0",
        "validation.num_overlays=x",
        "seed=x",
        "compile=2",
        "hints=-1",
        "score.max_videos=0",
    ]
    program = WITHOUT_TORCH % ["data=joint", *wrong, f"output_dir={tmp_path}"]
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: Wrong settings ({len(wrong) + 1})")
    said = {line.partition(":")[0].strip() for line in ended.stderr.splitlines()[1:]}
    assert said == {text.partition("=")[0] for text in wrong} | {"data.seed"}


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["data.root=/nowhere"], "/nowhere/train: no such folder; expected data.root/data.split"),
        (["data.train_split=trian"], "trian: no such folder; expected data.root/data.split"),
        (["data.format=mevsi"], "data.format: expected one of mevis, "),
        (["model.weights=gone.pth"], "model.weights=gone.pth: no such weights"),
        (["model.backbone_weights=gone.pth"], "model.backbone_weights=gone.pth: no such weights"),
        (["model.tokenizer=/nowhere"], "model.tokenizer=/nowhere: no such weights"),
        (["ckpt_path=gone.ckpt"], "ckpt_path: gone.ckpt: no such file"),
    ],
)
def test_files_that_are_not_there_are_named_before_torch_is_imported(overrides, message, tmp_path):
    root = tmp_path / "data"
    for split in ("train", "valid_u"):
        (root / split).mkdir(parents=True)
    sound = ["data=synthetic", "model=mutr_tiny", f"data.root={root}", f"output_dir={tmp_path}/run"]
    program = WITHOUT_TORCH % [*sound, *overrides]
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1 and message in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("at", [0, 2e9])  # without a time; from a node that is ahead
def test_of_runs_that_were_copied_the_last_one_goes_on(tmp_path, at):
    for name in ("2026-01-02", "2026-03-04", "2026-02-03"):
        path = tmp_path / name / "checkpoints" / "last.ckpt"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (at, at))
    found = resume_from("last", tmp_path / "new", tmp_path)
    assert found == tmp_path / "2026-03-04" / "checkpoints" / "last.ckpt"
