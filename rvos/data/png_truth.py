"""Ground truth in PNG files: what Ref-YouTube-VOS, Long-RVOS, ReasonVOS and GroundMoRe share."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rvos.data.archive import instead_of
from rvos.data.frames import FrameError, image_size
from rvos.data.split import NoTruth, Split, Truth, Video, check_labelled
from rvos.masks import FileError, Mask, Track, encode, read_pixels
from rvos.masks.files import other_pictures, read_numbers

VOID = 255  # the label of pixels that DAVIS does not score


class PngTruth(Truth):
    """The ground-truth tracks of a split, read from its PNG files when asked for.

    An annotation id is `<video>/<object>`, and the expressions have the objects in `obj_id`.
    """

    def __init__(self, split: Split, folder: str = "Annotations"):
        self.split, self.path = split, split.folder / folder
        if not self.path.is_dir():
            raise NoTruth(
                f"{self.path}: no such folder{instead_of(self.path)}; split {split.name} has no "
                "ground truth"
            )
        check_labelled(split, "obj_id")
        self.frames = {video.name: video.frames for video in split.videos}
        self.ids = {i for v in split.videos for e in v.expressions for i in e.annotation_ids}

    @abstractmethod
    def file(self, annotation_id: str, frame: str) -> Path | None:
        """Where an object's mask of a frame is; None if it does not show there."""

    def folder(self, annotation_id: str) -> Path:
        """Where the files are that show an object."""
        return self.path / annotation_id.rpartition("/")[0]

    def __contains__(self, annotation_id: str) -> bool:
        return annotation_id in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.ids))

    def track(self, annotation_id: str) -> Track:
        """One object's masks per frame.

        Raises FileError for a PNG that cannot be read, and where `label_problems` has something.
        """
        video = annotation_id.rpartition("/")[0]
        if problem := other_pictures(self.folder(annotation_id), self.frames[video]):
            raise FileError(problem)
        track = [self.mask(annotation_id, t) for t in range(len(self.frames[video]))]
        if not any(track):
            for problem in self.label_problems(annotation_id):
                raise FileError(problem)
        return track

    @abstractmethod
    def pixels(self, path: Path, annotation_id: str) -> NDArray[np.bool_]:
        """(H, W) bool: where a file shows an object."""

    def mask(self, annotation_id: str, frame_idx: int) -> Mask:
        """One object's mask in one frame; None where it does not show."""
        path = self.file(annotation_id, self.frames[annotation_id.rpartition("/")[0]][frame_idx])
        pixels = None if path is None else self.pixels(path, annotation_id)
        return encode(pixels) if pixels is not None and pixels.any() else None

    def problems(
        self, annotation_id: str, video: Video, size: Sequence[int] | None
    ) -> Iterator[str]:
        """As `Truth.problems`, from the headers of the files."""
        if problem := other_pictures(self.folder(annotation_id), video.frames):
            yield problem
        for path in filter(None, (self.file(annotation_id, frame) for frame in video.frames)):
            try:
                mask_size = image_size(path)
            except FrameError as error:
                yield str(error)
                continue
            if size is not None and mask_size != tuple(size):
                yield (
                    f"{path}: expected {size[0]} x {size[1]} pixels (height x width), got "
                    f"{mask_size[0]} x {mask_size[1]}"
                )

    def fingerprint(self) -> str:
        """Hex SHA-256 of the names and sizes of the videos' files."""
        files = sorted(path for name in self.frames for path in (self.path / name).rglob("*.png"))
        lines = [f"{path.relative_to(self.path)} {path.stat().st_size}" for path in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class MaskFolders(PngTruth):
    """A folder of PNG masks for each annotation, `Annotations/<annotation id>/<frame>.png`."""

    def folder(self, annotation_id: str) -> Path:
        """Where an object's masks lie."""
        return self.path / annotation_id

    def __contains__(self, annotation_id: str) -> bool:
        return annotation_id in self.ids and self.folder(annotation_id).is_dir()

    def file(self, annotation_id: str, frame: str) -> Path | None:
        """The mask of an object in a frame; None where it does not show."""
        path = self.folder(annotation_id) / f"{frame}.png"
        return path if path.is_file() else None

    def pixels(self, path: Path, annotation_id: str) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels that are not zero."""
        return read_pixels(path)

    def label_problems(self, annotation_id: str) -> Iterator[str]:
        """A folder whose files are named like no frame."""
        video, folder = annotation_id.rpartition("/")[0], self.folder(annotation_id)
        names, frames = sorted(p.name for p in folder.glob("[!.]*")), self.frames[video]
        images = self.split.frame_folder(video)  # there may be more than the frames that are listed
        known = {p.stem for p in images.glob("*")} if isinstance(images, Path) else set[str]()
        if names and known.union(frames).isdisjoint(Path(name).stem for name in names):
            yield f"{folder}: no file is called like a frame, such as {frames[0]}.png: {names[0]}"


class NumberedPictures(PngTruth):
    """A picture of object numbers per frame, which the objects of a video share."""

    @abstractmethod
    def number(self, annotation_id: str) -> int:
        """The object's number."""

    def pixels(self, path: Path, annotation_id: str) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels that have the object's number."""
        return object_numbers(path) == self.number(annotation_id)

    def label_problems(self, annotation_id: str) -> Iterator[str]:
        """An object that is in no frame, in a video with labels that no expression is about.

        255 is such a label where no expression is about any other.
        """
        video, number = annotation_id.rpartition("/")[0], self.number(annotation_id)
        files = [self.file(annotation_id, frame) for frame in self.frames[video]]
        labels = {int(label) for f in files if f for label in np.unique(object_numbers(f))}
        about = {self.number(i) for i in self.ids if i.rpartition("/")[0] == video}
        others = labels - about - ({0, VOID} if labels & about else {0})
        if number not in labels and (others or not labels):
            said = ", ".join(map(str, sorted(labels))) or "none"
            more = f", and no expression is about {', '.join(map(str, sorted(others)))}"
            yield (
                f"{self.folder(annotation_id)}: object {number} is in no frame; the labels there "
                f"are {said}{more if others else ''}"
            )


# The expressions of a video and the frames of a clip share their files.
object_numbers = lru_cache(maxsize=64)(read_numbers)
