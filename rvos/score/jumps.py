"""Does a track stay on one object? How often its identity jumps to another one.

The identity of a frame is the object of the video with the highest IoU, if that is above 0.5. A
jump is a change of it between two frames that follow each other among the frames that have one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco

from rvos.masks import Track


@dataclass(frozen=True)
class Jumps:
    """Counts over the frames of one or several tracks."""

    jumps: int = 0
    pairs: int = 0  # of frames between which there may be a jump
    non_empty: int = 0  # frames with a mask

    def __add__(self, other: "Jumps") -> "Jumps":
        return Jumps(
            self.jumps + other.jumps, self.pairs + other.pairs, self.non_empty + other.non_empty
        )

    @property
    def per_100_pairs(self) -> float | None:
        """Jumps per 100 pairs; None without pairs."""
        return 100 * self.jumps / self.pairs if self.pairs else None

    def as_dict(self) -> dict[str, float | int | None]:
        """The counts, and jumps per 100 pairs."""
        return {
            "jumps_per_100_pairs": self.per_100_pairs,
            "jumps": self.jumps,
            "pairs": self.pairs,
            "non_empty_frames": self.non_empty,
        }


def jumps_of(track: Track, objects: Sequence[Track]) -> Jumps:
    """Jumps of a track between objects, given by their true tracks; all (T,), canonical."""
    identities = []
    for t, mask in enumerate(track):
        visible = [k for k, true_track in enumerate(objects) if true_track[t] is not None]
        if mask is None or not visible:
            continue
        true_masks = [objects[k][t] for k in visible]
        ious = np.asarray(coco.iou([mask], true_masks, [0] * len(visible)))[0]
        if ious.max() > 0.5:
            identities.append(visible[int(ious.argmax())])
    jumps = sum(a != b for a, b in zip(identities, identities[1:], strict=False))
    return Jumps(jumps, max(len(identities) - 1, 0), sum(mask is not None for mask in track))
