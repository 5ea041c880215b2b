"""Masklets and nouns that exist already: `masklets=files`."""

from dataclasses import dataclass
from typing import ClassVar

from rvos.data.split import Split, Truth
from rvos.masklets.source import MaskletFiles
from rvos.masks import TrackFiles
from rvos.stages.devices import Devices
from rvos.stages.store import Stores, given_files, given_nouns


@dataclass(frozen=True)
class GivenMasklets:
    """`path`: {video: {noun: [track per instance]}}; `nouns`: {video: {expression_id: noun}}."""

    path: str | None
    nouns: str | None

    uses_gpu: ClassVar[bool] = False
    needs_truth: ClassVar[bool] = False
    may_have_scores: ClassVar[bool] = True  # beside a store

    def check(self, split: Split, stores: Stores, truth: Truth | None, *, write: bool) -> None:
        """Raises InputError where nothing of the kind is."""
        given_files("masklets.path", self.path)
        given_nouns("masklets.nouns", self.nouns)

    def tracks(
        self,
        split: Split,
        stores: Stores,
        devices: Devices,
        truth: Truth | None,
        coarse: TrackFiles | None = None,
    ) -> MaskletFiles:
        """The files as they are."""
        files = given_files("masklets.path", self.path)
        return MaskletFiles(files.path, given_nouns("masklets.nouns", self.nouns), "unknown origin")
