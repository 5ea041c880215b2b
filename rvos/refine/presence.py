"""Is the target there at all? Rules on top of any refinement rule, which may empty every mask."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

from rvos.refine.candidates import Candidates, Presence, Refinement, Rule
from rvos.settings import real, require


@dataclass(frozen=True)
class PresenceRule(ABC):
    """The target is there if a value in 0..1 is at least `threshold`; otherwise all masks go.

    Raises SettingsError.
    """

    threshold: float  # 0..1

    name: ClassVar[str]  # the choice of `presence`
    reads_scores: ClassVar[bool] = False  # of models, kept beside the masks: `Candidates.scores`
    needs_masklets: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require(self, "presence", threshold=real(least=0, most=1))

    @abstractmethod
    def value(self, candidates: Candidates, refinement: Refinement) -> float:
        """What is compared with the threshold, in 0..1."""

    def decide(self, candidates: Candidates, refinement: Refinement) -> Refinement:
        """The refinement with the decision, and empty masks where the value is too low."""
        value = self.value(candidates, refinement)
        if value >= self.threshold:
            return replace(refinement, presence=Presence(value, True))
        return Refinement(
            [None] * len(refinement.track),
            refinement.combinations,
            tuple(replace(window, kept_coarse=False) for window in refinement.windows),
            Presence(value, False),
        )

    def on(self, rule: Rule) -> "WithPresence":
        """The refinement rule, and then this one."""
        return WithPresence(rule, self)


class CoarseScore(PresenceRule):
    """The referring model's probability of its chosen query, mean over frames.

    It is low for what is not there if the model was trained on clips without their target
    (`data.clip.no_target=keep`).
    """

    name = "coarse_score"
    reads_scores = True

    def value(self, candidates: Candidates, refinement: Refinement) -> float:
        return candidates.scores[self.name]


class DetectorScore(PresenceRule):
    """The detector's highest score of the noun's instances; 0 without instances."""

    name = "detector_score"
    reads_scores = True
    needs_masklets = True

    def value(self, candidates: Candidates, refinement: Refinement) -> float:
        return candidates.scores[self.name]


class ShareOfFrames(PresenceRule):
    """The share of frames in which the refined mask is not empty."""

    name = "share_of_frames"

    def value(self, candidates: Candidates, refinement: Refinement) -> float:
        return sum(mask is not None for mask in refinement.track) / len(refinement.track)


@dataclass(frozen=True)
class NoPresence:
    """`presence=none`: the masks stay as the refinement rule leaves them."""

    name: ClassVar[str] = "none"
    reads_scores: ClassVar[bool] = False
    needs_masklets: ClassVar[bool] = False

    def on(self, rule: Rule) -> Rule:
        """The refinement rule itself."""
        return rule


@dataclass(frozen=True)
class WithPresence:
    """A refinement rule, and a presence rule on top of it."""

    rule: Rule
    presence: PresenceRule

    def __call__(self, candidates: Candidates) -> Refinement:
        return self.presence.decide(candidates, self.rule(candidates))
