"""The optimizer step: the same however a global batch is divided; groups, rates, NaN."""

import copy
import json
import os
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pl = pytest.importorskip("pytorch_lightning")

from hydra.utils import instantiate  # noqa: E402
from made_data import REPOSITORY  # noqa: E402
from pytorch_lightning.strategies import DDPStrategy  # noqa: E402
from test_conf import composed  # noqa: E402

from rvos.data.split import Expression, Split, Video  # noqa: E402
from rvos.mutr.checkpoint import official_names  # noqa: E402
from rvos.mutr.losses import MutrLoss  # noqa: E402
from rvos.train.clips import Sample, collate  # noqa: E402
from rvos.train.optim import Optim, group_of  # noqa: E402
from rvos.train.segmenter import NotFinite, Segmenter  # noqa: E402
from rvos.train.validation import VideoScores  # noqa: E402

OPTIM = Optim(
    lr=1e-3,
    lr_backbone=1e-3,
    lr_text_encoder=1e-3,
    lr_linear_proj=1e-3,
    weight_decay=0.0,
    betas=(0.9, 0.999),
    warmup_steps=0,
    milestones=[1],
    gamma=0.1,
)
EXPRESSIONS = ("the red circle", "the star moving left", "two", "a heart that stops")
VALID = ([1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0])  # the last clip has no target


def tiny_model(**settings):
    """`mutr_tiny` with seeded random weights, dropout off."""
    torch.manual_seed(0)
    model = instantiate(composed("train", "model=mutr_tiny", "output_dir=x").model)(**settings)
    model.add_words(list(EXPRESSIONS))
    for module in model.modules():  # RoBERTa has its own
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def sample(index: int) -> Sample:
    """A clip of three frames of 64 x 96 pixels: noise, and a rectangle where it is valid."""
    rng = torch.Generator().manual_seed(index)
    valid = torch.tensor(VALID[index]).bool()
    masks = torch.zeros(3, 64, 96, dtype=torch.bool)
    boxes = torch.zeros(3, 4)
    for t in valid.nonzero()[:, 0].tolist():
        masks[t, 10 + t : 30 + index, 20 : 60 + t] = True
        top, bottom, left, right = 10 + t, 30 + index, 20, 60 + t
        boxes[t] = torch.tensor(
            [(left + right) / 192, (top + bottom) / 128, (right - left) / 96, (bottom - top) / 64]
        )
    frames = torch.randn(3, 3, 64, 96, generator=rng)
    return Sample(
        frames, boxes, masks, valid, EXPRESSIONS[index], (f"v{index}", "0"), torch.arange(3)
    )


class Recorder(Segmenter):
    """Writes the gradients that the optimizer gets, and the logged loss, to a file."""

    def __init__(self, *args, file, **kwargs):
        super().__init__(*args, **kwargs)
        self.file = file

    def configure_optimizers(self):
        configured = super().configure_optimizers()
        configured["optimizer"].register_step_post_hook(self._record)
        return configured

    def _record(self, optimizer, args, kwargs):
        if self.global_rank == 0:
            gradients = {n: p.grad for n, p in self.named_parameters() if p.grad is not None}
            logged = dict(self.trainer.callback_metrics)
            torch.save({"gradients": gradients, "logged": logged}, self.file)


class Shares(torch.utils.data.Dataset):
    """The batches of this rank: four clips, dealt out as the data module does."""

    def __init__(self, batch_size, world_size):
        self.batch_size, self.world_size = batch_size, world_size

    def __len__(self):
        return 4 // (self.batch_size * self.world_size)

    def __getitem__(self, index):
        rank = int(os.environ.get("LOCAL_RANK", 0))
        first = (index * self.world_size + rank) * self.batch_size
        return collate([sample(i) for i in range(first, first + self.batch_size)])


def one_step(tmp_path, model, precision, *, batch_size, world_size, passes, hints=0):
    file = tmp_path / f"{batch_size}_{world_size}_{precision}.pt"
    loss = MutrLoss(ce=2, bbox=5, giou=2, mask=2, dice=5)
    torch.manual_seed(1)  # the layers of hints
    own = {"seed": 0, "compile": False, "hints": hints, "file": file}
    module = Recorder(copy.deepcopy(model), loss, OPTIM, **own)
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo")
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=world_size,
        strategy=strategy if world_size > 1 else "auto",
        precision=precision,
        max_steps=1,
        accumulate_grad_batches=passes,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        use_distributed_sampler=False,
    )
    loader = torch.utils.data.DataLoader(Shares(batch_size, world_size), batch_size=None)
    trainer.fit(module, loader)
    return torch.load(file)


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision, tolerance, hints", [("64-true", 1e-9, 3.0), ("32-true", 2e-3, 0)]
)
def test_a_step_does_not_depend_on_how_its_batch_is_divided(tmp_path, precision, tolerance, hints):
    """3 + 2 + 1 + 0 valid frames: dividing per clip or per device would change every gradient."""
    model = tiny_model()
    step = partial(one_step, tmp_path, model, precision, hints=hints)
    whole = step(batch_size=4, world_size=1, passes=1)
    accumulated = step(batch_size=1, world_size=1, passes=4)
    two_ranks = step(batch_size=2, world_size=2, passes=1)
    both = step(batch_size=1, world_size=2, passes=2)
    assert len(whole["gradients"]) > 200
    largest = max(float(gradient.abs().max()) for gradient in whole["gradients"].values())
    floor = 1e-6 * largest  # some gradients, as that of a key's bias, are zero in exact arithmetic
    for other in (accumulated, two_ranks, both):
        assert other["gradients"].keys() == whole["gradients"].keys()
        for name, expected in whole["gradients"].items():
            worst = (other["gradients"][name] - expected).abs().max()
            assert float(worst) <= tolerance * max(float(expected.abs().max()), floor), name


