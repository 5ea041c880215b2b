"""The page of the conversations: what the models saw and said, and what came of it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rvos.ask.oracle import Decisions, Scored, oracle_decisions, score_decisions
from rvos.ask.questions import Asked
from rvos.data.split import NoTruth
from rvos.masks import write_bytes
from rvos.report.pages import environment


def write_page(
    run: Path, asked: Asked, decisions: Decisions, record: Mapping[str, Any], path: Path
) -> Path:
    """Write the page beside RUN/ask/sent, which has its pictures; returns its path.

    Where the run has ground truth, it shows J&F of the run's own choice, of the models' and of the
    oracle's. The expressions whose choice changed stand first.
    """
    scores = _scores(run, asked, decisions)
    rows = []
    for video in asked.split.videos:
        for e in video.expressions:
            own = sorted({i for window in asked.windows(e) for i in window["selected"]})
            decision = decisions[video.name][e.expression_id]
            rows.append(
                {
                    "video": video.name,
                    "expression": e,
                    "noun": asked.noun(e),
                    "own": own,
                    "decision": decision,
                    "changed": not decision["present"]
                    or ("windows" not in decision and decision["masklets"] != own),
                    "told": record["expressions"][video.name][e.expression_id],
                    "score": scores.get((video.name, e.expression_id)),
                }
            )
    rows.sort(key=lambda row: not row["changed"])
    html = (
        environment("rvos.ask")
        .get_template("conversations.html.j2")
        .render(
            rows=rows,
            record=record,
            means=_means(scores),
            sent=os.path.relpath(run / "ask" / "sent", path.parent),
        )
    )
    write_bytes(path, html.encode())
    return path


def _scores(run: Path, asked: Asked, decisions: Decisions) -> dict[Any, Scored]:
    """Nothing for a run without ground truth."""
    if not (run / "metrics.json").is_file():
        return {}
    try:
        oracle = oracle_decisions(run, asked)
    except NoTruth:
        return {}
    return score_decisions(run, asked, {"models": decisions, "oracle": oracle})


def _means(scores: dict[Any, Scored]) -> dict[str, float]:
    if not scores:
        return {}
    count = len(scores)
    means = {"the run's own choice": sum(s.own for s in scores.values()) / count}
    for name, label in (("models", "the models' choice"), ("oracle", "the oracle's choice")):
        means[label] = sum(s.decided[name] for s in scores.values()) / count
    return means
