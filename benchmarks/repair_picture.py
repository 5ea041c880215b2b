"""The picture of README: one moment of a run, as it is, with coarse masks, with refined masks.

    python benchmarks/repair_picture.py runs/demo/refined docs/repair.jpg

It takes the expression whose J&F the refinement raises most, and the frame in which J rises most.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rvos.data.frames import read_image  # noqa: E402
from rvos.masks import bounding_box, overlay, union  # noqa: E402
from rvos.report.run import Run  # noqa: E402

WIDTH = 400  # pixels of one panel
COLORS = [(255, 0, 255), (0, 255, 255), (255, 255, 0), (0, 255, 0), (255, 60, 0)]


def moment(run: Run) -> tuple[str, str, int]:
    """(video, expression_id, frame_idx) of the clearest repair."""
    gains = run.scores("J&F") - run.scores("coarse_J&F")
    video, expression_id = run.identities[int(gains.argmax())]
    scores = run.video(video).scores[expression_id]
    gain = np.subtract(scores["refined"]["J"], scores["coarse"]["J"])
    return video, expression_id, int(gain.argmax())


def contrasting(frame) -> tuple[int, int, int]:
    """The colour that is farthest from any that covers more than a thousandth of the picture."""
    bins = frame.reshape(-1, 3) // 32
    values, counts = np.unique(bins, axis=0, return_counts=True)
    common = values[counts > 0.001 * len(bins)] * 32 + 16
    return max(COLORS, key=lambda c: np.linalg.norm(common - np.array(c), axis=1).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    run = Run.read(options.run)
    name, key, t = moment(run)
    video = run.video(name)
    tracks = {kind: track[t] for kind, track in video.tracks[key].items()}
    assert run.frame_path is not None, "the run's images are not there"
    frame = read_image(run.frame_path(name, video.frames[t]))
    x0, y0, x1, y1 = bounding_box(union(tracks.values()))
    height, width = frame.shape[:2]
    side = min(height, int(1.25 * max(x1 - x0, y1 - y0, height // 2)))
    left = int(np.clip((x0 + x1 - side) // 2, 0, width - side))
    top = int(np.clip((y0 + y1 - side) // 2, 0, height - side))
    sentence = next(
        row["expression"]
        for row in run.expressions
        if (row["video"], row["expression_id"]) == (name, key)
    )
    color = contrasting(frame[top : top + side, left : left + side])
    panels = []
    for label, mask in (
        (f"frame: {sentence}", None),
        ("coarse", tracks["coarse"]),
        ("refined", tracks["refined"]),
    ):
        picture = frame if mask is None else overlay(frame, mask, color, opacity=0.75)
        crop = picture[top : top + side, left : left + side]
        panel = cv2.resize(crop, (WIDTH, WIDTH), interpolation=cv2.INTER_CUBIC)
        title = np.full((36, WIDTH, 3), 255, np.uint8)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(title, label, (8, 25), font, 0.65, (40, 40, 40), 2, cv2.LINE_AA)
        gap = np.full((WIDTH + 36, 8, 3), 255, np.uint8)
        panels += [np.vstack([title, panel]), gap]
    picture = np.hstack(panels[:-1])
    cv2.imwrite(str(options.out), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"{options.out}: {name}, frame {t}: {sentence!r}")


if __name__ == "__main__":
    main()
