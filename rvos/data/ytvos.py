"""Ref-YouTube-VOS and Ref-DAVIS17 -> the types of `mevis`.

`<root>/meta_expressions/<split>/meta_expressions.json`, `<root>/<split>/JPEGImages/<video>/` and
`<root>/<split>/Annotations/<video>/<frame>.png`, whose pixel values are object numbers. Every
expression is about one object (several expressions may be about the same one). This is how the
Ref-YouTube-VOS archives unpack, and how ReferFormer's and MUTR's converter lays out Ref-DAVIS17
(tools/data/convert_davis_to_ytvos.py); validation splits without `obj_id` have no ground truth.

Ref-YouTube-VOS' `valid` lists 507 videos, 305 of which are those of `test`: what `test` lists is
left out, as in inference_ytvos.py of ReferFormer and MUTR. The ground truth of the others
(skynbe/Refer-Youtube-VOS, issue 7) is `<root>/valid/Annotations/<video>/<expression_id>/
<frame>.png` in black and white, and has its file of expressions in `<root>/valid/`.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rvos.data.meta import Ids, as_ids, find_meta, listed_videos, parse_meta, split_folder
from rvos.data.png_truth import VOID, MaskFolders, NumberedPictures, PngTruth, object_numbers
from rvos.data.split import Expression, Problem, Split, Video
from rvos.masks import FileError, Track, encode, find_json

META = "meta_expressions.json"
METAS_OF_TRUTH = ("meta_expressions_challenge.json", META)  # in <root>/<split>/; the first has more
BOTH_SPLITS = 507  # videos that Ref-YouTube-VOS' valid lists, 305 of them test's

log = logging.getLogger(__name__)


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Split:
    """Read a split; annotation ids are `<video>/<object number>`. Raises as `mevis.read_split`.

    Where the masks lie by expression, annotation ids are `<video>/<expression_id>`.
    """
    folder = split_folder(root, split)
    metas, names = Path(root) / "meta_expressions", (META,)
    beside = [name for name in METAS_OF_TRUTH if find_json(folder / name)]
    if beside and not (metas / split).is_dir():
        path = find_meta(folder, beside[:1], meta)
    else:
        path = find_meta(metas / split, names, meta)
    test_list = find_json(metas / "test" / META) if split == "valid" else None
    left_out = listed_videos(test_list) if test_list else frozenset()
    opened = parse_meta(folder, path, split, "obj_id", _ids, bad, left_out=left_out)
    if split == "valid" and not test_list and len(opened.videos) == BOTH_SPLITS:
        log.warning(
            "%s lists %d videos, those of the split test too. To leave these out as the official "
            "scripts do, put %s there",
            *(path, BOTH_SPLITS, metas / "test" / META),
        )
    opened = replace(opened, submission_folder="Annotations")
    return _by_expression(opened) if _lie_by_expression(opened) else opened


def _ids(video: str, entry: dict[str, Any]) -> Ids:
    objects = as_ids(entry, "obj_id")
    if wrong := [n for n in objects if not n.isdecimal() or int(n) in (0, VOID)]:
        raise ValueError(f'"obj_id": expected the number of an object, got {wrong[0]!r}')
    return Ids(tuple(f"{video}/{number}" for number in objects), objects)


def _lie_by_expression(split: Split) -> bool:
    """Whether the masks lie in a folder per expression, which an object's picture does not."""
    folders = (split.folder / "Annotations" / video.name for video in split.videos)
    first = next((folder for folder in folders if folder.is_dir()), None)
    return first is not None and any(path.is_dir() for path in first.iterdir())


def _by_expression(split: Split) -> Split:
    """The split with each expression's own folder of masks as its one annotation."""

    def relabelled(expression: Expression) -> Expression:
        name = f"{expression.video}/{expression.expression_id}"
        return replace(expression, annotation_ids=(name,), labelled=True)

    videos = (replace(v, expressions=tuple(map(relabelled, v.expressions))) for v in split.videos)
    return replace(split, videos=tuple(videos))


def read_truth(split: Split) -> PngTruth:
    """The ground truth of a split. Raises InputError if it has none."""
    return (MaskFolders if _lie_by_expression(split) else PaletteAnnotations)(split)


class PaletteAnnotations(NumberedPictures):
    """The ground-truth tracks of a split: one picture per frame, of the numbers of its objects."""

    def file(self, annotation_id: str, frame: str) -> Path:
        """The annotation file of one frame, which all objects of the video share."""
        return self.path / annotation_id.rpartition("/")[0] / f"{frame}.png"

    def number(self, annotation_id: str) -> int:
        return int(annotation_id.rpartition("/")[2])

    def objects(self, video: Video) -> tuple[list[Track], Track]:
        """The tracks of objects 1, 2, ..., and that of the pixels that do not count (label 255).

        Objects are those up to the largest label of the first frame, as in DAVIS' evaluation
        (davis2017-evaluation, davis2017/davis.py). Raises FileError, also where it has none.
        """
        pictures, count = self._pictures(video), self.num_objects(video)
        tracks, void = objects_of(pictures, count)
        shown = [number for number, track in enumerate(tracks, 1) if any(track)]
        say_absent(shown, count, str(self.path / video.name))
        return tracks, void

    def num_objects(self, video: Video) -> int:
        """The largest label of the first frame, without 255. Raises FileError."""
        path = self.path / video.name / f"{video.frames[0]}.png"
        return largest_number(object_numbers(path), f"{path}: ")

    def _pictures(self, video: Video) -> list[NDArray[np.uint8]]:
        return [object_numbers(self.path / video.name / f"{f}.png") for f in video.frames]

    def unscorable(self) -> str:
        """Public splits without masks have annotations of some frames, as a start for tracking."""
        listed = [self.path / v / f"{frame}.png" for v, f in self.frames.items() for frame in f]
        existing = {path for name in self.frames for path in (self.path / name).glob("*.png")}
        missing = [path for path in listed if path not in existing]
        if not missing:
            return ""
        return (
            f"{self.path}: {len(missing)} of {len(listed)} listed frames have no annotation, the "
            f"first is {missing[0].relative_to(self.path)}; scores need every frame"
        )


def objects_of(
    pictures: Sequence[NDArray[np.uint8] | None], count: int
) -> tuple[list[Track], Track]:
    """The tracks of objects 1 to `count`, and that of void pixels, of (H, W) object numbers."""
    tracks = [
        [
            None if picture is None or not (mask := picture == number).any() else encode(mask)
            for picture in pictures
        ]
        for number in (*range(1, count + 1), VOID)
    ]
    return tracks[:-1], tracks[-1]


def say_absent(shown: Collection[int], count: int, where: str) -> None:
    """Log which objects of 1 to `count` are not among those that frames show.

    DAVIS' script counts them, and so do we: nothing is a right answer for them.
    """
    if absent := [str(number) for number in range(1, count + 1) if number not in shown]:
        log.warning(
            "%s: of the objects 1 to %d, %s are in no frame; DAVIS' script counts them all the "
            "same, as right where nothing is predicted",
            *(where, count, ", ".join(absent)),
        )


def largest_number(first: NDArray[np.uint8] | None, where: str = "") -> int:
    """How many objects a video has, by its first frame. Raises FileError where it shows none."""
    if first is not None and (count := int(first[first != VOID].max(initial=0))):
        return count
    raise FileError(
        f"{where}the first frame shows no object (pixels of 255 do not count); DAVIS numbers the "
        "objects that it shows"
    )
