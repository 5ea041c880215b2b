"""`score.extra` -> the metrics that metrics.json has beside J and F."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from rvos.errors import InputError
from rvos.score.measures import COUNTS, Metric
from rvos.settings import all_checked, named


def make_metrics(extra: Mapping[str, Any]) -> dict[str, Metric]:
    """The metrics that `score.extra` names, by label; a label set to null is left out.

        make_metrics({"tIoU": "rvos.score.measures.tIoU",
                      "J_recall": {"_target_": "rvos.score.measures.Recall", "of": "J"}})

    A target is the dotted name of a function, which gets the entry's other keys as keyword
    arguments, or of a class, which is built with them. Raises SettingsError for all entries that
    cannot be made.
    """
    if not isinstance(extra, Mapping):
        raise InputError(f"score.extra: expected {{label: metric}}, got {extra!r}")
    entries = {label: entry for label, entry in extra.items() if entry is not None}
    makes = [partial(_make_metric, str(label), entry) for label, entry in entries.items()]
    return dict(zip(map(str, entries), all_checked(*makes), strict=True))


def _make_metric(label: str, entry: Any) -> Metric:
    key = f"score.extra.{label}"
    if label in COUNTS:
        raise InputError(f"{key}: metrics.json has another number of that name")
    arguments = dict(entry) if isinstance(entry, Mapping) else {"_target_": entry}
    target = arguments.pop("_target_", None)
    made = named(key, target)
    if not isinstance(made, type):
        return partial(made, **arguments) if arguments else made
    try:
        metric = made(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{key}: {target}: {error}") from None
    if not callable(metric):
        raise InputError(f"{key}: objects of {target} cannot be called")
    return metric
