"""Box formats and gIoU on boxes whose areas are counted by hand."""

import pytest
import torch

from rvos.boxes import cxcywh_to_xyxy, generalized_iou, xyxy_to_cxcywh


def test_formats():
    corners = torch.tensor([[1.0, 2.0, 5.0, 10.0]])
    assert xyxy_to_cxcywh(corners).tolist() == [[3, 6, 4, 8]]
    assert cxcywh_to_xyxy(xyxy_to_cxcywh(corners)).tolist() == corners.tolist()


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
