"""RefCOCO, RefCOCO+, RefCOCOg -> the types of `split`: every picture is a video of one frame.

`<root>/` is the folder of one of the three, beside `train2014/` with COCO's pictures. It holds
`instances_<name>_<split>.json`, in which every sentence is an "image" with one annotation (what
MUTR's and ReferFormer's tools/data/convert_refexp_to_coco.py writes), or the original
`refs(unc|umd|google).p` and `instances.json` (lichengunc/refer). Crowds are targets like any other:
the expression is about all of them.
"""

import hashlib
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from rvos.data.archive import FilePath, instead_of
from rvos.data.frames import FrameFolder, Frames
from rvos.data.meta import Ids, check_found, check_root, find_meta, parse_videos
from rvos.data.split import Problem, Split, Truth, Video
from rvos.errors import InputError
from rvos.masks import Mask, Track, file_sha256, from_coco, read_json
from rvos.masks.files import reading

PICTURES = ("train2014", "images/mscoco/images/train2014")  # beside the root; MUTR's place, REFER's
REFS = ("refs(unc).p", "refs(umd).p")  # those that papers report; data.meta takes another

# What unpickling raises for damaged files.
_PICKLE_ERRORS = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError),
    *(OverflowError, MemoryError, RecursionError),
)


@dataclass(frozen=True)
class Pictures(Split):
    """Pictures as videos of one frame, and their masks by annotation id."""

    pictures: Path
    masks: Mapping[str, Mask]

    def frame_path(self, video: str, frame: str) -> FilePath:
        return self.pictures / f"{frame}.jpg"

    def open_frames(self, video: Video) -> Frames:
        return FrameFolder(self.pictures, video.frames)


def read_split(
    root: Path | str, split: str, bad: list[Problem] | None = None, meta: str | None = None
) -> Pictures:
    """Read a split (train, val, testA, testB, test). Raises as `mevis.read_split`.

    A video has the name of its picture without .jpg, annotation ids are COCO's, and expression ids
    those of the file: of a converted one, numbers from 1 on; of an original, COCO-wide `sent_id`.
    """
    folder = Path(root)
    check_root(folder)
    pictures = _find_pictures(folder)
    path = _find_sentences(folder, split, meta)
    unreadable: list[Problem] = []
    content = _Reading({}, {}, {})
    for sentence in _original(path, split) if path.suffix == ".p" else _converted(path):
        try:
            content.add(sentence)
        except ValueError as error:
            video = str(sentence.get("file_name")).removesuffix(".jpg")
            unreadable.append(Problem(video, str(sentence.get("id")), str(error)))
    videos, malformed = parse_videos(content.videos, "anno_id", _ids)
    check_found(path, videos, unreadable + malformed, bad)
    # One file of refs has all splits.
    identity = hashlib.sha256(f"{file_sha256(path)} {split}".encode()).hexdigest()
    return Pictures(folder, split, videos, identity, pictures, content.masks)


def has_split(root: Path, split: str, meta: str | None) -> bool:
    """Whether the dataset has a split: there are no folders of them."""
    try:
        path = _find_sentences(root, split, meta)
        return path.suffix != ".p" or bool(_refs_of(path, split))
    except InputError:
        return False


def read_truth(split: Pictures) -> "PictureMasks":
    """The ground truth of a split."""
    return PictureMasks(split)


class PictureMasks(Truth):
    """The masks of a split's objects, each in one picture."""

    def __init__(self, split: Pictures):
        self.path, self.masks = split.folder, split.masks

    def __contains__(self, annotation_id: str) -> bool:
        return annotation_id in self.masks

    def __iter__(self) -> Iterator[str]:
        return iter(self.masks)

    def track(self, annotation_id: str) -> Track:
        """The object's mask in its picture; None if it does not show."""
        return [self.masks[annotation_id]]

    def fingerprint(self) -> str:
        """Hex SHA-256 of all masks."""
        digest = hashlib.sha256()
        for annotation_id, mask in self.masks.items():
            digest.update(f"{annotation_id} {mask}\n".encode())
        return digest.hexdigest()


# -------------------------------------------------------------------------------------- sentences


@dataclass
class _Reading:
    """What sentences have given so far."""

    videos: dict[str, dict[str, Any]]
    masks: dict[str, Mask]  # by annotation id
    objects: dict[str, tuple[str, Any]]  # annotation id -> picture, segmentation as in the file

    def add(self, sentence: Mapping[str, Any]) -> None:
        """Take one sentence. Raises ValueError saying what is wrong with it."""
        file_name = sentence.get("file_name")
        if not isinstance(file_name, str) or not file_name.endswith(".jpg"):
            raise ValueError(f'"file_name": expected the name of a .jpg, got {file_name!r}')
        picture = file_name.removesuffix(".jpg")
        size = _number(sentence, "height"), _number(sentence, "width")
        if len(sentence["annotations"]) != 1:
            raise ValueError(f"expected one annotation, got {len(sentence['annotations'])}")
        (annotation,) = sentence["annotations"]
        key = "original_id" if "original_id" in annotation else "id"
        annotation_id = str(_number(annotation, key))
        drawn = picture, annotation.get("segmentation")
        if annotation_id not in self.masks:
            self.masks[annotation_id] = from_coco(drawn[1], size)
            self.objects[annotation_id] = drawn
        elif self.objects[annotation_id] != drawn:
            raise ValueError(f"annotation {annotation_id} differs from its other entries")
        empty: dict[str, Any] = {"frames": [picture], "expressions": {}}
        expressions = self.videos.setdefault(picture, empty)["expressions"]
        expression_id = str(_number(sentence, "id"))
        if expression_id in expressions:
            raise ValueError("the id occurs twice")
        expressions[expression_id] = {"exp": sentence.get("caption"), "anno_id": annotation_id}


