"""Refined masks <-> submission.zip, the form in which MeViS takes results of splits without truth.

    python -m rvos submission pack RUN/refined submission.zip --root data/mevis --split valid
    python -m rvos submission check submission.zip --root data/mevis --split valid

The zip holds `<video>/<expression_id>/<frame>.png` with the video folders at its top level, one
image for every expression and frame of the split: single-channel, 8 bits, 0 or 255 (MeViS README,
"CodaLab Evaluation Submission Guideline"). For Ref-YouTube-VOS the folder `Annotations` is on top
(ReferFormer, docs/Ref-Youtube-VOS.md; MUTR, inference_ytvos.py).
"""

import argparse
import struct
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track as progress

from rvos.data.formats import open_split
from rvos.data.frames import Size, image_size
from rvos.data.split import Split, Video, check_track
from rvos.errors import InputError, list_problems
from rvos.masks import FileError, Track, TrackFiles, decode
from rvos.masks.files import ZIP_ERRORS, whole_or_not_at_all
from rvos.score.inputs import size_of_tracks

_PNG = b"\x89PNG\r\n\x1a\n"
_ENCRYPTED = 0x41  # flags of a file in a zip: encryption, strong encryption
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DATE = (1980, 1, 1, 0, 0, 0)  # the same masks always give the same file
_EXTRAS = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


# --------------------------------------------------------------------------------------- pack


