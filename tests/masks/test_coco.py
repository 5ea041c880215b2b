"""COCO with track ids and YouTube-VIS, written by hand as other programs write them, are read.

Takes about 1 s.
"""

import json

import numpy as np
import pytest

from rvos.masks import MISSING_FRAME, FileError, TrackFiles, encode

SIZE = (4, 6)


def columns(*numbers):
    """The mask of whole columns."""
    pixels = np.zeros(SIZE, bool)
    pixels[:, list(numbers)] = True
    return encode(pixels)


def polygon(x0, x1):
    """Columns x0 to x1 - 1 as COCO draws them."""
    return [[x0, 0, x1, 0, x1, 4, x0, 4]]


def image(number, file, **more):
    return {"id": number, "file_name": file, "height": 4, "width": 6, **more}


def mask(number, image_id, category, segmentation, **more):
    ids = {"id": number, "image_id": image_id, "category_id": category}
    return ids | {"segmentation": segmentation, **more}


@pytest.fixture
def read(tmp_path):
    """Calls with a file's content and a video give what is read of it."""

    def of(content, video, frames=None, *, instances=False):
        path = tmp_path / "masks.json"
        path.write_text(json.dumps(content))
        files = TrackFiles(path, instances=instances)
        assert video in files and video in files.videos()
        return files.read(video, frames)

    return of


TAO = {
    "videos": [{"id": 7, "name": "park/two dogs", "neg_category_ids": [3]}],
    "images": [  # in no order
        image(1, "park/two dogs/b.jpg", video_id=7, frame_index=30),
        image(2, "park/two dogs/a.jpg", video_id=7, frame_index=0),
    ],
    "tracks": [
        {"id": 5, "video_id": 7, "category_id": 2},  # never seen
        {"id": 9, "video_id": 7, "category_id": 2},
        {"id": 4, "video_id": 7, "category_id": 1},
    ],
    "annotations": [
        mask(1, 1, 2, columns(0), track_id=9),
        mask(2, 2, 2, polygon(1, 3), track_id=9),
        mask(3, 2, 1, {"size": list(SIZE), "counts": [20, 4]}, track_id=4),
        mask(4, 1, 1, {"size": list(SIZE), "counts": [24]}, track_id=4),  # an empty mask
    ],
    "categories": [{"id": 1, "name": "ball"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "cat"}],
}


def test_tracks_are_put_together_by_their_ids_and_frames_by_their_index(read):
    tracks = read(TAO, "park/two dogs", instances=True)
    assert tracks == {
        "cat": [],
        "dog": [[None, None], [columns(1, 2), columns(0)]],
        "ball": [[columns(5), None]],
    }


def test_frames_that_are_asked_for_are_found_by_their_names(read):
    asked = read(TAO, "park/two dogs", ["c", "b", "a"])
    assert asked["dog"] == [MISSING_FRAME, columns(0), columns(1, 2)]
    assert asked["cat"] == [MISSING_FRAME, None, None]


def test_annotations_of_images_without_ids_are_one_track_per_category(read):
    """Two objects of the first frame are united; videos are the folders of the files."""
    content = {
        "images": [image(1, "one/x.png"), image(2, "two/x.png"), image(3, "one/y.png")],
        "annotations": [
            mask(1, 1, 1, columns(0)),
            mask(2, 1, 1, columns(4)),
            mask(3, 3, 1, columns(3)),
            mask(4, 2, 1, columns(2)),
        ],
        "categories": [{"id": 1, "name": "the red bus"}],
    }
    assert read(content, "one") == {"the red bus": [columns(0, 4), columns(3)]}
    assert read(content, "two", instances=True) == {"the red bus": [[columns(2)]]}


VIS = {
    "videos": [
        {"id": 1, "file_names": ["v/0.jpg", "v/1.jpg"], "height": 4, "width": 6, "length": 2},
        {"id": 2, "file_names": ["w/0.jpg"], "height": 4, "width": 6, "length": 1},
    ],
    "annotations": [
        {"id": 3, "video_id": 1, "category_id": 1, "segmentations": [None, polygon(0, 2)]},
        {"id": 4, "video_id": 1, "category_id": 1, "segmentations": [columns(5), columns(5)]},
    ],
    "categories": [{"id": 1, "name": "person"}],
}


