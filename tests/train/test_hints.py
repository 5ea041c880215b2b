"""Hints: a loss beside MUTR's, on layers that are not part of the model."""

import math

import pytest

torch = pytest.importorskip("torch")

from test_segmenter import OPTIM, sample, tiny_model  # noqa: E402

from rvos.mutr.losses import MutrLoss  # noqa: E402
from rvos.train.clips import collate  # noqa: E402
from rvos.train.segmenter import Segmenter  # noqa: E402

LOSS = MutrLoss(ce=2, bbox=5, giou=2, mask=2, dice=5)


class Sums:
    """In place of `LossSums`: the last loss."""

    def add(self, clip, loss):
        self.loss = loss


def trained(hints):
    module = Segmenter(tiny_model().train(), LOSS, OPTIM, seed=0, compile=False, hints=hints)
    module._train = Sums()
    return module


def test_the_loss_is_that_of_the_share_of_each_position_that_the_target_covers():
    """With all logits z it is softplus(z) - z s, s the share of the frame that the target covers.

    64 x 96 pixels are a multiple of all strides, so the mean share of the positions is s.
    """
    clip = collate([sample(i) for i in range(4)])
    module = trained(hints=3.0)
    z = -0.7
    for head in module.hints.heads:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, z)
    total = module.training_step(clip, 0)
    shares = clip.masks.float().mean((-1, -2))  # (B, T)
    softplus = math.log(1 + math.exp(z))
    expected = 2 * 3 * float((softplus - z * shares).sum())  # three strides, asked twice
    parts = module._train.loss.parts
    assert parts["loss_hints"].item() == pytest.approx(expected, rel=1e-5)
    without = trained(hints=0)
    plain = without.training_step(clip, 0)
    assert total.item() == pytest.approx(plain.item() + 3 * expected, rel=1e-5)


def test_they_are_trained_but_not_part_of_the_model():
    module = trained(hints=1.0)
    names = {group["name"] for group in module.optim.optimizer(module.model).param_groups}
    module.trainer = type("Trainer", (), {"num_training_batches": 1, "accumulate_grad_batches": 1})
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert [g["name"] for g in groups if g["name"] not in names] == ["hints"]
    clip = collate([sample(0)])
    module.training_step(clip, 0).backward()
    assert all(p.grad.abs().sum() > 0 for p in module.hints.parameters())
    assert not any("hints" in name for name in module.model.state_dict())


def test_validation_has_no_hints():
    """The curve val/loss stays comparable, and nothing is kept between the passes."""
    module = trained(hints=1.0)
    module.model.eval()
    with torch.no_grad():
        loss = module._loss(collate([sample(0)]))
    assert "loss_hints" not in loss.parts and not module.hints._fused
