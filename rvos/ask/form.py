"""The page on which a person answers the questions about a run's masklets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rvos.masks import write_bytes
from rvos.report.pages import environment


def write_form(path: Path, questions: Sequence[Mapping[str, Any]]) -> None:
    """A page of the lines of questions.jsonl, beside their pictures, that saves answers.json.

    The browser keeps what is ticked, so that a person can go on another day.
    """
    html = environment("rvos.ask").get_template("questions.html.j2").render(questions=questions)
    write_bytes(path, html.encode())
