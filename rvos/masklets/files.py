"""Masklets and nouns that exist already: `masklets=files`; and no masklets at all."""

from functools import cached_property
from typing import ClassVar

from rvos.masks import TrackFiles
from rvos.settings import checked
from rvos.stages.store import given_files, given_nouns
from rvos.stages.work import CoarseFiles, MaskletFiles, Work


@checked
class GivenMasklets:
    """`path`: {video: {noun: [track per instance]}}; `nouns`: {video: {expression_id: noun}}."""

    path: str | None
    nouns: str | None

    uses_gpu: ClassVar[bool] = False
    may_have_scores: ClassVar[bool] = True  # beside a store

    def check(self, work: Work) -> None:
        """Raises InputError where nothing of the kind is."""
        _ = self._files, self._nouns

    def tracks(self, work: Work, coarse: CoarseFiles) -> MaskletFiles:
        """The files as they are."""
        return MaskletFiles(self._files, self._nouns, failed=coarse.failed)

    @cached_property
    def _files(self) -> TrackFiles:
        return given_files("masklets.path", self.path, instances=True)

    @cached_property
    def _nouns(self) -> dict[str, dict[str, str]]:
        return given_nouns("masklets.nouns", self.nouns)


class NoMasklets:
    """In place of a source where no rule needs masklets."""

    uses_gpu = may_have_scores = False

    def check(self, work: Work) -> None:
        """Nothing can be wrong."""

    def tracks(self, work: Work, coarse: CoarseFiles) -> MaskletFiles:
        """No files, no nouns."""
        return MaskletFiles(None, {}, failed=coarse.failed)
