"""What the sources of masks are given, and what they give: one context, two kinds of source."""

from dataclasses import dataclass, field
from typing import Protocol

from rvos.data.split import Split, Truth
from rvos.masks import TrackFiles
from rvos.stages.devices import Devices
from rvos.stages.records import Failures
from rvos.stages.store import Stores


@dataclass(frozen=True)
class Work:
    """A split, where its files are kept, what makes them, and its ground truth if it has one."""

    split: Split
    stores: Stores
    devices: Devices
    truth: Truth | None = None


@dataclass(frozen=True)
class CoarseFiles:
    """{video: {expression_id: track}}, and the videos of which no masks could be made."""

    tracks: TrackFiles
    failed: Failures = field(default_factory=dict)


@dataclass(frozen=True)
class MaskletFiles:
    """{video: {noun: [track per instance]}}, or by expression_id; None where none are needed."""

    tracks: TrackFiles | None
    nouns: dict[str, dict[str, str]]  # {video: {expression_id: noun}}
    by_expression: bool = False
    failed: Failures = field(default_factory=dict)  # those of the coarse masks among them


class CoarseSource(Protocol):
    """Where coarse masks come from: a choice of conf/coarse."""

    @property
    def uses_gpu(self) -> bool:
        """Whether it runs a network."""

    @property
    def may_have_scores(self) -> bool:
        """Whether `coarse_scores` may lie beside its masks."""

    def check(self, work: Work) -> None:
        """Raise InputError for what is missing, before hours of work; it may fetch weights."""

    def tracks(self, work: Work) -> CoarseFiles:
        """The coarse masks of the split, made where they are missing."""


class MaskletSource(Protocol):
    """Where masklets come from: a choice of conf/masklets."""

    @property
    def uses_gpu(self) -> bool:
        """Whether it runs a network."""

    @property
    def may_have_scores(self) -> bool:
        """Whether `masklet_scores` may lie beside its masks."""

    def check(self, work: Work) -> None:
        """Raise InputError for what is missing, before hours of work; it may fetch weights."""

    def tracks(self, work: Work, coarse: CoarseFiles) -> MaskletFiles:
        """The masklets of the split, made where they are missing; `coarse` for who needs them."""
