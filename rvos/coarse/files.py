"""Coarse masks that some model has already made: `coarse=files`. Needs no torch."""

from functools import cached_property
from typing import ClassVar

from rvos.masks import TrackFiles
from rvos.settings import checked
from rvos.stages.store import given_files
from rvos.stages.work import CoarseFiles, Work


@checked
class GivenMasks:
    """`path`: one file {video: {expression_id: track}}, a folder of files, or a PNG tree."""

    path: str | None

    uses_gpu: ClassVar[bool] = False
    may_have_scores: ClassVar[bool] = True  # beside a store

    def check(self, work: Work) -> None:
        """Raises InputError where nothing of the kind is."""
        _ = self._files

    def tracks(self, work: Work) -> CoarseFiles:
        """The files as they are."""
        return CoarseFiles(self._files)

    @cached_property
    def _files(self) -> TrackFiles:
        return given_files("coarse.path", self.path)
