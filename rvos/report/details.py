"""What a row of the report opens: the timeline of an expression, and pictures of its masks."""

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.progress import track as progress

from rvos.report.run import Run, VideoResults
from rvos.report.strips import Pixels, Strip, draw_strip, encoded, spread

_WEBP_QUALITY = 72

Details = dict[tuple[str, str], dict[str, Any]]  # by (video, expression_id)


def make_details(
    run: Run,
    pictured: Sequence[tuple[str, str]],
    *,
    frames: int,
    width: int,
    megabytes: float,
    look: Callable[[VideoResults], None] = lambda video: None,
) -> Details:
    """The timeline of every expression, and the strip of those that are `pictured`.

    A strip has `frames` pictures of `width` pixels for coarse, refined and ground truth. Those that
    would make all pictures exceed `megabytes` are left out, the last of `pictured` first. `look` is
    called with every video.
    """
    details: Details = {}
    for name in progress(run.videos, "Writing the report", transient=True):
        video = run.video(name)
        look(video)
        for key in video.tracks:
            details[name, key] = timeline_of(video, key)
            if (name, key) in pictured:
                strip = strip_of(run, video, key, frames=frames, width=width)
                details[name, key]["strip"] = embed(strip, video)
    drop_beyond([details[identity] for identity in pictured], megabytes)
    return details


def strip_of(
    run: Run, video: VideoResults, expression_id: str, *, frames: int, width: int
) -> Strip:
    """Some frames of one expression, evenly spaced; grey where the images are not there."""
    idx = spread(len(video.frames), frames)
    images = run.images(video)
    return draw_strip(video.tracks[expression_id], idx, [images[t] for t in idx], width=width)


def timeline_of(video: VideoResults, expression_id: str) -> dict[str, Any]:
    """C_t per frame, what was decided per window, J per frame in percent.

    A window is [start, stop, C_sel, kept coarse, agreement].
    """
    decision, scores = video.decisions[expression_id], video.scores[expression_id]
    return {
        "combinations": decision["combinations"],
        "windows": [
            [w["start"], w["stop"], w["selected"], w["kept_coarse"], w.get("agreement")]
            for w in decision["windows"]
        ],
        "J": {
            kind: [round(100 * value) for value in scores[kind]["J"]]
            for kind in ("coarse", "refined")
        },
    }


def embed(strip: Strip, video: VideoResults) -> dict[str, Any]:
    """A strip as the page holds it."""
    height, width = next(iter(strip.rows.values())).shape[:2]
    return {
        "frame_idx": list(strip.frame_idx),
        "names": [video.frames[t] for t in strip.frame_idx],
        "size": [width, height],
        "images": {kind: _in_url(pixels) for kind, pixels in strip.rows.items()},
    }


def _in_url(pixels: Pixels) -> str:
    data = encoded(pixels, ".webp", _WEBP_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(data).decode()


def bytes_of(details: Iterable[dict[str, Any]]) -> int:
    """How much of the page the strips take."""
    strips = (detail["strip"]["images"] for detail in details if "strip" in detail)
    return sum(len(uri) for images in strips for uri in images.values())


def drop_beyond(details: Sequence[dict[str, Any]], megabytes: float) -> None:
    """Drop the strips, the last first, that would make the page's pictures exceed `megabytes`."""
    used = 0
    for detail in details:
        used += bytes_of([detail])
        if used > int(megabytes * 2**20):
            del detail["strip"]
