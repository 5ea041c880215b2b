"""Is the target there at all? Rules on top of any refinement rule, which may empty every mask."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from rvos.errors import SettingsError
from rvos.refine.candidates import Candidates, Presence, Refinement, Rule
from rvos.settings import Share, checked


@checked
class PresenceRule(ABC):
    """The target is there if a value in 0..1 is at least `threshold`; otherwise all masks go.

    Raises SettingsError.
    """

    threshold: Share

    name: ClassVar[str]  # the choice of `presence`

    def __post_init__(self) -> None:
        if hasattr(self, "reads_scores"):
            expected = "expected `ConfidenceRule` as its base, with `source` (docs/extending.md)"
            raise SettingsError([f"presence={self.name}: {expected}, got reads_scores"])

    @property
    def needs_masklets(self) -> bool:
        """Whether it asks for masklets where the refinement rule needs none."""
        return False

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


class ConfidenceRule(PresenceRule):
    """Compares how sure a model was, which it wrote beside its masks. Raises SettingsError.

    `source` is the group of conf/ whose model it was: `coarse` or `masklets`.
    """

    source: ClassVar[Literal["coarse", "masklets"]]

    def __post_init__(self) -> None:
        super().__post_init__()
        source = getattr(self, "source", None)
        if source not in ("coarse", "masklets"):
            problem = f"source: expected coarse or masklets, got {source!r}"
            raise SettingsError([f"presence={self.name}: {problem}"])

    @property
    def needs_masklets(self) -> bool:
        return self.source == "masklets"

    @abstractmethod
    def confidence(self, entry: Mapping[str, Any]) -> float:
        """A number in 0..1, of what the model wrote for one expression.

        Of `coarse` that is `{"clips": [...]}`, one clip with its queries' `scores`, the chosen
        `query` and its number of `frames` each, and `long_term`, where one query was chosen for the
        video; of `masklets`, for its noun, `{"detector": [score per instance], ...}`.
        """

    def value(self, candidates: Candidates, refinement: Refinement) -> float:
        return candidates.confidence[self.name]


class CoarseScore(ConfidenceRule):
    """The referring model's probability of its chosen query, mean over frames.

    It is low for what is not there if the model was trained on clips without their target
    (`data.clip.no_target=keep`).
    """

    name = "coarse_score"
    source = "coarse"

    def confidence(self, entry: Mapping[str, Any]) -> float:
        """Rounded to 12 digits, so that equal probabilities have themselves as mean."""
        choices = [entry["long_term"]] if "long_term" in entry else entry["clips"]
        total = sum(c["frames"] * c["scores"][c["query"]] for c in choices)
        return round(total / sum(c["frames"] for c in choices), 12)


class DetectorScore(ConfidenceRule):
    """The detector's highest score of the noun's instances; 0 without instances."""

    name = "detector_score"
    source = "masklets"

    def confidence(self, entry: Mapping[str, Any]) -> float:
        return max(map(float, entry["detector"]), default=0.0)


class ShareOfFrames(PresenceRule):
    """The share of frames in which the refined mask is not empty."""

    name = "share_of_frames"

    def value(self, candidates: Candidates, refinement: Refinement) -> float:
        return sum(mask is not None for mask in refinement.track) / len(refinement.track)


@checked
class NoPresence:
    """`presence=none`: the masks stay as the refinement rule leaves them."""

    name: ClassVar[str] = "none"
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
