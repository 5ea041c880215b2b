"""Draws docs/masklets_*.jpg: what a model sees, with 1, 5 and 16 masklets.

    python docs/figures/numbered_masklets.py [WIDTH]

Of the 16, which is more than a synthetic video has, 8 are another video's: they show nothing.
"""

import sys
import tempfile
from pathlib import Path

from rvos.ask.pictures import Gallery
from rvos.data.formats import open_split
from rvos.data.synthetic import synthesize
from rvos.masks import canonical_track, read_json

DOCS = Path(__file__).resolve().parents[1]


def main(width: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 5, 16):
            root = Path(folder) / str(count)
            synthesize(
                root,
                num_videos={"train": 0, "valid_u": 2, "valid": 0},
                hidden_truth=[],
                num_frames=8,
                size=(360, 640),
                num_objects=(min(count, 8), min(count, 8)),
                object_size=(0.3, 0.4) if count < 16 else (0.14, 0.2),
                camera_shake=0.0,
                pillars=0.0,
                no_target=0.0,
                jpeg_quality=90,
                seed=4,
                workers=1,
            )
            split = open_split("mevis", root, "valid_u")
            truth = read_json(root / "valid_u" / "mask_dict.json")
            tracks = [canonical_track(track) for track in truth.values()][:count]
            gallery = Gallery(split, split.videos[0], tracks, width=width)
            picture = gallery.picture(3, range(len(tracks)))
            (DOCS / f"masklets_{len(tracks)}.jpg").write_bytes(picture)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 640)
