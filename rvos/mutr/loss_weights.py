"""The weights of MUTR's loss and matching cost; torch is not imported."""

from rvos.settings import Amount, checked


@checked(kw_only=True)
class Weights:
    """Weights of the parts of cost and loss, the keys of conf/loss; the official ones are equal.

    Raises SettingsError listing every weight that makes no sense.
    """

    ce: Amount
    bbox: Amount
    giou: Amount
    mask: Amount
    dice: Amount
