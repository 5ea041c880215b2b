"""Two runs on the same expressions -> one page: what changed, with the pictures of both."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import track as progress

from rvos import __version__
from rvos.masks import Track, write_bytes
from rvos.report.clips import Pictures, make_clip
from rvos.report.details import Details, bytes_of, drop_beyond, embed, timeline_of
from rvos.report.pages import environment
from rvos.report.run import Run, VideoResults, changes
from rvos.report.scores import table_row
from rvos.report.strips import draw_strip, spread
from rvos.score.ablation import REFINED

if TYPE_CHECKING:
    from rvos.report.compare import Comparison


def write_comparison(
    path: Path,
    comparison: "Comparison",
    *,
    strips: int,
    frames: int,
    width: int,
    megabytes: float,
    player: int,
    confidence: float,
) -> Path:
    """Write the page to `path` and return it; the settings are those of conf/report/html.yaml."""
    a, b = comparison.a, comparison.b
    order = changes(a.JF(REFINED), b.JF(REFINED))
    identities = [a.identities[i] for i in order]
    details = _details(a, b, identities[:strips], frames=frames, width=width)
    drop_beyond([details[identity] for identity in identities[:strips]], megabytes)
    pictured = [identity for identity in identities if "strip" in details[identity]]
    pictures = Pictures(path, int(megabytes * 2**20) - bytes_of(details.values()))
    clips = _clips(a, b, pictured, pictures, width=player)
    for video, key in pictured:
        details[video, key]["clip"] = {
            "video": video,
            "id": key,
            "number": list(clips).index(video),
        }
    html = (
        environment()
        .get_template("compare.html.j2")
        .render(
            comparison=comparison,
            rows=[
                # A stands where the page of a run has its coarse masks
                table_row(
                    b.expressions[i],
                    a.expressions[i].refined,
                    b.expressions[i].refined,
                    pictured=a.identities[i] in pictured,
                )
                for i in order
            ],
            details=[details[identity] for identity in identities],
            clips=clips,
            num_pictured=len(pictured),
            num_videos=len(a.videos),
            confidence=confidence,
            version=__version__,
        )
    )
    write_bytes(path, html.encode())
    return path


def _details(
    a: Run, b: Run, pictured: Sequence[tuple[str, str]], *, frames: int, width: int
) -> Details:
    """The timelines of every expression, and the strips of those that are pictured."""
    details: Details = {}
    for name in progress(a.videos, "Comparing the videos", transient=True):
        videos = a.video(name), b.video(name)
        for key in videos[0].tracks:
            before, after = (timeline_of(video, key) for video in videos)
            details[name, key] = {"a": before, "b": after}
            if (name, key) in pictured:
                idx = spread(len(videos[0].frames), frames)
                images = a.images(videos[0])
                strip = draw_strip(_both(*videos, key), idx, [images[t] for t in idx], width=width)
                details[name, key]["strip"] = embed(strip, [videos[0].frames[t] for t in idx])
    return details


def _both(a: VideoResults, b: VideoResults, key: str) -> dict[str, Track]:
    """The tracks of a strip, in which A stands for coarse and B for refined."""
    ours = a.tracks[key]
    return {
        "coarse": ours["refined"],
        "refined": b.tracks[key]["refined"],
        "truth": ours["truth"],
    }


def _clips(
    a: Run, b: Run, pictured: Sequence[tuple[str, str]], pictures: Pictures, *, width: int
) -> dict[str, dict[str, Any]]:
    clips = {}
    names = dict.fromkeys(name for name, _ in pictured)
    for name in progress(names, "Drawing frames", transient=True):
        runs = {"a": a, "b": b}
        videos = {label: run.video(name) for label, run in runs.items()}
        masklets = {label: run.masklets(name) for label, run in runs.items()}
        tracks: dict[str, dict[str, list[Track]]] = {}
        for key in (key for video, key in pictured if video == name):
            tracks[key] = {"truth": [videos["a"].tracks[key]["truth"]]}
            for label, video in videos.items():
                tracks[key][f"{label} coarse"] = [video.tracks[key]["coarse"]]
                tracks[key][f"{label} refined"] = [video.tracks[key]["refined"]]
                if of_expression := masklets[label].get(key):
                    tracks[key][f"{label} masklets"] = of_expression
        frames, images = videos["a"].frames, a.images(videos["a"])
        clips[name] = make_clip(name, frames, tracks, images, pictures, width=width)
    return clips
