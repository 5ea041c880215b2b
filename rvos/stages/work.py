"""What the sources of masks are given, and what they give: one context, two kinds of source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rvos.data.split import Split, Truth
from rvos.masks import TrackFiles
from rvos.stages.devices import Devices
from rvos.stages.records import Failures
from rvos.stages.store import Store, Stores
from rvos.weights.provenance import digests, digests_formerly, origins


@dataclass(frozen=True)
class Work:
    """A split, where its files are kept, what makes them, and its ground truth if it has one."""

    split: Split
    stores: Stores
    devices: Devices
    truth: Truth | None = None

    def store(self, stage: str, settings: dict[str, Any], weights: Mapping[str, str]) -> Store:
        """The split's store of a stage for exactly these settings and weights, made if needed.

        `weights` is {config key: path, or name on the hub}; they are fetched where the hub has
        them. Raises InputError where they are not, and as `Stores.open`.
        """
        return self.stores.open(
            stage,
            self.split,
            settings=settings,
            checkpoint_sha256=digests(weights),
            origins=origins(weights),
            formerly={"checkpoint_sha256": digests_formerly(weights)},
        )


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


class Source(Protocol):
    """What both kinds of source have."""

    @property
    def uses_gpu(self) -> bool:
        """Whether it runs a network."""

    @property
    def may_have_scores(self) -> bool:
        """Whether scores may lie beside its masks: `coarse_scores` or `masklet_scores`."""

    def check(self, work: Work) -> None:
        """Raise InputError for what is missing, before hours of work; it may fetch weights."""


class CoarseSource(Source, Protocol):
    """Where coarse masks come from: a choice of conf/coarse."""

    def tracks(self, work: Work) -> CoarseFiles:
        """The coarse masks of the split, made where they are missing."""


class MaskletSource(Source, Protocol):
    """Where masklets come from: a choice of conf/masklets."""

    def tracks(self, work: Work, coarse: CoarseFiles) -> MaskletFiles:
        """The masklets of the split, made where they are missing; `coarse` for who needs them."""
