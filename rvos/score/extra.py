"""`score.extra` -> the metrics that metrics.json has beside J and F."""

from collections.abc import Mapping
from typing import Any

from rvos.errors import InputError
from rvos.score.measures import COUNTS, Metric
from rvos.settings import Checks, build, named, preset


def make_metrics(extra: Mapping[str, Any] | str) -> dict[str, Metric]:
    """The metrics that `score.extra` names, by label; a label set to null is left out.

        make_metrics({"tIoU": "rvos.score.measures.tIoU",
                      "J_recall": {"_target_": "rvos.score.measures.Recall", "of": "J"}})

    A target is the dotted name of a function, which gets the entry's other keys as keyword
    arguments, or of a class, which is built with them. A text is the name of a preset of conf/score
    that has them: `score.extra=volumetric`. Raises SettingsError for all entries that cannot be
    made.
    """
    if isinstance(extra, str):
        extra = preset("score", extra)["extra"]
    if not isinstance(extra, Mapping):
        raise InputError(f"score.extra: expected {{label: metric}}, got {extra!r}")
    entries = {str(label): entry for label, entry in extra.items() if entry is not None}
    with Checks() as check:
        return {label: check(_make_metric, label, entry) for label, entry in entries.items()}


def _make_metric(label: str, entry: Any) -> Metric:
    key = f"score.extra.{label}"
    if label in COUNTS:
        raise InputError(f"{key}: metrics.json has another number of that name")
    node = dict(entry) if isinstance(entry, Mapping) else {"_target_": entry}
    target = named(key, node.get("_target_"))
    if not isinstance(target, type):
        return build(node | {"_partial_": True}, key) if len(node) > 1 else target
    metric = build(node, key)
    if not callable(metric):
        raise InputError(f"{key}: objects of {node['_target_']} cannot be called")
    return metric
