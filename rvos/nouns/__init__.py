"""Expression -> the noun whose instances are detected and tracked. Language lives here."""

from typing import TYPE_CHECKING

from rvos import lazily

if TYPE_CHECKING:
    from rvos.nouns.finder import NounFinder, Nouns, parts, read_nouns, write_nouns

__all__ = ["NounFinder", "Nouns", "parts", "read_nouns", "write_nouns"]

__getattr__ = lazily(__name__, __file__)
