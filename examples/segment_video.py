"""A video and a sentence -> an mp4 with the object marked, step by step.

    python examples/segment_video.py my.mp4 "the red circle" out.mp4

The model is the demo's small one, which knows coloured shapes only. With the official weights it is
`load_model("mutr", "mutr.pth", backbone="swin_l")` and `CoarseSettings.preset("mutr")`.
"""

import sys
from pathlib import Path

from rvos.coarse import CoarseSettings, segment_video
from rvos.data.frames import open_frames
from rvos.masks import write_overlays
from rvos.mutr import load_model
from rvos.refine import Candidates, Masklets, Vote
from rvos.tracking import FlowTracker


def main(video: str, expression: str, out: str) -> None:
    frames = open_frames(video)  # a file, or a folder of images

    # 1. Coarse masks u^t: MUTR segments the expression sub-clip by sub-clip.
    model = load_model("mutr_tiny", "checkpoints/mutr_tiny_demo.pth", num_queries=1)
    settings = CoarseSettings.preset("mutr_tiny")
    (coarse,) = segment_video(model, frames, [expression], settings)

    # 2. Masklets v_i^t: every object that moves, tracked through the whole video.
    masklets = FlowTracker.preset().track(frames, frames.size)

    # 3. The vote: in each window the combination of masklets that most frames agree on.
    vote = Vote(window=15, tau=0.5)
    refined = vote(Candidates(coarse.track, Masklets(masklets)))
    for window in refined.windows:
        print(f"frames {window.start}-{window.stop - 1}: masklets {window.selected}")

    write_overlays(Path(out), frames, refined.track, fps=frames.fps or 10)


if __name__ == "__main__":
    main(*sys.argv[1:4])
