"""Tracks of boxes and masks of `small`, with networks that are functions worked out by hand."""

import numpy as np
import pytest

from rvos import InputError, SettingsError
from rvos.masks import decode
from rvos.tracking.small_masks import Masking, around, masks_of
from rvos.tracking.small_networks import Detections, read_network, suppressed
from rvos.tracking.small_tracks import Following, ious, tracks_of

FOLLOWING = Following(
    least_score=0.2,
    start_score=0.45,
    nms_iou=0.6,
    match_iou=0.5,
    tracker_score=0.7,
    max_unseen=2,
    min_share=0.3,
    inside=0.8,
    max_instances=3,
)
MASKING = Masking(margin=0.5, grow=0.0, threshold=0.5, every=1)
DOG, CAT = 0, 1  # columns of the scores


def box(x, y=10, side=20):
    return np.float32([x, y, x + side, y + side])


def found(*rows):
    """Detections of (box, score of the dog, score of the cat)."""
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([row[1:] for row in rows], np.float32).reshape(-1, 2))


class StillTracker:
    """Stands in for NanoTrack: the box stays where it was; `sure` in every frame."""

    def __init__(self, sure=1.0):
        self.sure = sure

    def start(self, frame, given):
        self.given = given

    def follow(self, frame):
        return self.given, self.sure


def tracks(detections, tracker=StillTracker, classes=(DOG,), **changes):
    settings = Following(**vars(FOLLOWING) | changes)
    frames = [np.zeros((100, 200, 3), np.uint8)] * len(detections)
    return tracks_of(frames, detections, classes, tracker, settings)


def lefts(track):
    return [None if given is None else float(given[0]) for given in track.boxes]


def test_two_instances_each_follow_their_own_detections_from_the_surest_frame():
    frames = [
        found((box(10 + 2 * t), 0.5 + 0.1 * t, 0), (box(100 - 2 * t), 0.6, 0)) for t in (0, 1, 2)
    ]
    first, second = tracks(frames)
    assert lefts(first) == [100.0, 98.0, 96.0] or lefts(first) == [10.0, 12.0, 14.0]
    assert sorted([lefts(first), lefts(second)]) == [[10.0, 12.0, 14.0], [100.0, 98.0, 96.0]]
    assert first.score >= second.score  # the surest first; both means are 0.6


def test_only_the_asked_classes_count_and_weak_boxes_start_nothing():
    frames = [found((box(10), 0, 0.9), (box(100), 0.4, 0))] * 2
    assert tracks(frames) == []
    (cat,) = tracks(frames, classes=(CAT,))
    assert lefts(cat) == [10.0, 10.0]
    assert cat.score == pytest.approx(0.9)


def test_the_chain_leaves_a_part_for_the_whole_that_comes_back():
    """In frame 1 only a part is seen; in frame 2 both: the later sure boxes win over the overlap.

    Greedy steps by overlap would stay on the part, which overlaps itself wholly.
    """
    whole, part = np.float32([10, 10, 50, 50]), np.float32([10, 10, 34, 50])  # IoU 0.6
    frames = [
        found((whole, 0.9, 0)),
        found((part, 0.4, 0)),
        found((part, 0.3, 0), (whole, 0.8, 0)),
        found((whole, 0.9, 0)),
    ]
    track = tracks(frames, nms_iou=0.7)[0]
    assert [float(given[2]) for given in track.boxes] == [50.0, 34.0, 50.0, 50.0]


def test_a_gap_is_bridged_by_the_tracker_and_a_longer_one_is_a_loss():
    seen, nothing = found((box(10), 0.9, 0)), found()
    (bridged,) = tracks([seen, nothing, nothing, seen])
    assert lefts(bridged) == [10.0] * 4
    assert [s > 0 for s in bridged.scores] == [True, False, False, True]
    (lost,) = tracks([seen, nothing, nothing, nothing, nothing, seen], max_unseen=2, min_share=0.2)
    assert lefts(lost) == [10.0, 10.0, 10.0, None, None, 10.0]  # restarted near its last place


def test_where_the_tracker_is_not_sure_the_object_is_gone():
    seen, nothing = found((box(10), 0.9, 0)), found()
    (track,) = tracks([seen, nothing, nothing], lambda: StillTracker(sure=0.1))
    assert lefts(track) == [10.0, None, None]


def test_a_lost_object_restarts_only_near_its_place_and_of_its_size():
    seen, nothing = found((box(10), 0.9, 0)), found()
    unsure = lambda: StillTracker(sure=0.1)  # noqa: E731
    far = tracks([seen, nothing, found((box(150), 0.8, 0))], unsure)
    assert [lefts(track) for track in far] == [[10.0, None, None], [None, None, 150.0]]
    large = tracks([seen, nothing, found((box(0, 0, side=60), 0.8, 0))], unsure)
    assert lefts(large[0]) == [10.0, None, None]


