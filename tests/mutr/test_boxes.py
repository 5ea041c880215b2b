"""Box formats and gIoU on boxes whose areas are counted by hand."""

import pytest
import torch

from rvos.mutr.boxes import cxcywh_to_xyxy, generalized_iou


def test_formats():
    assert cxcywh_to_xyxy(torch.tensor([[3.0, 6.0, 4.0, 8.0]])).tolist() == [[1, 2, 5, 10]]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7 - 2 / 9),  # inter 1, union 7, hull 9
        ((0, 0, 1, 1), (2, 0, 3, 1), 0 - 1 / 3),  # apart: union 2, hull 3
    ],
)
def test_generalized_iou(a, b, expected):
    value = generalized_iou(torch.tensor(a).double(), torch.tensor(b).double())
    assert value.item() == pytest.approx(expected, abs=2e-6)
