"""Losses on drawn cases whose values follow by hand; frames and clips without an object."""

import math

import pytest
import torch

from rvos import InputError
from rvos.mutr.features import LevelPredictions
from rvos.mutr.losses import MutrLoss, Targets

WEIGHTS = {"ce": 2.0, "bbox": 5.0, "giou": 2.0, "mask": 2.0, "dice": 5.0}
T, N, SIDE = 2, 3, 32  # frames, queries, pixels


def predictions(batch: int, good_query: int = 1) -> LevelPredictions:
    """One level. `good_query` has the target's boxes and, far from zero, its masks."""
    logits = torch.zeros(1, batch, N, 1)
    boxes = torch.full((1, batch, T, N, 4), 0.25)
    boxes[..., good_query, :] = 0.5
    masks = torch.full((1, batch, T, N, SIDE // 4, SIDE // 4), 20.0)
    masks[:, :, :, good_query] = -20.0
    masks[:, :, :, good_query, 2:6, 2:6] = 20.0
    return LevelPredictions(logits, boxes, masks)


def targets(*valid: list[int]) -> Targets:
    """Object: the middle half of the frame, where valid."""
    shown = torch.tensor(valid, dtype=torch.bool)
    masks = torch.zeros(len(valid), T, SIDE, SIDE, dtype=torch.bool)
    masks[..., 8:24, 8:24] = True
    return Targets(
        masks=masks & shown[..., None, None],
        boxes=torch.full((len(valid), T, 4), 0.5) * shown[..., None],
        valid=shown,
    )


def test_perfect_query_costs_only_its_class():
    out = MutrLoss(**WEIGHTS)(predictions(1), targets([1, 1]), 2.0)
    assert out.query.tolist() == [[1]]
    for name in ("bbox", "giou", "mask"):
        assert out.parts[f"loss_{name}"].item() == pytest.approx(0, abs=1e-4)
    # probability 1/2: positives 0.25 * 0.25 * ln 2, negatives 0.75 * 0.25 * ln 2; over 2 frames
    expected = 2 * (0.25 + 2 * 0.75) * 0.25 * math.log(2) / 2
    assert out.parts["loss_ce"].item() == pytest.approx(expected, rel=1e-5)
    total = sum(WEIGHTS[name] * out.parts[f"loss_{name}"] for name in WEIGHTS)
    assert out.total.item() == pytest.approx(total.item(), rel=1e-5)


def test_frame_without_object_pulls_its_box_to_zero():
    out = MutrLoss(**WEIGHTS)(predictions(1), targets([1, 0]), 1.0)
    assert out.query.tolist() == [[1]]
    assert out.parts["loss_bbox"].item() == pytest.approx(4 * 0.5)  # L1 to the zero box


def test_clip_without_object_has_classes_only():
    loss = MutrLoss(**WEIGHTS)
    prediction = predictions(2)
    leaves = [x.requires_grad_() for x in (prediction.boxes, prediction.mask_logits)]
    out = loss(prediction, targets([1, 1], [0, 0]), 2.0)
    assert out.query.tolist() == [[1, -1]]
    out.total.backward()
    for leaf in leaves:
        assert leaf.grad.isfinite().all()
        assert (leaf.grad[:, 1] == 0).all()
    empty = loss(predictions(1), targets([0, 0]), 0.0)  # a whole batch without objects
    assert empty.query.tolist() == [[-1]]
    negatives = T * N * 0.75 * 0.25 * math.log(2)
    assert empty.parts["loss_ce"].item() == pytest.approx(negatives, rel=1e-5)
    assert all(empty.parts[f"loss_{name}"] == 0 for name in ("bbox", "giou", "mask", "dice"))


def test_batch_is_the_sum_of_its_clips():
    """With the normaliser of the whole batch, as for accumulation and several devices."""
    loss = MutrLoss(**WEIGHTS)
    valid = [[1, 1], [0, 1], [0, 0]]
    together = loss(predictions(3), targets(*valid), torch.tensor(3.0)).total
    alone = sum(loss(predictions(1), targets(v), 3.0).total for v in valid)
    assert together.item() == pytest.approx(alone.item(), rel=1e-6)


def test_masks_of_another_size_are_refused():
    wrong = targets([1, 1])
    wrong = Targets(torch.zeros(1, T, 24, SIDE, dtype=torch.bool), wrong.boxes, wrong.valid)
    with pytest.raises(InputError, match=r"\(24, 32\) pixels do not fit .*\(8, 8\)"):
        MutrLoss(**WEIGHTS)(predictions(1), wrong, 2.0)