def _ids(video: str, entry: dict[str, Any]) -> Ids:
    return Ids((entry["anno_id"],), (entry["anno_id"],))


def _number(entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key)
    if type(value) is not int or value < 0:
        raise ValueError(f'"{key}": expected a whole number, got {value!r}')
    return value


def _converted(path: Path) -> Iterator[dict[str, Any]]:
    """The "images" of a converted file, each with its list of "annotations"."""
    content = _by_list(path, "images", "annotations")
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for annotation in content["annotations"]:
        by_image.setdefault(_key(annotation.get("image_id")), []).append(annotation)
    for image in content["images"]:
        yield image | {"annotations": by_image.get(_key(image.get("id")), [])}


def _original(path: Path, split: str) -> Iterator[dict[str, Any]]:
    """The sentences of a split in the form of a converted file."""
    refs_of_split = _refs_of(path, split)
    content = _by_list(path.with_name("instances.json"), "images", "annotations")
    images = {_key(image.get("id")): image for image in content["images"]}
    annotations = {_key(a.get("id")): a for a in content["annotations"]}
    for ref in refs_of_split:
        image = images.get(_key(ref.get("image_id")), {})
        annotation = annotations.get(_key(ref.get("ann_id")), {})
        fits = bool(annotation) and annotation.get("image_id") == ref.get("image_id")
        sentences = ref.get("sentences")
        for sentence in sentences if isinstance(sentences, list) else [{}]:
            entry = sentence if isinstance(sentence, dict) else {}
            yield {
                **{key: image.get(key) for key in ("file_name", "height", "width")},
                "id": entry.get("sent_id"),
                "caption": entry.get("sent"),
                "annotations": [annotation] * fits,
            }


def _refs_of(path: Path, split: str) -> list[dict[str, Any]]:
    """The refs of a split. Raises InputError where there are none."""
    refs = _refs(path, path.stat().st_mtime_ns)
    refs_of_split = [ref for ref in refs if ref.get("split") == split]
    if not refs_of_split:
        splits = ", ".join(sorted({str(ref.get("split")) for ref in refs}))
        raise InputError(f"{path}: expected the split {split}; it has {splits}")
    return refs_of_split


def _key(value: Any) -> Any:
    """The same, if it can be an id; None never finds anything that is sound."""
    return value if type(value) is int else None


# ------------------------------------------------------------------------------------------ files


def _find_pictures(folder: Path) -> Path:
    places = [folder.parent / place for place in PICTURES]
    pictures = next((place for place in places if place.is_dir()), None)
    if pictures is None:
        raise InputError(
            f"{places[0]}: no such folder{instead_of(places[0])}; expected COCO's train2014 beside "
            f"{folder}"
        )
    return pictures


def _find_sentences(folder: Path, split: str, meta: str | None) -> Path:
    """`meta`, else the converted file of the split, else one of REFS."""
    converted = {
        path.name.removesuffix(".gz") for path in folder.glob(f"instances_*_{split}.json*")
    }
    refs = [name for name in REFS if (folder / name).is_file()]
    if meta is None and not converted and not refs and folder.is_dir():
        raise InputError(
            f"{folder}: expected instances_<name>_{split}.json, or {' or '.join(REFS)} with "
            "instances.json; data.meta takes a file of another name"
        )
    return find_meta(folder, sorted(converted) or refs, meta)


def _by_list(path: Path, *keys: str) -> dict[str, list[dict[str, Any]]]:
    """A COCO file's lists of objects. Raises InputError."""
    content = read_json(path)
    if not isinstance(content, dict) or not all(_are_dicts(content.get(key)) for key in keys):
        form = ", ".join(f'"{key}": [{{...}}, ...]' for key in keys)
        raise InputError(f"{path}: expected {{{form}}}")
    return content


def _are_dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


class _Containers(pickle.Unpickler):
    """Reads containers, texts and numbers. Whatever would call something is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(
            f"it asks for {module}.{name}; only lists, dicts, texts and numbers are read"
        )


@cache
def _refs(path: Path, changed: int) -> list[dict[str, Any]]:
    """The refs of a pickle, which Python 2 has written; `changed`: its time. Raises InputError."""
    what = "cannot be read as a file of refs"
    with reading(path, what, *_PICKLE_ERRORS), open(path, "rb") as file:
        refs = _Containers(file, encoding="utf-8", errors="surrogateescape").load()
    if not _are_dicts(refs):
        raise InputError(f"{path}: expected a list of refs")
    return refs
