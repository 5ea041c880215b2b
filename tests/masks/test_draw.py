"""Masks drawn over frames: one way to paint, whatever the size of mask and frame."""

import numpy as np
import pytest

from rvos.masks import comment_of, encode, overlay, write_video
from rvos.masks.draw import outline, paint

GREY, RED = 100, (200, 0, 50)


def frame(height, width):
    return np.full((height, width, 3), GREY, np.uint8)


def left(height, width, columns):
    pixels = np.zeros((height, width), bool)
    pixels[:, :columns] = True
    return encode(pixels)


def test_paint_mixes_frame_and_colour_inside_alone():
    """At opacity 0.25: 0.75 * 100 + 0.25 * colour."""
    picture = frame(4, 6)
    painted = paint(picture, left(4, 6, 2), RED, 0.25)
    assert (painted[:, :2] == (125, 75, 88)).all()  # 87.5 rounds to even
    assert (painted[:, 2:] == GREY).all() and (picture == GREY).all()


@pytest.mark.parametrize("scale", [1, 2, 5])
def test_a_pixel_covered_in_part_gets_that_part(scale):
    """The mask is `scale` times as large as the frame and ends in the middle of column 1."""
    mask = left(4 * scale, 6 * scale, scale + scale // 2)
    painted = paint(frame(4, 6), mask, (GREY, 0, GREY), 1.0)
    share = (scale // 2) / scale
    assert (painted[:, 0, 1] == 0).all() and (painted[:, 2:] == GREY).all()
    assert painted[:, 1, 1] == pytest.approx(GREY * (1 - share), abs=1)


def test_a_smaller_mask_is_enlarged():
    painted = paint(frame(8, 8), left(2, 2, 1), RED, 1.0)
    assert (painted[:, :2] == RED).all() and (painted[:, 6:] == GREY).all()


def test_an_overlay_is_paint_and_outline():
    pixels = np.zeros((40, 60), bool)
    pixels[10:30, 10:40] = True
    mask = encode(pixels)
    drawn = overlay(frame(40, 60), mask, RED, 0.25)
    painted = paint(frame(40, 60), mask, RED, 0.25)
    edge = (drawn != painted).any(-1)
    assert (drawn[edge] == RED).all() and edge.sum() == 2 * (20 + 30) - 4
    assert edge[10, 10:40].all() and not edge[11:29, 11:39].any()
    assert (overlay(frame(4, 6), None) == GREY).all()


def test_outlines_are_those_of_the_mask_at_the_pictures_size():
    assert len(outline(left(8, 8, 4), (4, 4))) == 1
    assert list(outline(None, (4, 4))) == []


def test_a_video_says_what_was_written_into_it(tmp_path):
    """Nothing where there is no comment, no video, or no file."""
    for comment in ("rvos 1a2b", ""):
        path = tmp_path / f"film{len(comment)}.mp4"
        write_video(path, [frame(16, 32)] * 3, 10, comment=comment)
        assert comment_of(path) == comment
    (tmp_path / "damaged.mp4").write_bytes(path.read_bytes()[:100])
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("damaged.mp4", "empty.mp4", "missing.mp4"):
        assert comment_of(tmp_path / name) == ""
