"""Two runs on the same expressions -> one page: what changed, with the pictures of both."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import track as progress

from rvos import __version__
from rvos.masks import Track, write_bytes
from rvos.report.clips import Pictures, add_clips, layers_of
from rvos.report.details import (
    Details,
    bytes_of,
    drop_beyond,
    embed,
    strip_of,
    timeline_of,
)
from rvos.report.pages import environment
from rvos.report.run import Run, changes
from rvos.report.scores import table_row
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
    left = int(megabytes * 2**20) - bytes_of(details.values())

    def tracks_of(name: str, keys: Sequence[str]) -> dict[str, dict[str, list[Track]]]:
        ours, theirs = layers_of(a, name, keys), layers_of(b, name, keys)
        return {
            key: {"truth": ours[key].pop("truth")}
            | {f"a {layer}": tracks for layer, tracks in ours[key].items()}
            | {f"b {layer}": tracks for layer, tracks in theirs[key].items() if layer != "truth"}
            for key in keys
        }

    clips = add_clips(details, pictured, a, tracks_of, Pictures(path, left), width=player)
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
        before, after = a.video(name), b.video(name)
        tracks = {  # of a strip, where A stands for coarse and B for refined
            key: {**kinds, "coarse": kinds["refined"], "refined": after.tracks[key]["refined"]}
            for key, kinds in before.tracks.items()
        }
        both = replace(before, tracks=tracks)
        for key in tracks:
            details[name, key] = {"a": timeline_of(before, key), "b": timeline_of(after, key)}
            if (name, key) in pictured:
                strip = strip_of(a, both, key, frames=frames, width=width)
                details[name, key]["strip"] = embed(strip, both)
    return details
