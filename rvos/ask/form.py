"""The page on which a person answers the questions about a run's masklets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvos.masks import write_bytes

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> "Environment":
    """The templates of this room, with the filter that they use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rvos.ask"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["percent"] = lambda score: f"{100 * score:.1f}"
    return environment


def write_form(path: Path, questions: Sequence[Mapping[str, Any]]) -> None:
    """A page of the lines of questions.jsonl, beside their pictures, that saves answers.json.

    The browser keeps what is ticked, so that a person can go on another day.
    """
    html = environment().get_template("questions.html.j2").render(questions=questions)
    write_bytes(path, html.encode())