def test_weak_boxes_inside_a_surer_instance_are_parts_of_it():
    frames = [found((box(10, side=60), 0.9, 0), (box(15, 15, side=20), 0.5, 0))] * 3
    assert [track.score for track in tracks(frames)] == [pytest.approx(0.9)]
    beside = [found((box(10, side=60), 0.9, 0), (box(100, 15, side=20), 0.5, 0))] * 3
    assert len(tracks(beside)) == 2


def test_there_are_no_more_instances_than_asked():
    frames = [found(*((box(30 * i), 0.9 - 0.1 * i, 0) for i in range(4)))] * 2
    assert len(tracks(frames, start_score=0.2)) == 3


def test_overlaps_by_hand():
    boxes = np.float32([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]])
    assert ious(boxes, np.float32([0, 0, 10, 10])).tolist() == pytest.approx([1, 1 / 3, 0])
    assert suppressed(boxes, [0.5, 0.9, 0.1], 0.3) == [1, 2]
    assert suppressed(boxes, [0.5, 0.9, 0.1], 0.5) == [1, 0, 2]


# ----------------------------------------------------------------------------------- masks


def bright(picture):
    """Stands in for U2-Net-p: what is white is salient."""
    return (picture[..., 0] > 127).astype(np.float32)


def moving_square(num_frames, step=2, side=24):
    """A white square on a textured ground, from x = 40 on; its boxes."""
    random = np.random.default_rng(0)
    ground = random.integers(0, 100, (100, 200, 1)).astype(np.uint8).repeat(3, axis=2)
    frames, boxes = [], []
    for t in range(num_frames):
        frame = ground.copy()
        x = 40 + step * t
        frame[30 : 30 + side, x : x + side] = 255
        frames.append(frame)
        boxes.append(np.float32([x, 30, x + side, 30 + side]))
    return frames, boxes


def test_the_mask_is_what_is_salient_in_the_box_and_at_its_place_in_the_frame():
    frames, boxes = moving_square(2)
    frames[0][0:10, 100:110] = 255  # salient, but far from the box
    track = masks_of(frames, [boxes[0], None], bright, MASKING)
    expected = np.zeros((100, 200), np.uint8)
    expected[30:54, 40:64] = 1
    assert np.array_equal(decode(track[0]), expected)
    assert track[1] is None


def test_nothing_salient_is_no_mask_and_grow_lets_the_mask_leave_the_box():
    frames, boxes = moving_square(1)
    assert masks_of([np.zeros_like(frames[0])], boxes, bright, MASKING) == [None]
    tight = [np.float32([45, 35, 60, 50])]  # 15 pixels, inside the square
    assert decode(masks_of(frames, tight, bright, MASKING)[0]).sum() == 15 * 15
    grown = Masking(margin=0.5, grow=0.2, threshold=0.5, every=1)  # 3 pixels on each side
    assert decode(masks_of(frames, tight, bright, grown)[0]).sum() == 21 * 21


def test_every_asks_the_network_for_a_part_of_the_frames_and_carries_the_rest():
    frames, boxes = moving_square(8)
    asked = []

    def counted(picture):
        asked.append(picture.shape)
        return bright(picture)

    settings = Masking(margin=0.5, grow=0.1, threshold=0.5, every=3)
    carried = masks_of(frames, boxes, counted, settings)
    assert len(asked) == 4  # frames 0, 3, 6 and the last
    full = masks_of(frames, boxes, bright, Masking(**vars(settings) | {"every": 1}))
    for mask, other in zip(carried, full, strict=True):
        a, b = decode(mask).astype(bool), decode(other).astype(bool)
        assert (a & b).sum() / (a | b).sum() > 0.85


def test_the_box_with_its_margin_stays_in_the_frame():
    assert around(np.float32([10, 20, 30, 40]), 0.5, (100, 200)) == (0, 10, 40, 50)
    assert around(np.float32([190, 90, 210, 110]), 0.5, (100, 200)) == (180, 80, 200, 100)
    assert around(np.float32([0, 0, 0.4, 0.4]), 0.5, (100, 200)) == (0, 0, 1, 1)


# -------------------------------------------------------------------------------- messages


def test_a_file_that_is_no_network_is_named(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"this is no network")
    with pytest.raises(InputError, match=r"broken\.onnx: OpenCV .* cannot read this network"):
        read_network(path)


def test_settings_out_of_range_are_named():
    with pytest.raises(SettingsError, match="match_iou: expected a number .*, got 1.5"):
        Following(**vars(FOLLOWING) | {"match_iou": 1.5})
    with pytest.raises(SettingsError, match="every: expected a whole number >= 1, got 0"):
        Masking(margin=0.5, grow=0.1, threshold=0.5, every=0)