def pack(masks: Path | str, path: Path | str, split: Split) -> int:
    """Write the masks of all expressions of a split as a submission; returns the number of images.

    `masks` is a folder or file as `coarse` (DESIGN: files between stages), such as a run's
    `refined/`. The file appears whole or not at all. Raises InputError listing every expression
    that lacks masks and every mask that is malformed or of the wrong size.
    """
    files = TrackFiles(masks)
    problems: list[str] = []
    count = 0
    with (
        whole_or_not_at_all(Path(path)) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        for video in progress(split.videos, "Packing", transient=True):
            tracks = _tracks(files, video, split, problems)
            for expression_id, (track, size) in ({} if problems else tracks).items():
                for frame, png in zip(video.frames, _images(track, size), strict=True):
                    name = f"{folder_of(split, video, expression_id)}/{frame}.png"
                    archive.writestr(zipfile.ZipInfo(name, _DATE), png)
                    count += 1
        if problems:
            raise InputError(list_problems(f"{masks}: cannot be submitted", problems))
    return count


def folder_of(split: Split, video: Video, expression_id: str) -> str:
    """Where a submission of the split has the images of an expression."""
    return "/".join(filter(None, (split.submission_folder, video.name, expression_id)))


def _tracks(
    files: TrackFiles, video: Video, split: Split, problems: list[str]
) -> dict[str, tuple[Track, Size]]:
    """{expression_id: (track, (h, w))} of a video, checked."""
    where = f"video {video.name}"
    if video.name not in files:
        problems.append(f"{where}: no masks")
        return {}
    try:
        raw = files.read(video.name, video.frames)
    except FileError as error:
        problems.append(str(error))
        return {}
    if not isinstance(raw, dict):
        problems.append(f"{where}: expected {{expression_id: masks}}, got {raw!r:.60}")
        return {}
    size = frame_size(split, video) or size_of_tracks(raw.values())
    checked: dict[str, tuple[Track, Size]] = {}
    for expression in video.expressions:
        track = raw.get(expression.expression_id)
        place = f"{where}, expression {expression.expression_id}"
        if size is None:
            problems.append(f"{place}: the frame size is unknown: no mask and no image of a frame")
        elif track is None:
            problems.append(f"{place}: no masks")
        else:
            whole = check_track(track, video.frames, size, place, problems)
            checked[expression.expression_id] = whole, size
    return checked


def frame_size(split: Split, video: Video) -> Size | None:
    """(height, width) of a video's frames from its first image; None if that is not there.

    Raises FrameError if it cannot be read.
    """
    path = split.frame_path(video.name, video.frames[0])
    return image_size(path) if path.is_file() else None


def _images(track: Track, size: Size) -> list[bytes]:
    """One PNG per frame; equal masks are encoded once."""
    encoded: dict[str, bytes] = {}
    images = []
    for mask in track:
        key = "" if mask is None else mask["counts"]
        if key not in encoded:
            pixels = np.zeros(size, np.uint8) if mask is None else 255 * decode(mask)  # (H, W)
            done, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
            assert done, "PNG is part of OpenCV's wheels"
            encoded[key] = data.tobytes()
        images.append(encoded[key])
    return images


# -------------------------------------------------------------------------------------- check


def check(path: Path | str, split: Split) -> int:
    """Verify a submission of a split; returns the number of images.

    Raises InputError naming the mistake: the file, the folder or the image, what was expected, and
    for the usual mistakes what to do.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ZIP_ERRORS as error:
        raise InputError(f"{path}: not a zip file: {error}") from None
    with archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
        names = [info.filename.removeprefix("./") for info in files]  # of `zip -r x.zip ./*`
        problems = _layout_problems(names, split)
        if problems:
            raise InputError(
                "\n".join(list_problems(f"{path}: {kind}", p) for kind, p in problems.items())
            )
        wrong: list[str] = []
        by_name = dict(zip(names, files, strict=True))
        for video in progress(split.videos, "Checking images", transient=True):
            wrong += _image_problems(archive, by_name, split, video)
    if wrong:
        raise InputError(list_problems(f"{path}: wrong images", wrong))
    return len(names)


def _layout_problems(names: Sequence[str], split: Split) -> dict[str, list[str]]:
    """What is missing or too much, by kind. The root of the matter alone where there is one."""
    expected = {
        f"{folder_of(split, video, expression.expression_id)}/{frame}.png"
        for video in split.videos
        for expression in video.expressions
        for frame in video.frames
    }
    found = set(names)
    if found == expected and len(names) == len(expected):
        return {}
    if backslashes := sorted(name for name in found if "\\" in name):
        return {
            "names with backslashes, which only Windows reads as folders; zip again with a tool "
            "that writes / (the Explorer, 7-Zip, Python's zipfile)": backslashes
        }
    if (top := split.submission_folder) and {f"{top}/{name}" for name in found} & expected:
        return {
            f"the folder {top} is missing": [
                f"expected the video folders below {top}/; zip again from above that folder: "
                f"zip -r submission.zip {top}"
            ]
        }
    if parent := _parent_folder(found, expected):
        return {
            "the parent folder was zipped": [
                f"{top or 'video folders'} lie below {parent}/, expected at the top level; zip "
                f"again from inside that folder: cd {parent} && zip -r ../submission.zip *"
            ]
        }
    problems: dict[str, list[str]] = defaultdict(list)
    if len(names) > len(found):
        counts = Counter(names)
        problems["files that are there twice"] = sorted(n for n in counts if counts[n] > 1)
    for video in split.videos:
        if not any(name.startswith(f"{folder_of(split, video, '')}/") for name in found):
            problems["missing videos"].append(video.name)
            continue
        for expression in video.expressions:
            folder = folder_of(split, video, expression.expression_id)
            missing = [f for f in video.frames if f"{folder}/{f}.png" not in found]
            if len(missing) == len(video.frames):
                hint = _hint(folder, found)
                problems["missing expressions"].append(f"{folder}{hint}")
            elif missing:
                count = f"{len(missing)} of {len(video.frames)} frames, first {missing[0]}.png"
                problems["missing frames"].append(f"{folder}: {count}")
    if extra := sorted(found - expected):
        junk = [name for name in extra if _is_extra(name)]
        if junk:
            problems["files that the system added (leave them out: zip -x)"] = junk
        if rest := [name for name in extra if name not in set(junk)]:
            problems["files that are not part of the split"] = rest
    return problems


def _is_extra(name: str) -> bool:
    """Whether a system or an editor added the file: known names, and hidden ones (._00000.png)."""
    return any(
        part in _EXTRAS or (part.startswith(".") and part != "..") for part in name.split("/")
    )


def _hint(folder: str, found: set[str]) -> str:
    """Why an expression's folder may look empty."""
    there = sorted(name for name in found if name.startswith(f"{folder}/"))
    return f": expected <frame>.png of the split's frame names, found {there[0]}" if there else ""


def _parent_folder(found: set[str], expected: set[str]) -> str | None:
    """The folder above the videos, if everything lies below one that should not be there."""
    tops = {name.partition("/")[0] for name in found if not _is_extra(name)}
    if len(tops) != 1 or (top := tops.pop()) in {name.partition("/")[0] for name in expected}:
        return None
    inside = {name.partition("/")[2] for name in found}
    if inside & expected:
        return top
    deeper = _parent_folder({name for name in inside if "/" in name}, expected)
    return f"{top}/{deeper}" if deeper else None


def _image_problems(
    archive: zipfile.ZipFile, files: Mapping[str, zipfile.ZipInfo], split: Split, video: Video
) -> list[str]:
    """What is wrong with a video's images.

    If the frame size is not known, all are to have the size that most of them have.
    """
    problems, size = [], frame_size(split, video)
    sound: dict[str, Size] = {}
    for expression in video.expressions:
        for frame in video.frames:
            name = f"{folder_of(split, video, expression.expression_id)}/{frame}.png"
            info = files[name]
            if info.flag_bits & _ENCRYPTED or info.compress_type not in _COMPRESSIONS:
                problems.append(f"{name}: encrypted, or neither stored nor deflated: zip it again")
                continue
            try:
                data = archive.read(info)
            except ZIP_ERRORS:
                problems.append(f"{name}: damaged")
                continue
            problem, found = _image_problem(data)
            if problem:
                problems.append(f"{name}: {problem}")
            else:
                sound[name] = found
    if size is None and sound:
        size = Counter(sound.values()).most_common(1)[0][0]
    return problems + [
        f"{name}: expected {size[0]} x {size[1]} pixels (height x width), "
        f"got {found[0]} x {found[1]}"
        for name, found in sound.items()
        if size is not None and found != size
    ]


def _image_problem(data: bytes) -> tuple[str | None, Size]:
    """(what is wrong with a PNG or None, its (height, width))."""
    if not data.startswith(_PNG) or len(data) < 26:
        return "not a PNG file", (0, 0)
    width, height, depth, color = struct.unpack(">IIBB", data[16:26])  # IHDR, PNG specification
    kinds = {0: "grey", 2: "RGB colour", 3: "palette", 4: "grey with alpha", 6: "RGBA colour"}
    size = (height, width)
    if color != 0 or depth != 8:
        kind = kinds.get(color, "unknown")
        return f"expected single-channel 8-bit grey, got {kind} with {depth} bits", size
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        return "damaged PNG", size
    other = pixels[(pixels != 0) & (pixels != 255)]
    if other.size:
        values = ", ".join(str(value) for value in np.unique(other)[:3])
        hint = " (foreground is 255, not 1)" if (other == 1).all() else ""
        return f"expected values 0 and 255, got {values}{hint}", size
    return None, size


# ------------------------------------------------------------------------------- command line


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos submission`: pack masks, or check a zip."""
    parser = argparse.ArgumentParser(
        prog="python -m rvos submission",
        description="Pack masks into a MeViS submission, or verify one.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="masks -> zip, which is then verified")
    packing.add_argument("masks", type=Path, help="a run's refined/ folder, or masks as coarse")
    checking = commands.add_parser("check", help="verify a zip")
    for command in (packing, checking):
        command.add_argument("zip", type=Path)
        command.add_argument("--root", required=True, help="data folder, as data.root")
        command.add_argument("--split", required=True, help="as data.split")
        command.add_argument("--format", default="mevis", help="as data.format")
        command.add_argument("--meta", help="as data.meta")
    given = parser.parse_args(arguments)
    split = open_split(given.format, given.root, given.split, meta=given.meta)
    if given.command == "pack":
        pack(given.masks, given.zip, split)
    count = check(given.zip, split)
    expressions = sum(len(video.expressions) for video in split.videos)
    Console().print(
        f"{given.zip}: {count} images of {expressions} expressions in {len(split.videos)} videos",
        soft_wrap=True,
    )
    return 0
