"""Expression -> the noun whose instances are detected and tracked. Language lives here."""

from rvos.nouns.finder import NounFinder, Nouns, parts, read_nouns, write_nouns

__all__ = ["NounFinder", "Nouns", "parts", "read_nouns", "write_nouns"]
