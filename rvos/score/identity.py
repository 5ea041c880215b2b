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
class Identity:
    """Counts over the frames of one or several tracks."""

    jumps: int = 0
    pairs: int = 0  # of frames between which there may be a jump
    non_empty: int = 0  # frames with a mask

    def __add__(self, other: "Identity") -> "Identity":
        return Identity(
            self.jumps + other.jumps, self.pairs + other.pairs, self.non_empty + other.non_empty
        )

    def as_dict(self) -> dict[str, float | int | None]:
        """The counts, and jumps per 100 pairs, None without pairs."""
        share = 100 * self.jumps / self.pairs if self.pairs else None
        return {
            "jumps_per_100_pairs": share,
            "jumps": self.jumps,
            "pairs": self.pairs,
            "non_empty_frames": self.non_empty,
        }


def identity_of(track: Track, objects: Sequence[Track]) -> Identity:
    """Jumps of a track between objects, given by their true tracks; all (T,), canonical."""
    found = []
    for t, mask in enumerate(track):
        shown = [k for k, of in enumerate(objects) if of[t] is not None]
        if mask is None or not shown:
            continue
        ious = np.asarray(coco.iou([mask], [objects[k][t] for k in shown], [0] * len(shown)))[0]
        if ious.max() > 0.5:
            found.append(shown[int(ious.argmax())])
    jumps = sum(a != b for a, b in zip(found, found[1:], strict=False))
    return Identity(jumps, max(len(found) - 1, 0), sum(mask is not None for mask in track))
