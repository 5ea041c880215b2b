"""Masks against arrays: every operation on RLE is compared with the same one on pixels."""

import gzip
import json
import os
import shutil
from contextlib import nullcontext

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco

from rvos import masks
from rvos.masks import FileError, MaskError, TrackFiles, file_stamp, files, write_json

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
PIXELS = SIZES.flatmap(lambda size: arrays(np.uint8, size, elements=st.integers(0, 1)))
PAIRS = SIZES.flatmap(
    lambda size: st.tuples(*[arrays(np.uint8, size, elements=st.integers(0, 1))] * 2)
)


@given(PIXELS)
def test_encode_decode(pixels):
    rle = masks.encode(pixels)
    assert rle["counts"] == coco.encode(np.asfortranarray(pixels))["counts"].decode()
    assert (masks.decode(rle) == pixels).all()
    column_major = np.concatenate(([0], pixels.T.ravel()))  # runs begin with background
    ends = np.append(np.flatnonzero(np.diff(column_major)), pixels.size)
    assert masks.from_runs(np.diff(ends, prepend=0), rle["size"]) == rle
    assert masks.area(rle) == pixels.sum()


@given(PAIRS)
def test_union_overlap(pair):
    a, b = pair
    rle_a, rle_b = (masks.canonical(masks.encode(m)) for m in pair)
    assert masks.union([rle_a, None, rle_b]) == masks.canonical(masks.encode(a | b))
    expected = (a & b).sum() / a.sum() if a.any() else 0
    assert masks.overlap_fractions([rle_a, None], rle_b).tolist() == [expected, 0]


def test_union_is_canonical_so_that_equal_masks_are_equal_strings():
    left, right = np.zeros((2, 20, 30), np.uint8)
    left[:, :10], right[:, 10:20] = 1, 1
    merged = masks.union([masks.encode(left), masks.encode(right)])
    assert merged == masks.encode(left | right)


def test_canonical_forms():
    pixels = np.zeros((4, 5), np.uint8)
    pixels[1:3, 2] = 1
    rle = masks.encode(pixels)
    split = coco.frPyObjects({"size": [4, 5], "counts": [9, 1, 0, 1, 9, 0]}, 4, 5)
    assert split["counts"].decode() != rle["counts"]
    assert masks.canonical(split) == rle
    assert masks.canonical({"size": [4, 5], "counts": rle["counts"].encode()}) == rle
    assert masks.canonical(masks.encode(np.zeros((4, 5)))) is None
    assert masks.canonical_track([None, split, rle]) == [None, rle, rle]


GOOD = {"size": [480, 854], "counts": masks.encode(np.eye(480, 854))["counts"]}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({**GOOD, "counts": ""}, "corrupt counts"),
        ({**GOOD, "counts": GOOD["counts"][:-2]}, "corrupt counts"),
        ({**GOOD, "counts": GOOD["counts"] + "1"}, "do not add up to 480 x 854"),
        ({**GOOD, "counts": GOOD["counts"][:20] + "~" + GOOD["counts"][21:]}, "alphabet"),
        ({**GOOD, "counts": "é"}, "alphabet"),
        ({**GOOD, "counts": "oooooooooo0"}, "corrupt counts"),
        ({**GOOD, "counts": [3, 4]}, "expected a compressed RLE string"),
        ({**GOOD, "size": [480, 855]}, "do not add up"),
        ({**GOOD, "size": [480]}, "size"),
        ({**GOOD, "size": [-480, -854]}, "size"),
        ({"counts": "x"}, "expected"),
        ("missing", "file is missing"),
        (7, "expected"),
    ],
)
def test_bad_masks(mask, message):
    with pytest.raises(MaskError, match=message):
        masks.canonical(mask)
    assert masks.canonical_track([GOOD, mask]) is None


def test_wrong_size_says_both():
    with pytest.raises(MaskError, match="expected a mask of 10 x 20 .* got 480 x 854"):
        masks.canonical(GOOD, [10, 20])


@settings(max_examples=30)
@given(st.lists(PIXELS, max_size=6))
def test_a_track_at_once_equals_mask_by_mask(frames):
    track = [masks.encode(f) if i % 3 else None for i, f in enumerate(frames)]
    assert masks.canonical_track(track) == [masks.canonical(m) for m in track]


# ------------------------------------------------------------------------------------- files

TRACK = [masks.encode(np.eye(6, 8)), None, masks.encode(np.ones((6, 8)))]


