"""The scripts of examples/, as a user runs them."""

import runpy
import subprocess

import pytest
from fork_server import forked_python
from made_data import DAVIS, REPOSITORY, small_synthetic

from rvos.data.frames import open_frames
from rvos.masks import read_json

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))


def test_each_fits_on_one_screen():
    assert [path.stem for path in EXAMPLES] == ["refine_masks", "segment_video"]
    assert all(len(path.read_text().splitlines()) <= 60 for path in EXAMPLES)


def test_refine_masks_gives_the_scores_of_the_grid():
    """Against expected.json, which comes from the official functions."""
    expected = read_json(DAVIS / "expected.json")
    cell = expected["grid"]["15:0.8"]
    summary = runpy.run_path(str(REPOSITORY / "examples" / "refine_masks.py"))["main"]()
    assert (summary.J, summary.F) == pytest.approx((cell["J"], cell["F"]), abs=1e-9)


@pytest.mark.slow
def test_segment_video(tmp_path):
    small_synthetic(tmp_path, num_videos={"valid_u": 1})
    (video,) = (tmp_path / "valid_u/JPEGImages").iterdir()
    out = tmp_path / "out.mp4"
    script = REPOSITORY / "examples" / "segment_video.py"
    done = subprocess.run(
        [forked_python(), script, video, "the red circle", out],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "frames 0-7: masklets" in done.stdout
    overlay = open_frames(out)
    assert (len(overlay), overlay.size) == (8, (64, 96))
