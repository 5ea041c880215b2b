"""templates/ -> pages that need nothing else: style, scripts and data stand inside."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(package: str = "rvos.report") -> "Environment":
    """The templates of a package, with the filters that they use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda score: f"{100 * score:.2f}"
    environment.filters["signed"] = lambda score: f"{100 * score:+.2f}".replace("-", "−")
    environment.filters["thousands"] = lambda number: f"{number:,}".replace(",", "\u202f")
    return environment
