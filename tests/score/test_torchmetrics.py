"""The metric for training loops: means over videos, also of several processes."""

import numpy as np
import pytest

from rvos.errors import InputError
from rvos.score import j_and_f

torch = pytest.importorskip("torch")

from rvos.score.torchmetrics import JaccardAndF  # noqa: E402


def videos():
    """Five videos of one to five frames: (target, preds), each (T, 24, 32) bool."""
    rng = np.random.default_rng(4)
    return [rng.random((2, t, 24, 32)) < 0.4 for t in range(1, 6)]


def expected(of):
    J, F = np.mean([[x.mean() for x in j_and_f(g, p)] for g, p in of], axis=0)
    return {"J": J, "F": F, "J&F": (J + F) / 2}


def scores(metric):
    return {name: value.item() for name, value in metric.compute().items()}


def test_means_over_videos():
    metric = JaccardAndF()
    for target, preds in videos():
        metric.update(torch.from_numpy(preds), torch.from_numpy(target).int())
    assert scores(metric) == pytest.approx(expected(videos()), abs=1e-14)
    metric.reset()
    batch = np.stack([videos()[4], videos()[4][::-1]], 1)  # (2, B, T, H, W)
    target, preds = torch.from_numpy(batch)
    metric.update(preds, target)
    assert scores(metric) == pytest.approx(expected(batch.swapaxes(0, 1)), abs=1e-14)


def of_one_process(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/together", rank=rank, world_size=2
    )
    metric = JaccardAndF()
    for target, preds in videos()[rank::2]:
        metric.update(torch.from_numpy(preds), torch.from_numpy(target))
    torch.save(scores(metric), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_add_their_sums(tmp_path):
    """One process has three videos, the other two: the mean is that over all five."""
    torch.multiprocessing.start_processes(
        of_one_process, args=(str(tmp_path),), nprocs=2, start_method="fork"
    )
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found == pytest.approx(expected(videos()), abs=1e-14)


@pytest.mark.parametrize(
    "preds, target, message",
    [
        (torch.zeros(2, 3, 4), torch.zeros(2, 3, 4, dtype=bool), "preds: expected bool.*float32"),
        (torch.zeros(3, 4).bool(), torch.zeros(3, 4).bool(), r"of shape \(3, 4\)"),
        (torch.zeros(2, 3, 4).bool(), torch.zeros(2, 4, 3).bool(), "of one shape"),
        (torch.zeros(0, 3, 4).bool(), torch.zeros(0, 3, 4).bool(), r"of shape \(0, 3, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(preds, target, message):
    with pytest.raises(InputError, match=message):
        JaccardAndF().update(preds, target)