def test_the_logged_loss_is_that_of_the_whole_batch(tmp_path):
    model = tiny_model()
    clip = collate([sample(i) for i in range(4)])
    loss = MutrLoss(ce=2, bbox=5, giou=2, mask=2, dice=5)
    module = Segmenter(copy.deepcopy(model).train(), loss, OPTIM, seed=0, compile=False)
    expected = module._loss(clip).total.item() / 6  # 3 + 2 + 1 + 0 valid frames
    step = one_step(tmp_path, model, "32-true", batch_size=1, world_size=1, passes=4)
    assert step["logged"]["train/loss"].item() == pytest.approx(expected, rel=1e-5)


def test_a_step_of_clips_without_target_is_finite_and_says_only_that(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "VALID", ([0, 0, 0],) * 4)
    step = one_step(tmp_path, tiny_model(), "32-true", batch_size=4, world_size=1, passes=1)
    assert all(gradient.isfinite().all() for gradient in step["gradients"].values())
    assert step["logged"]["train/loss_ce"] > 0
    assert step["logged"]["train/loss_mask"] == step["logged"]["train/loss_bbox"] == 0


def test_dropout_repeats_for_the_same_place_and_differs_elsewhere():
    module = Segmenter(tiny_model(), None, OPTIM, seed=3, compile=False)
    module._trainer = SimpleNamespace(global_rank=0, current_epoch=1)

    def draw(batch_idx):
        module.on_train_batch_start(None, batch_idx)
        return torch.rand(4).tolist()

    first = draw(5)
    assert draw(6) != first
    assert draw(5) == first


def test_a_loss_that_is_not_finite_stops_and_names_the_clips(tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.level_embed.fill_(torch.nan)
    with pytest.raises(NotFinite, match="'v2', '0'"):
        one_step(tmp_path, model, "32-true", batch_size=1, world_size=1, passes=4)


def test_a_gradient_that_is_not_finite_stops_before_it_ruins_the_weights(tmp_path):
    model = tiny_model()
    model.mask_head.register_full_backward_hook(
        lambda module, into, out: tuple(g if g is None else g / 0 for g in into)
    )
    with pytest.raises(NotFinite, match="the gradient is not finite.*'v2', '0'"):
        one_step(tmp_path, model, "32-true", batch_size=1, world_size=1, passes=4)
    assert not list(tmp_path.glob("*.pt")), "no step was taken"


def test_groups_and_their_rates():
    """By the official rule: names of backbone, RoBERTa, sampling offsets and reference points."""
    model = tiny_model()
    optimizer = Optim(
        lr=1.0,
        lr_backbone=2.0,
        lr_text_encoder=3.0,
        lr_linear_proj=4.0,
        weight_decay=0.5,
        betas=(0.9, 0.999),
        warmup_steps=0,
        milestones=[1],
        gamma=0.1,
    ).optimizer(model)
    assert [(g["name"], g["lr"]) for g in optimizer.param_groups] == list(
        zip(("main", "backbone", "text_encoder", "linear_proj"), (1.0, 2.0, 3.0, 4.0), strict=True)
    )
    trainable = [p for p in model.parameters() if p.requires_grad]
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(trainable)
    assert group_of("decoder.reference.weight") == "linear_proj"
    assert group_of("decoder.queries.weight") == "main"
    assert group_of("encoder.layers.0.attention.sampling_offsets.bias") == "linear_proj"
    assert group_of("text.projection.weight") == "main"  # the resizer has the main rate


def test_a_frozen_text_encoder_has_no_group():
    optimizer = OPTIM.optimizer(tiny_model(freeze_text_encoder=True))
    assert [g["name"] for g in optimizer.param_groups] == ["main", "backbone", "linear_proj"]


def test_rates_warm_up_and_drop_after_epochs():
    """10 steps an epoch: linear over 4 steps, then 1; a tenth from step 10, a hundredth from 20."""
    optim = replace(OPTIM, warmup_steps=4, milestones=[1, 2])
    factors = [optim.factor(step, 10) for step in (0, 1, 3, 4, 9, 10, 19, 20)]
    assert factors == pytest.approx([0.25, 0.5, 1, 1, 1, 0.1, 0.1, 0.01])


def test_the_official_groups():
    """Every tensor of the official resnet50 model is in the group that the manifest says."""
    manifest = json.loads((REPOSITORY / "tests/golden/state_dict_manifest.json").read_text())
    groups = manifest["param_groups"]["resnet50"]["groups"]
    model = instantiate(composed("train", "model.backbone=resnet50", "output_dir=x").model)()
    own, parameters = official_names(model), dict(model.named_parameters())
    for group in ("main", "backbone", "text_encoder", "linear_proj"):
        used = [own[name] for name in groups[group] if "pooler" not in name]  # nothing reads it
        assert used and {group_of(name) for name in used} == {group}
        assert all(parameters[name].requires_grad for name in used)
    assert not any(parameters[own[name]].requires_grad for name in groups["frozen"])


def test_the_videos_that_are_scored_are_those_of_eval(tmp_path):
    """The first with expressions: the mean over none is no number."""
    texts = {"a": (), "b": (Expression("b", "0", "x", ()),), "c": (Expression("c", "0", "y", ()),)}
    videos = tuple(Video(name, ("0",), expressions) for name, expressions in texts.items())
    split = Split(tmp_path, "valid_u", videos, "")
    scores = VideoScores(split, None, None, max_videos=1, num_overlays=0, folder=tmp_path)
    assert [video.name for video in scores.videos] == ["b"]
