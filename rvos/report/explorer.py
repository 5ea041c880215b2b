"""explorer/ of a run folder -> the data of the page's explorer, in the order of its table.

The browser knows some rules. For a run of another one its section says so, and shows the vote.
"""

from collections.abc import Sequence
from typing import Any

from rvos.report.run import Run

RULES = ("vote", "whole_video", "sliding_vote", "instance_vote")  # as templates/vote.js


def explorer_of(run: Run, identities: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
    """What the browser decides from; None where the run has no `explorer/`.

    `identities` are (video, expression_id) of the table's rows.
    """
    videos = {}
    for name in run.videos:
        content = run.explorer(name)
        if content is None:
            return None
        videos[name] = content
    first = videos[run.videos[0]]
    refine = run.metrics.refine
    known = refine["name"] in RULES
    windows, taus = first["windows"], first["taus"]
    return {
        **{key: first[key] for key in ("unit", "windows", "taus", "presence")},
        "run": {
            "rule": refine["name"] if known else RULES[0],
            "known": known,
            "window": refine["window"] if refine.get("window") in windows else windows[0],
            "k": taus.index(refine["tau"]) if refine.get("tau") in taus else 0,
        },
        "expressions": [videos[video]["expressions"][key] for video, key in identities],
    }
