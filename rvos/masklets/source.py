"""What a source of masklets is, and what travels between it and the stage."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rvos.data.frames import Frames
from rvos.data.split import Split, Truth, Video
from rvos.masks import MaskletScores, MaskletTracks, TrackFiles
from rvos.nouns.finder import NounFinder, Nouns
from rvos.stages.devices import Place
from rvos.weights.provenance import digests


@dataclass(frozen=True)
class VideoTask:
    """What is to be made for one video."""

    video: Video
    wanted: tuple[str, ...]  # single nouns to make masklets of, sorted
    nouns: Mapping[str, str]  # {expression_id: noun} of the whole video


@dataclass(frozen=True)
class MaskletFiles:
    """What the refinement reads."""

    path: Path | None  # of {video: {noun: [track per instance]}}; None where none are needed
    nouns: Nouns
    origin: str  # the store's folder, or "unknown origin" for given files
    by_expression: bool = False  # {video: {expression_id: [track per instance]}} instead

    @property
    def tracks(self) -> TrackFiles | None:
        """Opened when asked: other processes may still be writing before that."""
        return None if self.path is None else TrackFiles(self.path)


@dataclass(kw_only=True)
class MaskletSource(ABC):
    """How masklets are made; a choice of conf/masklets, whose keys are its fields.

    `noun` finds the noun of each expression; `nouns`, a file {video: {expression_id: noun}}, gives
    them instead.
    """

    noun: NounFinder
    nouns: str | None

    name: ClassVar[str]  # in the names of stores
    uses_gpu: ClassVar[bool] = False
    needs_truth: ClassVar[bool] = False
    reads_frames: ClassVar[bool] = True
    may_have_scores: ClassVar[bool] = False  # whether `make_scored` gives any

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that decides the masks besides the data and the weights, as JSON values."""

    @abstractmethod
    def make(self, task: VideoTask, frames: Frames | None) -> MaskletTracks:
        """A list of tracks, possibly empty, for each wanted noun."""

    def make_scored(
        self, task: VideoTask, frames: Frames | None
    ) -> tuple[MaskletTracks, MaskletScores]:
        """What `make` gives, and how sure the networks were; a source without scores gives {}."""
        return self.make(task, frames), {}

    def weights_used(self) -> dict[str, str]:
        """{config key: path, or name on the hub} of the weights; empty for a source without."""
        return {}

    def checkpoint_sha256(self) -> str | None:
        """Hash of the weights, fetched where the hub has them; None for a source without.

        Raises InputError where they are not.
        """
        return digests(self.weights_used())

    def bind(  # noqa: B027
        self, split: Split, truth: Truth | None, nouns: Nouns
    ) -> None:
        """What a source of ground truth needs to know before it is asked for its settings."""

    def prepare(self, place: Place) -> None:  # noqa: B027
        """Load the networks. Called once in every process that has something to do."""

    def open(self, frames: Frames) -> Frames:
        """The frames as `make` wants them. Runs in a thread while the video before is made."""
        return frames