@pytest.fixture(params=["json", "json.gz", "folder", "png"])
def stored(request, tmp_path):
    """The same coarse masks in each of the accepted forms."""
    content = {"a": {"0": TRACK, "1": TRACK[::-1]}, "b": {"0": TRACK}}
    if request.param.startswith("json"):
        path = tmp_path / f"coarse.{request.param}"
        masks.write_json(path, content)
        return path
    for video, tracks in content.items():
        if request.param == "folder":
            masks.write_json(tmp_path / f"{video}.json.gz", tracks)
            continue
        for expression_id, track in tracks.items():
            folder = tmp_path / video / expression_id
            folder.mkdir(parents=True)
            for frame, mask in zip("xyz", track, strict=True):
                pixels = np.zeros((6, 8), np.uint8) if mask is None else masks.decode(mask)
                Image.fromarray(pixels * 255).save(folder / f"{frame}.png")
    return tmp_path


def test_track_files_of_every_form(stored):
    files = TrackFiles(stored)
    assert files.videos() == ["a", "b"] and "a" in files and "c" not in files
    with pytest.raises(FileError, match="video c is not there"):
        files.read("c", "xyz")
    for video, ids in (("a", ["0", "1"]), ("b", ["0"])):
        value = files.read(video, "xyz")
        assert list(value) == ids
    assert masks.canonical_track(files.read("a", "xyz")["1"]) == TRACK[::-1]


def test_png_tree_any_nonzero_pixel_is_foreground(tmp_path):
    pixels = np.zeros((5, 7), np.uint8)
    pixels[2, 3] = 1
    opaque = Image.fromarray(np.dstack([pixels, pixels * 0, pixels * 0, pixels * 0 + 255]))
    images = (Image.fromarray(pixels), Image.fromarray(pixels > 0), opaque)
    for name, image in zip(("grey", "bit", "rgba"), images, strict=True):
        image.save(tmp_path / f"{name}.png")
        assert (masks.read_pixels(tmp_path / f"{name}.png") == (pixels > 0)).all(), name


@pytest.mark.parametrize(
    "palette",
    [(0, 0, 0, 255, 255, 255), (255, 255, 255, 0, 0, 0), (9, 9, 9, 0, 0, 200)],
)
def test_a_palette_counts_by_its_colours(tmp_path, palette):
    """As OpenCV reads it as grey, which is what MeViS' script does."""
    pixels = np.zeros((5, 7), np.uint8)
    pixels[2, 3] = 1
    image = Image.fromarray(pixels, "P")
    image.putpalette(palette)
    image.save(tmp_path / "x.png")
    expected = cv2.imread(str(tmp_path / "x.png"), cv2.IMREAD_GRAYSCALE) > 0
    assert (masks.read_pixels(tmp_path / "x.png") == expected).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_mask_in_the_alpha_channel_is_warned_of_once(tmp_path, mode, caplog):
    alpha = Image.fromarray(np.eye(4, dtype=np.uint8) * 255)
    image = Image.new("L" if mode == "LA" else "RGB", (4, 4), 0)
    image.putalpha(alpha)
    for frame in ("x", "y"):
        path = tmp_path / "video" / "0" / f"{frame}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    track = TrackFiles(tmp_path).read("video", ["x", "y"])["0"]
    assert masks.canonical_track(track) == [None, None]
    warned = [r.getMessage() for r in caplog.records if "alpha channel" in r.getMessage()]
    assert len(warned) == 1 and str(tmp_path / "video" / "0" / "x.png") in warned[0]


@pytest.mark.parametrize("other", ["a.json.gz", "a/0/x.png"])
def test_a_video_that_is_there_twice_is_named(tmp_path, other):
    (tmp_path / "a.json").write_text('{"0": [null]}')
    (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / other).write_bytes(b"")
    name = other.partition("/")[0]
    with pytest.raises(FileError, match=f"video a is there more than once: a.json and {name}$"):
        TrackFiles(tmp_path).read("a", ["x"])


def test_hidden_folders_are_no_expressions(tmp_path):
    for name in ("0", ".ipynb_checkpoints"):
        path = tmp_path / "video" / name / "x.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.ones((2, 3), np.uint8)).save(path)
    assert list(TrackFiles(tmp_path).read("video", ["x"])) == ["0"]


def test_missing_png_is_told_apart_from_an_empty_one(tmp_path):
    folder = tmp_path / "video" / "0"
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(folder / "x.png")
    track = TrackFiles(tmp_path).read("video", ["x", "y"])["0"]
    assert masks.canonical(track[0]) is None
    with pytest.raises(MaskError, match="missing"):
        masks.canonical(track[1])


@pytest.mark.parametrize("content", [b'{"a": [1, 2', b"no json", b'{"a": 1, "a": 2}'])
@pytest.mark.parametrize("name", ["x.json", "x.json.gz"])
def test_bad_json_names_the_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(FileError, match=name):
        masks.read_json(path)
    with pytest.raises(FileError, match=name):
        list(masks.stream_json(path))


