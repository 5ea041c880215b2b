"""COCO with track ids and YouTube-VIS -> tracks by video and name.

COCO (https://cocodataset.org/#format-data) has an annotation per frame. TAO says with `videos`,
`tracks`, `track_id` and `frame_index` what belongs together (TAO-Dataset/tao,
tao/toolkit/tao/tao.py). YouTube-VIS has an annotation per object, with `segmentations` over the
frames (https://youtube-vos.org/dataset/vis/). A track's name is its category's `expression_id`,
which `rvos export` writes, or else its category's `name`.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from rvos.errors import FileError, MaskError, list_problems
from rvos.masks.rle import MISSING_FRAME, Mask, Track, from_coco, union

log = logging.getLogger(__name__)


@dataclass
class _Video:
    """What a file has of one video."""

    size: tuple[int, int]  # (height, width)
    frames: list[str] = field(default_factory=list)  # names, in their order
    # by name, then by track: {position of the frame: mask}
    tracks: dict[str, dict[Any, dict[int, Mask]]] = field(default_factory=dict)
    enclosing_nothing: list[str] = field(default_factory=list)  # where

    def add(self, name: str, track: Any, t: int, segmentation: Any, annotation: Any) -> None:
        """A mask more. Several of one track and frame are united."""
        where = f"annotation {annotation}, frame {self.frames[t]}"
        try:
            mask = from_coco(segmentation, self.size, may_be_empty=True)
        except MaskError as error:
            raise MaskError(f"{where}: {error}") from None
        if mask is None and isinstance(segmentation, list) and segmentation:
            self.enclosing_nothing.append(where)
        masks = self.tracks.setdefault(name, {}).setdefault(track, {})
        masks[t] = union([masks.get(t), mask])

    def value(self) -> dict[str, Any]:
        """{"frames": names, "tracks": {name: [track per instance]}}."""
        if len(set(self.frames)) < len(self.frames):
            raise ValueError(f"frames that are there twice: {self.frames[:3]}, ...")
        length = range(len(self.frames))
        tracks = {
            name: [[masks.get(t) for t in length] for masks in instances.values()]
            for name, instances in self.tracks.items()
        }
        return {"frames": self.frames, "tracks": tracks}


def is_coco(keys: Collection[str]) -> bool:
    """Whether a JSON object with these keys is one of both forms."""
    return {"annotations", "categories"} <= set(keys)


def videos_of(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """{video: {"frames": names, "tracks": {name: [track per instance]}}} of a file's content.

    Raises FileError.
    """
    try:
        for key in ("videos", "images", "categories"):  # else a mask could be of either
            ids = Counter(entry["id"] for entry in content.get(key, ()))
            if equal := [i for i, count in ids.items() if count > 1]:
                raise ValueError(f"{key}: id {equal[0]} is there twice")
        names = {c["id"]: str(c.get("expression_id", c["name"])) for c in content["categories"]}
        counts = Counter(c["name"] for c in content["categories"] if "expression_id" not in c)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"categories that are there twice: {twice[:3]}")
        read = _of_images if "images" in content else _of_videos
        videos = read(content, names)
        if lines := [where for video in videos.values() for where in video.enclosing_nothing]:
            title = f"{path}: polygons that enclose nothing are empty masks"
            log.warning("%s", list_problems(title, lines))
        return {name: video.value() for name, video in videos.items()}
    except MaskError as error:
        raise FileError(f"{path}: {error}") from None
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = f"{error} is not there" if isinstance(error, KeyError) else error
        raise FileError(f"{path}: malformed COCO or YouTube-VIS: {reason}") from None


def _of_videos(content: Mapping[str, Any], names: Mapping[Any, str]) -> dict[str, _Video]:
    """YouTube-VIS."""
    videos: dict[str, _Video] = {}
    by_id: dict[Any, _Video] = {}
    for entry in content["videos"]:
        files = entry["file_names"]
        video = _Video((entry["height"], entry["width"]), [PurePosixPath(f).stem for f in files])
        name = _video_name(entry.get("name"), files[0])
        if name in videos:
            raise ValueError(f"video {name} is there twice")
        videos[name] = by_id[entry["id"]] = video
        _add_absent(video, entry, names)
    for annotation in content["annotations"]:
        video, name = by_id[annotation["video_id"]], names[annotation["category_id"]]
        id_, segmentations = annotation["id"], annotation["segmentations"]
        if len(segmentations) != len(video.frames):
            frames = f"{len(segmentations)} masks of a video of {len(video.frames)} frames"
            raise ValueError(f"annotation {id_}: {frames}")
        video.tracks.setdefault(name, {})[id_] = {}
        for t, segmentation in enumerate(segmentations):
            if segmentation is not None:
                video.add(name, id_, t, segmentation, id_)
    return videos


def _of_images(content: Mapping[str, Any], names: Mapping[Any, str]) -> dict[str, _Video]:
    """COCO, whose annotations without `track_id` are one track per category."""
    videos: dict[str, _Video] = {}
    entries = {entry["id"]: entry for entry in content.get("videos", ())}
    by_id, places = {}, {}
    for image in sorted(content["images"], key=lambda image: image.get("frame_index", 0)):
        entry, file = entries.get(image.get("video_id"), {}), image["file_name"]
        name = _video_name(entry.get("name") or image.get("video"), file)
        height, width = image["height"], image["width"]
        if name not in videos:
            videos[name] = by_id[image.get("video_id")] = _Video((height, width))
            _add_absent(videos[name], entry, names)
        if videos[name].size != (height, width):
            expected = "{} x {} pixels (height x width)".format(*videos[name].size)
            raise ValueError(f"{file}: expected {expected} as before, got {height} x {width}")
        places[image["id"]] = videos[name], len(videos[name].frames)
        videos[name].frames.append(PurePosixPath(file).stem)
    for track in content.get("tracks", ()):
        tracks = by_id[track["video_id"]].tracks
        tracks.setdefault(names[track["category_id"]], {})[track["id"]] = {}
    for annotation in content["annotations"]:
        video, t = places[annotation["image_id"]]
        name, track_id = names[annotation["category_id"]], annotation.get("track_id")
        video.add(name, track_id, t, annotation["segmentation"], annotation["id"])
    return videos


def _video_name(given: str | None, file: str) -> str:
    """The name of a video: as given, or the folder of its frames."""
    name = given or str(PurePosixPath(file).parent)
    if name == ".":
        raise ValueError(f"{file}: expected <video>/<frame>.jpg, or videos with a name")
    return name


def _add_absent(video: _Video, entry: Mapping[str, Any], names: Mapping[Any, str]) -> None:
    """Categories that a video is said not to have: names without a track."""
    for category in entry.get("neg_category_ids", ()):
        video.tracks.setdefault(names[category], {})


def tracks_of(
    value: Mapping[str, Any], frames: Sequence[str] | None, *, instances: bool
) -> dict[str, Any]:
    """One video of `videos_of` -> {name: track}, or with `instances` {name: [track per instance]}.

    `frames` are the names of the frames that are asked for; None: those of the file. One that the
    file lacks is MISSING_FRAME. Several instances of a name are united in its one track.
    """
    positions = {frame: t for t, frame in enumerate(value["frames"])}
    at = [positions.get(frame) for frame in frames or value["frames"]]

    def asked(track: Track) -> list[Any]:
        return [MISSING_FRAME if t is None else track[t] for t in at]

    if instances:
        return {name: [*map(asked, tracks)] for name, tracks in value["tracks"].items()}
    length = range(len(value["frames"]))
    return {
        name: asked([union(track[t] for track in tracks) for t in length])
        for name, tracks in value["tracks"].items()
    }
