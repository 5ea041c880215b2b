"""The picture of README: frames in a row in which the coarse masks jump, and the same refined.

    python docs/figures/repair_picture.py runs/demo/refined docs/repair.jpg

It takes the six frames in a row in which the refined masks are best, out of those in which the
coarse ones are on the object at least twice, and at least twice elsewhere.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

sys.path.insert(0, str(Path(__file__).parents[2]))

from rvos.data.frames import read_image  # noqa: E402
from rvos.masks import bounding_box, overlay, union  # noqa: E402
from rvos.report.run import Run  # noqa: E402

FRAMES = 6  # in a row
WIDTH = 200  # pixels of one panel
GAP = 6
COLORS = [(255, 0, 255), (0, 255, 255), (255, 255, 0), (0, 255, 0), (255, 60, 0)]


def moment(run: Run) -> tuple[str, str, int]:
    """(video, expression_id, first frame_idx) of the clearest repair."""
    found = []
    for name, key in run.identities:
        scores = run.video(name).scores[key]
        coarse, refined = (
            sliding_window_view(np.asarray(scores[kind]["J"]), FRAMES)  # (T - 5, 6)
            for kind in ("coarse", "refined")
        )
        right, wrong = (coarse > 0.6).sum(1), (coarse < 0.1).sum(1)
        clear = np.where((right >= 2) & (wrong >= 2), refined.min(1), 0)
        found.append((clear.max(), name, key, int(clear.argmax())))
    return max(found)[1:]


def contrasting(frame) -> tuple[int, int, int]:
    """The colour that is farthest from any that covers more than a thousandth of the picture."""
    bins = frame.reshape(-1, 3) // 32
    values, counts = np.unique(bins, axis=0, return_counts=True)
    common = values[counts > 0.001 * len(bins)] * 32 + 16
    return max(COLORS, key=lambda c: np.linalg.norm(common - np.array(c), axis=1).min())


def written(text: str, width: int, size: float = 0.5) -> np.ndarray:
    """A line of text on white, (28, width, 3)."""
    line = np.full((28, width, 3), 255, np.uint8)
    where, font = (2, 20), cv2.FONT_HERSHEY_SIMPLEX
    return cv2.putText(line, text, where, font, size, (40, 40, 40), 1, cv2.LINE_AA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    run = Run.read(options.run)
    name, key, first = moment(run)
    video = run.video(name)
    assert run.frame_path is not None, "the run's images are not there"
    shown = range(first, first + FRAMES)
    frames = [read_image(run.frame_path(name, video.frames[t])) for t in shown]
    tracks = {kind: [video.tracks[key][kind][t] for t in shown] for kind in ("coarse", "refined")}
    x0, y0, x1, y1 = bounding_box(union([mask for track in tracks.values() for mask in track]))
    height, width = frames[0].shape[:2]
    side = min(height, int(1.15 * max(x1 - x0, y1 - y0, height // 2)))
    left = int(np.clip((x0 + x1 - side) // 2, 0, width - side))
    top = int(np.clip((y0 + y1 - side) // 2, 0, height - side))
    sentence = next(
        result.expression
        for result, identity in zip(run.expressions, run.identities, strict=True)
        if identity == (name, key)
    )
    color = contrasting(frames[0][top : top + side, left : left + side])
    rows = []
    for label, track in ("frames", [None] * FRAMES), *tracks.items():
        panels = []
        for frame, mask in zip(frames, track, strict=True):
            picture = frame if mask is None else overlay(frame, mask, color, opacity=0.75)
            crop = picture[top : top + side, left : left + side]
            panel = cv2.resize(crop, (WIDTH, WIDTH), interpolation=cv2.INTER_CUBIC)
            panels += [panel, np.full((WIDTH, GAP, 3), 255, np.uint8)]
        row = np.hstack(panels[:-1])
        text = f'{label}, "{sentence}"' if label == "frames" else f"{label} masks"
        rows += [written(text, row.shape[1]), row]
    picture = np.vstack(rows)
    cv2.imwrite(str(options.out), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"{options.out}: {name}, frames {first} to {first + FRAMES - 1}: {sentence!r}")


if __name__ == "__main__":
    main()
