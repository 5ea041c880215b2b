"""Refined masks of one's own video -> PNG masks and a small page with the overlays."""

from collections.abc import Sequence
from pathlib import Path

from rvos.data.frames import Frames
from rvos.masks import Track, write_bytes
from rvos.report.clips import Pictures, make_clip
from rvos.report.export import FORMATS, Refined, export, mask_png
from rvos.report.pages import environment
from rvos.score.inputs import VideoInputs

_MEGABYTES = 16  # of pictures in the page; the frames of longer videos lie beside it
_WIDTH = 640  # pixels of a picture, at most
DOWNLOADS = {  # of the formats of `export`, those of the page
    "png": "a PNG per frame",
    "rle": "COCO's run-length encoding, which coarse=files reads",
    "coco": "COCO's instances, frame by frame",
    "ytvis": "YouTube-VIS, over the video",
}


def write_masks(folder: Path, frames: Frames, track: Track) -> None:
    """`<folder>/<frame>.png`, 8-bit grey, 0 and 255."""
    for name, mask in zip(frames.names, track, strict=True):
        write_bytes(folder / f"{name}.png", mask_png(mask, frames.size))


def write_page(
    path: Path,
    inputs: VideoInputs,
    refined: dict[str, Track],
    frames: Frames,
    *,
    files: Sequence[str],
    fps: float,
    note: str,
    kinds: Sequence[str],
) -> None:
    """The page: a player with all sentences side by side, and files to download, which it writes.

    `refined` are the masks by expression_id, `files` the names of the frames' files, `kinds` what
    is to be downloaded, keys of `DOWNLOADS`. The overlays `overlay/<expression_id>.mp4` lie
    beside the page.
    """
    video = inputs.video
    tracks = {
        key: {
            "mask": [track],
            "coarse": [inputs.coarse[key]],
            "masklets": inputs.masklets.get(inputs.key(key), []),
        }
        for key, track in refined.items()
    }
    pictures = Pictures(path, _MEGABYTES * 2**20)
    clip = make_clip(video.name, video.frames, tracks, frames, pictures, width=_WIDTH)
    masks = [Refined(video, refined, tuple(files), frames.size)]
    downloads = []
    for kind in kinds:
        downloads.append((FORMATS[kind][0], DOWNLOADS[kind]))
        export(masks, kind, path.parent / FORMATS[kind][0])
    html = (
        environment()
        .get_template("prediction.html.j2")
        .render(
            video=video,
            nouns=inputs.nouns,
            counts={key: sum(mask is not None for mask in track) for key, track in refined.items()},
            sentences=[{"id": e.expression_id, "text": e.text} for e in video.expressions],
            clip=clip,
            downloads=downloads,
            fps=min(fps, 30),
            note=note,
        )
    )
    write_bytes(path, html.encode())
