"""Noun -> boxes -> masklets: every instance a noun may mean, tracked over the whole video."""
