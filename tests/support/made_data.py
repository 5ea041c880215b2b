"""Data for tests: where the bundled masks lie, and a small MeViS folder made by hand."""

from copy import deepcopy
from pathlib import Path

import numpy as np
from PIL import Image

from rvos.data.synthetic import synthesize
from rvos.masks import decode, encode, write_json

REPOSITORY = Path(__file__).parents[2]
DAVIS = REPOSITORY / "tests" / "data" / "davis_masks"
SIZE = (40, 60)  # of the frames made here


def davis_arguments() -> list[str]:
    """Overrides of eval.py that score the bundled masks."""
    return [
        "report=none",
        f"data.root={DAVIS.parent}",
        f"data.split={DAVIS.name}",
        "coarse=files",
        f"coarse.path={DAVIS / 'coarse.json.gz'}",
        "masklets=files",
        f"masklets.path={DAVIS / 'masklets.json.gz'}",
        f"masklets.nouns={DAVIS / 'nouns.json'}",
    ]


def small_synthetic(folder: Path, **changes) -> Path:
    """Synthetic videos of 64 x 96 pixels with two or three shapes; `changes` as conf/synthesize."""
    settings = {
        "hidden_truth": [],
        "num_frames": 8,
        "size": (64, 96),
        "num_objects": (2, 3),
        "object_size": (0.25, 0.4),
        "camera_shake": 0.0,
        "pillars": 0.0,
        "no_target": 0.0,
        "jpeg_quality": 90,
        "seed": 3,
        "workers": 1,
    }
    synthesize(folder, **settings | changes)
    return folder


def square(x: int, y: int, side: int = 10, size: tuple[int, int] = SIZE) -> dict:
    """A mask of one filled square."""
    pixels = np.zeros(size, np.uint8)
    pixels[y : y + side, x : x + side] = 1
    return encode(pixels)


def write_png(path: Path, mask: dict | None, foreground: int = 255) -> None:
    """A mask as a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(SIZE, np.uint8) if mask is None else decode(mask) * np.uint8(foreground)
    Image.fromarray(pixels).save(path)


def write_frames(folder: Path, frames: list[str]) -> None:
    """Black frames."""
    folder.mkdir(parents=True)
    for name in frames:
        Image.new("RGB", SIZE[::-1]).save(folder / f"{name}.jpg")


def spread(truth, prediction, J, F) -> float:
    """A metric for `score.extra` that one frame does not have: the sample variance of J."""
    return float(np.square(J - J.mean()).sum()) / (len(J) - 1) if len(J) > 1 else float("nan")


class MadeData:
    """A small MeViS folder with masks of every kind, which tests then spoil in one place.

    Two videos of 7 and 1 frames; two squares each, one moving right, one standing still; the
    coarse masks of the moving one jump to the other in the middle.
    """

    def __init__(self, root: Path):
        self.root = root
        self.meta, self.mask_dict, self.coarse = {"videos": {}}, {}, {}
        self.masklets, self.nouns = {}, {}
        for video, num_frames in (("long", 7), ("short", 1)):
            moving = [square(2 * t, 5) for t in range(num_frames)]
            still = [square(40, 20)] * num_frames
            ids = [f"{video}-moving", f"{video}-still"]
            self.mask_dict |= dict(zip(ids, (moving, still), strict=True))
            self.meta["videos"][video] = {
                "expressions": {
                    "0": {"exp": "the square moving right", "obj_id": [0], "anno_id": ids[:1]},
                    "1": {"exp": "both squares", "obj_id": [0, 1], "anno_id": ids},
                    "2": {"exp": "the circle", "obj_id": [], "anno_id": []},
                },
                "frames": [f"{t:05d}" for t in range(num_frames)],
            }
            jumping = [still[t] if t in (3, 4) else m for t, m in enumerate(moving)]
            self.coarse[video] = {"0": jumping, "1": moving, "2": [None] * num_frames}
            self.masklets[video] = {"square": [moving, still], "circle": []}
            self.nouns[video] = {"0": "square", "1": "square", "2": "circle"}
        for name in ("mask_dict", "coarse", "masklets"):  # spoiling one must not spoil another
            setattr(self, name, deepcopy(getattr(self, name)))

    def write(self) -> list[str]:
        """Write all files; returns eval.py's overrides."""
        split = self.root / "data" / "valid_u"
        write_json(split / "meta_expressions.json", self.meta)
        write_json(split / "mask_dict.json", self.mask_dict)
        for name in ("coarse", "masklets", "nouns"):
            write_json(self.root / f"{name}.json", getattr(self, name))
        return [
            f"data.root={self.root / 'data'}",
            "coarse=files",
            f"coarse.path={self.root / 'coarse.json'}",
            "masklets=files",
            f"masklets.path={self.root / 'masklets.json'}",
            f"masklets.nouns={self.root / 'nouns.json'}",
            f"output_dir={self.root / 'out'}",
            "score.workers=1",
            "report=none",
        ]
