"""MeViS folder -> videos, expressions and ground-truth tracks.

`<root>/<split>/` has a file of expressions (METAS), `mask_dict.json` (splits with ground truth) and
`JPEGImages/<video>/<frame>.jpg`, or `JPEGImages.tar` with these; every .json may be .json.gz.
Format: henghuiding/MeViS, README.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rvos.data.mask_index import open_index
from rvos.data.meta import find_meta, mevis_ids, parse_meta, split_folder
from rvos.data.split import NoTruth, Problem, Split, Truth, Video, check_labelled
from rvos.masks import Mask, find_json

# Names of the file of expressions: v1's, then those that v2 was released with.
METAS = (
    "meta_expressions.json",
    "meta_expressions_v2.json",
    "meta_expressions_v2_release.json",
    "meta_expressions_release.json",
    "meta_expressions_text_release.json",
)


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Split:
    """Read the expressions and frame names of a split.

    `meta` names the file of expressions; None takes the one of METAS that is there. Raises
    InputError naming the file and listing everything that is wrong with it, or files of several
    names that differ. With `bad`, malformed videos and expressions are left out and appended there
    instead.
    """
    folder = split_folder(root, split)
    path = find_meta(folder, METAS, meta)
    return parse_meta(folder, path, split, "anno_id", mevis_ids, bad)


def read_truth(split: Split) -> "Annotations":
    """The ground truth of a split. Raises InputError if it has none."""
    return Annotations(split)


class Annotations(Truth):
    """The ground-truth tracks of a split, by annotation id (`mask_dict.json`, indexed on disk).

    The first use of a file parses it once (`mask_index.py`); after that nothing is held in memory.
    """

    def __init__(self, split: Split):
        path = find_json(split.folder / "mask_dict.json")
        if path is None:
            raise NoTruth(
                f"{split.folder / 'mask_dict.json'}: no such file (nor .json.gz); "
                f"split {split.name} has no ground truth to score against "
                "(submission=true writes its masks without scores)"
            )
        check_labelled(split, "anno_id")
        self.path = path
        self.index = open_index(path)

    def __contains__(self, annotation_id: str) -> bool:
        return annotation_id in self.index

    def __iter__(self) -> Iterator[str]:
        return iter(self.index)

    def track(self, annotation_id: str) -> Any:
        """One annotation's masks per frame as in the file, unchecked."""
        return self.index.track(annotation_id)

    def mask(self, annotation_id: str, frame_idx: int) -> Mask:
        """One annotation's mask in one frame, unchecked."""
        return self.index.mask(annotation_id, frame_idx)

    def length(self, annotation_id: str) -> int | None:
        return self.index.length(annotation_id)

    def problems(
        self, annotation_id: str, video: Video, size: Sequence[int] | None
    ) -> Iterator[str]:
        """As `Truth.problems`; the index has checked the masks themselves."""
        length, mask_size = self.length(annotation_id), self.index.size(annotation_id)
        if length != len(video.frames) or mask_size not in (None, tuple(size or ())):
            yield from super().problems(annotation_id, video, size)

    def fingerprint(self) -> str:
        """Hex SHA-256 of the unpacked file."""
        return self.index.sha256
