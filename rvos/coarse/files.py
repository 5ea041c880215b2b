"""Coarse masks that some model has already made: `coarse=files`. Needs no torch."""

from dataclasses import dataclass
from typing import ClassVar

from rvos.data.split import Split
from rvos.masks import TrackFiles
from rvos.stages.devices import Devices
from rvos.stages.store import Stores, given_files


@dataclass(frozen=True)
class GivenMasks:
    """`path`: one file {video: {expression_id: track}}, a folder of files, or a PNG tree."""

    path: str | None

    uses_gpu: ClassVar[bool] = False
    needs_truth: ClassVar[bool] = False
    may_have_scores: ClassVar[bool] = True  # beside a store

    def check(self, split: Split) -> None:
        """Raises InputError where nothing of the kind is."""
        given_files("coarse.path", self.path)

    def tracks(self, split: Split, stores: Stores, devices: Devices) -> TrackFiles:
        """The files as they are."""
        return given_files("coarse.path", self.path)
