"""What went wrong most plainly: no answer at all, or the answer to another expression."""

from dataclasses import dataclass, field
from typing import Any

from rvos.masks import Track, area, overlap_fractions
from rvos.report.run import Run, VideoResults

SAME = 0.7  # IoU over the whole video above which two expressions have got the same answer


@dataclass
class Facts:
    """What the masks of a run say of its expressions, gathered video by video."""

    # The target's mean share of the frame, over the frames where it is; None without a target.
    sizes: dict[tuple[str, str], float | None] = field(default_factory=dict)
    # (video, expression_id, expression_id, IoU of the refined masks); their targets differ
    mistaken: list[tuple[str, str, str, float]] = field(default_factory=list)

    def add(self, video: VideoResults) -> None:
        """Look at one video."""
        keys = list(video.tracks)
        for key in keys:
            self.sizes[video.name, key] = _size(video.tracks[key]["truth"])
        areas = {key: [area(mask) for mask in video.tracks[key]["refined"]] for key in keys}
        for i, a in enumerate(keys):
            for b in keys[i + 1 :]:
                # Equal tracks of a video are one object (`Run.video`).
                if video.tracks[a]["truth"] is video.tracks[b]["truth"]:
                    continue
                small, large = sorted((sum(areas[a]), sum(areas[b])))
                if small <= SAME * large:  # IoU is at most the ratio of the areas
                    continue
                one, other = video.tracks[a]["refined"], video.tracks[b]["refined"]
                IoU = _iou(one, other, areas[a], small + large)
                if IoU > SAME:
                    self.mistaken.append((video.name, a, b, IoU))


def _size(track: Track) -> float | None:
    shares = [area(m) / (m["size"][0] * m["size"][1]) for m in track if m is not None]
    return sum(shares) / len(shares) if shares else None


def _iou(one: Track, other: Track, areas: list[int], total: int) -> float:
    """Pixels in common over pixels of either, summed over the frames."""
    pairs = zip(one, other, areas, strict=True)
    common = sum(overlap_fractions([a], b)[0] * size for a, b, size in pairs if size)
    return common / (total - common)


def bad_cases(run: Run, facts: Facts, position: dict[tuple[str, str], int]) -> dict[str, list[Any]]:
    """Rows of the table that were answered by nothing, and pairs of rows with one answer."""
    silent = [
        position[identity]
        for identity, result in zip(run.identities, run.expressions, strict=True)
        if result.num_targets and result.refined.says_nothing
    ]
    pairs = sorted(facts.mistaken, key=lambda pair: -pair[-1])
    return {
        "silent": sorted(silent),
        "pairs": [(position[v, a], position[v, b], IoU) for v, a, b, IoU in pairs],
    }
