"""Warnings of libraries that a user can do nothing about are left out, all others are not."""

import warnings

import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

from test_conf import composed  # noqa: E402

from rvos.stages.lightning import make_trainer, quiet  # noqa: E402

NOISE = [
    (FutureWarning, "`isinstance(treespec, LeafSpec)` is deprecated, use `isinstance(treespec"),
    (
        UserWarning,
        "It is recommended to use `self.log('val/JF', ..., sync_dist=True)` when logging on epoch"
        " level in distributed setting to accumulate the metric across devices.",
    ),
    (UserWarning, "The 'val_dataloader' does not have many workers which may be a bottleneck."),
    (UserWarning, "Checkpoint directory runs/a/checkpoints exists and is not empty."),
    (UserWarning, "The `srun` command is available on your system but is not used. HINT: ..."),
]


@pytest.mark.parametrize("category, message", NOISE)
def test_noise_is_left_out(category, message):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quiet()
        warnings.warn(message, category, stacklevel=1)
    assert not caught


def test_every_trainer_is_quiet():
    """Also that of eval.py's stages: the filters are set before Lightning can warn."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make_trainer(composed("eval", "output_dir=x", "trainer.accelerator=cpu").trainer)
        for category, message in NOISE:
            warnings.warn(message, category, stacklevel=1)
    assert not {str(w.message) for w in caught} & {message for _, message in NOISE}
    assert not [w for w in caught if "srun" in str(w.message)]


@pytest.mark.parametrize("category", [UserWarning, FutureWarning, RuntimeWarning])
def test_other_warnings_are_shown(category):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quiet()
        warnings.warn("the loss grows", category, stacklevel=1)
    assert len(caught) == 1