def test_youtube_vis_has_instances_or_their_union(read):
    instances = read(VIS, "v", ["0", "1"], instances=True)
    assert instances == {"person": [[None, columns(0, 1)], [columns(5), columns(5)]]}
    assert read(VIS, "v", ["1"]) == {"person": [columns(0, 1, 5)]}
    assert read(VIS, "w") == {}


LINES = {
    "two points": [[0, 0, 3, 3]],
    "a line": [[0, 1, 4, 1, 2, 1]],
    "outside": [[8, 1, 9, 1, 9, 3]],
}


@pytest.mark.parametrize("segmentation", LINES.values(), ids=LINES)
def test_polygons_that_enclose_nothing_are_named(read, caplog, segmentation):
    """They are empty masks, as [] and run lengths of background are without a word."""
    annotations = [*TAO["annotations"][1:], mask(8, 1, 2, segmentation, track_id=9)]
    assert read(TAO | {"annotations": annotations}, "park/two dogs")["dog"] == [columns(1, 2), None]
    assert "polygons that enclose nothing are empty masks (1)" in caplog.text
    assert "annotation 8, frame b" in caplog.text
    caplog.clear()
    annotation = VIS["annotations"][0] | {"segmentations": [segmentation, []]}
    assert read(VIS | {"annotations": [annotation]}, "v") == {"person": [None, None]}
    assert "(1):" in caplog.text and "annotation 3, frame 0" in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"videos": []}, "malformed COCO or YouTube-VIS: 1 is not there"),
        ({"videos": [*VIS["videos"], VIS["videos"][0] | {"name": "x"}]}, "videos: id 1 .* twice"),
        ({"categories": [{"id": 1, "name": n} for n in "ab"]}, "categories: id 1 is there twice"),
        ({"categories": [{"id": 1}]}, "'name' is not there"),
        ({"categories": [{"id": i, "name": "cat"} for i in (1, 2)]}, "there twice: .'cat'"),
        (
            {"annotations": [VIS["annotations"][1] | {"segmentations": [columns(1)] * 3}]},
            "annotation 4: 3 masks of a video of 2 frames",
        ),
        (
            {
                "annotations": [
                    VIS["annotations"][0]
                    | {"segmentations": [None, {"size": [4, 5], "counts": "T1"}]}
                ]
            },
            "annotation 3, frame 1: expected a mask of 4 x 6",
        ),
        ({"videos": [VIS["videos"][1] | {"file_names": ["0.jpg"]}], "annotations": []}, "<video>/"),
        (
            {"videos": [VIS["videos"][1] | {"file_names": ["w/0.jpg"] * 2}], "annotations": []},
            "there twice",
        ),
        (
            {"videos": [VIS["videos"][1], VIS["videos"][1] | {"id": 3}], "annotations": []},
            "video w is there twice",
        ),
    ],
)
def test_a_malformed_file_is_named_with_the_place(read, change, said):
    with pytest.raises(FileError, match=said) as error:
        read(VIS | change, "v")
    assert "masks.json: " in str(error.value)


def test_images_of_several_sizes_are_no_video(read):
    """As in COCO's own folders of pictures; a polygon would be drawn into the first one's size."""
    other = image(8, "park/two dogs/c.jpg", video_id=7, frame_index=60) | {"width": 9}
    with pytest.raises(FileError, match=r"park/two dogs/c.jpg: expected 4 x 6 pixels .* got 4 x 9"):
        read(TAO | {"images": [*TAO["images"], other]}, "park/two dogs")


def test_a_list_of_results_is_refused(read):
    """COCO's and YouTube-VIS' results have no names of videos, lmms-eval's no masks."""
    with pytest.raises(FileError, match="expected an object .* A list of results"):
        read([{"video_id": 1, "segmentations": [columns(1)]}], "v")
