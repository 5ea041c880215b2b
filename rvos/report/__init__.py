"""Scores -> tables, the page of a run, comparisons, a dashboard, submissions."""

from rvos.report.html import NoPage, Page
from rvos.report.run import Run

__all__ = ["NoPage", "Page", "Run"]
