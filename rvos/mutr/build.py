"""Settings of conf/model -> MUTR, with weights where a file is given."""

from rvos.mutr.model import MUTR


def build_mutr(*, weights: str | None, **settings) -> MUTR:
    """`weights`: official or own checkpoint to start from, loaded strictly; None: random."""
    model = MUTR(**settings)
    if weights is not None:
        from rvos.mutr.checkpoint import load_weights

        load_weights(model, weights)
    return model
