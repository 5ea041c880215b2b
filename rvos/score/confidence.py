"""How sure the models are that a target is there: what they wrote beside their masks.

`coarse` writes it to `<stores>/coarse_scores/<store>/`, `masklets` to
`<stores>/masklet_scores/<store>/`; a store made elsewhere, or by an older release, may lack it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rvos.data.split import Video
from rvos.errors import InputError
from rvos.masks import FileError, Track, TrackFiles, file_stamp, find_json, read_json
from rvos.refine import ConfidenceRule

_STORES = {"coarse": "coarse_scores", "masklets": "masklet_scores"}
WRITERS = {"coarse": "coarse=mutr", "masklets": "masklets=sam2"}


class Confidence:
    """The values of one presence rule, read from beside `masks`."""

    def __init__(self, rule: ConfidenceRule, masks: TrackFiles | None):
        self.rule = rule
        self.folder = None if masks is None else masks.folder_beside(_STORES[rule.source])

    def check(self) -> None:
        """Raises InputError where there is no such folder."""
        if self.folder is None or not self.folder.is_dir():
            where = f"no folder {self.folder}" if self.folder else "these masks come from no store"
            writer = WRITERS[self.rule.source]
            raise InputError(
                f"presence={self.rule.name} reads confidence that {writer} writes beside its "
                f"masks, found none ({where}). Delete a store without it, to have it made again, "
                "or choose another presence rule"
            )

    def stamp(self, video: Video) -> list[int]:
        """Changes with the video's file."""
        path = find_json(self.folder / f"{video.name}.json") if self.folder else None
        return [] if path is None else file_stamp(path)

    def of_video(
        self, video: Video, nouns: Mapping[str, str], masklets: Mapping[str, Sequence[Track]]
    ) -> dict[str, float]:
        """{expression_id: value in 0..1}. Raises InputError where something is missing or wrong.

        `nouns` is by expression_id, `masklets` by noun.
        """
        self.check()
        assert self.folder is not None
        path = find_json(self.folder / f"{video.name}.json")
        if path is None:
            raise InputError(
                f"presence={self.rule.name}: {self.folder}: video {video.name} is not there"
            )
        try:
            content = read_json(path)
            values = {
                key: float(self.rule.confidence(self._entry(content, key, nouns[key], masklets)))
                for key in (e.expression_id for e in video.expressions)
            }
            if wrong := {key: value for key, value in values.items() if not 0 <= value <= 1}:
                raise ValueError(f"expected values in 0..1, got {wrong}")
            return values
        except (FileError, KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
            raise InputError(
                f"presence={self.rule.name}: {path}: not the scores of these masks: {error!r:.100}"
            ) from None

    def _entry(
        self, content: Any, expression_id: str, noun: str, masklets: Mapping[str, Sequence[Track]]
    ) -> Any:
        """What the model wrote for one expression."""
        if self.rule.source == "coarse":
            return content["expressions"][expression_id]
        entry = content[noun]
        for per_instance in entry.values():
            if len(per_instance) != len(masklets[noun]):
                count = f"{len(per_instance)} for {len(masklets[noun])} instances"
                raise ValueError(f"noun {noun}: {count}")
        return entry