@pytest.mark.parametrize("levels", [100, 1500, 100_000])
@pytest.mark.parametrize(("start", "end"), ["[]", ('{"a":', "}"), ('{"[\\"[":[', "]}")])
@pytest.mark.parametrize("ends", [True, False])
def test_json_that_is_too_deep_names_the_file(tmp_path, levels, start, end, ends):
    """Nothing takes the gigabytes that ijson would, whether the brackets are closed or not."""
    path = tmp_path / "deep.json"
    path.write_text('{"v":' + start * levels + ("1" + end * levels + "}") * ends)
    for read in (masks.read_json, TrackFiles, lambda path: list(masks.stream_json(path))):
        with pytest.raises(FileError, match=r"deep.json: not valid JSON: .*more than 100 objects"):
            read(path)


TEXTS = st.text('"\\[{}]é', max_size=4)
NESTED = st.recursive(
    TEXTS, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v, max_size=2), max_leaves=9
)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(value=NESTED, size=st.integers(1, 9))
def test_the_depth_of_json_is_that_of_its_value(value, size):
    """Brackets in texts do not count, however the text is cut into pieces."""

    def depth(value):
        inner = value.values() if isinstance(value, dict) else value
        return 0 if isinstance(value, str) else 1 + max(map(depth, inner), default=0)

    for above, fits in ((100 - depth(value), True), (101 - depth(value), False)):
        text = ("[" * above + json.dumps(value) + "]" * above).encode()
        nesting = files._Nesting()
        with nullcontext() if fits else pytest.raises(ValueError, match="more than 100"):
            for start in range(0, len(text), size):
                nesting.check(text[start : start + size])


def test_truncated_gzip_names_the_file(tmp_path):
    path = tmp_path / "x.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"a": list(range(9999))}).encode())[:-50])
    with pytest.raises(FileError, match="x.json.gz"):
        masks.read_json(path)
    with pytest.raises(FileError, match="x.json.gz"):
        TrackFiles(path)


def test_duplicate_keys_deep_inside_are_errors(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"v": {"0": [], "0": []}}')
    for read in (masks.read_json, TrackFiles):
        with pytest.raises(FileError, match="'0' occurs twice"):
            read(path)


def test_no_file_no_folder(tmp_path):
    with pytest.raises(FileError, match="no such file or folder"):
        TrackFiles(tmp_path / "nothing")
    with pytest.raises(FileError, match="found none"):
        TrackFiles(tmp_path)


def test_writes_are_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "x.json.gz"
    masks.write_json(path, {"a": 1})
    before = path.read_bytes()
    masks.write_json(path, {"a": 1})
    assert path.read_bytes() == before  # no time stamp inside

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        masks.write_json(path, {"a": 2})
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_large_masks_are_read_exactly():
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.random((1080, 1920)), (0, 0), 5)
    pixels = (noise > 0.5).astype(np.uint8)
    rle = masks.encode(pixels)
    assert masks.canonical(rle) == rle
    assert (masks.decode(rle) == pixels).all()


@pytest.mark.parametrize("name", ["x.json", "x.json.gz"])
@pytest.mark.parametrize(
    "value", [{"é": [1, None], "b": {"c": '\n"'}}, {1: {"a": 2}}, {}, [1, {"a": 2}], None]
)
def test_json_is_that_of_the_library(tmp_path, name, value):
    masks.write_json(tmp_path / name, value)
    data = (tmp_path / name).read_bytes()
    data = gzip.decompress(data) if name.endswith("gz") else data
    assert data.decode() == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, suffix):
    path = tmp_path / f"marked{suffix}"
    data = b"\xef\xbb\xbf" + b'{"v": {"0": [null]}}'
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    assert masks.read_json(path) == {"v": {"0": [None]}}
    assert dict(masks.stream_json(path)) == {"v": {"0": [None]}}


@pytest.mark.parametrize("at", [0, 1, 315_532_800])  # no time, the first of packers, of ZIP
def test_a_file_that_is_replaced_by_one_of_the_same_time_and_size_is_another(tmp_path, at):
    """As archives unpack them that give every file the same time."""
    path = tmp_path / "masks.json"
    stamps = []
    for content in ({"v": {"0": [None]}}, {"w": {"0": [None]}}):
        write_json(path, content)
        os.utime(path, (at, at))
        masks_of = TrackFiles(path)
        stamps.append(masks_of.stamp(masks_of.videos()[0]))
    assert stamps[0] != stamps[1]


def test_a_copy_that_keeps_its_time_is_the_same_file(tmp_path):
    write_json(tmp_path / "a.json", {"v": {}})
    shutil.copy2(tmp_path / "a.json", tmp_path / "b.json")
    assert file_stamp(tmp_path / "a.json") == file_stamp(tmp_path / "b.json")
