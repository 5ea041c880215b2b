"""How sure the models are that a target is there: scores beside the masks -> values per expression.

`coarse_score` is read from `<stores>/coarse_scores/<store>/`, `detector_score` from
`<stores>/masklet_scores/<store>/`; a store made elsewhere, or by an older release, may lack them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rvos.data.split import Video
from rvos.errors import InputError
from rvos.masks import FileError, Track, TrackFiles, file_stamp, find_json, read_json

STAGES = {"coarse_score": "coarse_scores", "detector_score": "masklet_scores"}
_WRITERS = {"coarse_score": "coarse=mutr", "detector_score": "masklets=sam2"}


class Confidence:
    """The values of one presence rule, read from beside `masks`."""

    def __init__(self, name: str, masks: TrackFiles | None):
        self.name = name
        self.folder = None if masks is None else masks.folder_beside(STAGES[name])

    def check(self) -> None:
        """Raises InputError where there is no folder of scores."""
        if self.folder is None or not self.folder.is_dir():
            where = f"no folder {self.folder}" if self.folder else "these masks come from no store"
            raise InputError(
                f"presence={self.name} reads scores that {_WRITERS[self.name]} writes beside its "
                f"masks, found none ({where}). Delete a store without them, to have it made again, "
                "or choose another presence rule"
            )

    def stamp(self, video: Video) -> list[int]:
        """Changes with the video's file of scores."""
        path = find_json(self.folder / f"{video.name}.json") if self.folder else None
        return [] if path is None else file_stamp(path)

    def of_video(
        self, video: Video, nouns: Mapping[str, str], masklets: Mapping[str, Sequence[Track]]
    ) -> dict[str, float]:
        """{expression_id: value in 0..1}. Raises InputError where scores are missing or wrong.

        `nouns` is by expression_id, `masklets` by noun.
        """
        self.check()
        assert self.folder is not None
        path = find_json(self.folder / f"{video.name}.json")
        if path is None:
            raise InputError(
                f"presence={self.name}: {self.folder}: video {video.name} is not there"
            )
        try:
            content = read_json(path)
            values = {
                e.expression_id: self._value(content, e.expression_id, nouns, masklets)
                for e in video.expressions
            }
            if wrong := {key: value for key, value in values.items() if not 0 <= value <= 1}:
                raise ValueError(f"expected values in 0..1, got {wrong}")
            return values
        except (FileError, KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
            raise InputError(
                f"presence={self.name}: {path}: not the scores of these masks: {error!r:.100}"
            ) from None

    def _value(
        self,
        content: Any,
        expression_id: str,
        nouns: Mapping[str, str],
        masklets: Mapping[str, Sequence[Track]],
    ) -> float:
        if self.name == "coarse_score":
            return mean_probability(content["expressions"][expression_id])
        noun = nouns[expression_id]
        scores = content[noun]["detector"]
        if len(scores) != len(masklets[noun]):
            raise ValueError(f"noun {noun}: {len(scores)} for {len(masklets[noun])} instances")
        return max(map(float, scores), default=0.0)


def mean_probability(entry: Mapping[str, Any]) -> float:
    """Mean over frames of the chosen query's probability, of an entry of `coarse_scores`.

    Rounded to 12 digits, so that equal probabilities have themselves as mean.
    """
    choices = [entry["long_term"]] if "long_term" in entry else entry["clips"]
    total = sum(c["frames"] * c["scores"][c["query"]] for c in choices)
    return round(total / sum(c["frames"] for c in choices), 12)
