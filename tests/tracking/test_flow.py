"""Moving objects: follows squares whose masks are known, through shake, crossing and absence."""

import numpy as np
import pytest

from rvos.masks import decode
from rvos.tracking import FlowTracker

SETTINGS = dict(
    size=384,
    difference=20,
    motion=0.3,
    min_area=0.002,
    match_iou=0.3,
    similarity=0.6,
    max_unseen=5,
    min_travel=0.05,
    max_instances=20,
)
SIZE = (96, 144)


class Scene:
    """Textured squares (24 px) on smooth noise; their exact masks are known."""

    def __init__(self, paths, *, shake=0.0, seed=0):
        """`paths`: per object (T, 2) x, y of the top left corner."""
        import cv2

        random = np.random.default_rng(seed)
        noise = random.integers(0, 255, (20, 26, 3), dtype=np.uint8)
        back = cv2.resize(noise, (SIZE[1] + 40, SIZE[0] + 40), interpolation=cv2.INTER_CUBIC)
        colors = np.array([[230, 30, 30], [30, 30, 230], [30, 220, 30]])
        texture = random.integers(0, 2, (6, 6, 1)) * 60
        texture = np.kron(texture, np.ones((4, 4, 1), int))  # (24, 24, 1)
        self.frames, self.truth = [], np.zeros((len(paths), len(paths[0]), *SIZE), bool)
        for t in range(len(paths[0])):
            dx, dy = (random.uniform(-shake, shake, 2) + 20).round().astype(int)
            frame = back[dy : dy + SIZE[0], dx : dx + SIZE[1]] // 3
            for i, path in enumerate(paths):
                x, y = np.round(path[t]).astype(int)
                y0, y1, x0, x1 = max(y, 0), min(y + 24, SIZE[0]), max(x, 0), min(x + 24, SIZE[1])
                if y0 < y1 and x0 < x1:
                    patch = (colors[i] - texture).clip(0, 255).astype(np.uint8)
                    frame[y0:y1, x0:x1] = patch[y0 - y : y1 - y, x0 - x : x1 - x]
                    self.truth[:, t, y0:y1, x0:x1] = False  # later objects pass in front
                    self.truth[i, t, y0:y1, x0:x1] = True
            self.frames.append(frame)


def line(start, speed, num_frames=20):
    return np.array(start) + np.arange(num_frames)[:, None] * np.array(speed)


def best_ious(scene, tracks):
    """Per object the best IoU over pixels of all frames with any track."""
    found = np.array(
        [[decode(m) if m else np.zeros(SIZE, np.uint8) for m in track] for track in tracks], bool
    ).reshape(len(tracks), len(scene.frames), *SIZE)
    return [
        max(((truth & one).sum() / (truth | one).sum() for one in found), default=0)
        for truth in scene.truth
    ]


def track(scene, **changes):
    return FlowTracker(**(SETTINGS | changes)).track(scene.frames, SIZE)


def test_two_objects_and_a_shaking_camera():
    scene = Scene([line((5, 10), (3, 0.5)), line((110, 60), (-3, 0))], shake=1.5)
    tracks = track(scene)
    assert min(best_ious(scene, tracks)) > 0.7
    assert len(tracks) <= 3 and all(len(t) == 20 for t in tracks)


def test_an_object_that_comes_in_later():
    scene = Scene([line((5, 10), (3, 0)), line((-60, 60), (5, 0))])
    ious = best_ious(scene, track(scene))
    assert min(ious) > 0.6


def test_objects_that_pass_each_other():
    scene = Scene([line((10, 30), (4, 0)), line((100, 44), (-4, 0))])
    assert min(best_ious(scene, track(scene))) > 0.5


def test_what_does_not_move_is_not_found():
    assert track(Scene([line((40, 40), (0, 0))], shake=1.5)) == []
    assert track(Scene([line((40, 40), (0, 0))])) == []


def test_the_same_frames_give_the_same_masklets():
    scene = Scene([line((5, 10), (3, 0.5))], shake=1.5)
    assert track(scene) == track(scene)


def test_one_frame_has_no_motion():
    scene = Scene([line((5, 10), (3, 0.5), 1)])
    assert track(scene) == []


@pytest.mark.parametrize("size", [72, 288])
def test_masks_have_the_size_of_the_frames_whatever_the_working_size(size):
    scene = Scene([line((5, 10), (3, 0.5))])
    tracks = track(scene, size=size)
    assert tracks and {tuple(m["size"]) for t in tracks for m in t if m} == {SIZE}


def test_objects_that_touch_before_they_part():
    """One detection in the first frames; each gets its part of them once they have parted."""
    scene = Scene([line((50, 30), (-2, 0)), line((74, 30), (3, 0))])
    ious = best_ious(scene, track(scene))
    assert min(ious) > 0.6 and max(ious) > 0.9, ious


def test_an_object_that_leaves_and_comes_back_is_one_masklet():
    there, back = line((100, 30), (5, 0), 12), line((160, 30), (-5, 0), 12)
    scene = Scene([np.concatenate([there, np.full((4, 2), 200), back])])
    tracks = track(scene)
    assert len(tracks) == 1
    assert min(best_ious(scene, tracks)) > 0.7


def test_a_slow_object_leaves_no_ghost():
    """It covers the middle of its way in most frames; the background there is seen at the ends."""
    scene = Scene([line((40, 30), (1, 0), 40)])
    tracks = track(scene)
    assert min(best_ious(scene, tracks)) > 0.7
    assert len(tracks) == 1
