"""Packing masks into a MeViS submission, and the mistakes that `check` names."""

import io
import zipfile

import cv2
import numpy as np
import pytest
from commands import command
from PIL import Image

from rvos import InputError
from rvos.data.mevis import read_split
from rvos.masks import decode, encode, read_json, write_json
from rvos.report.submission import check, pack

main = command("submission")

FRAMES = ("00000", "00003", "00007")  # names are not numbers
SIZE = (4, 6)


@pytest.fixture
def data(tmp_path):
    """One split without ground truth: videos a (expressions 0 and 2) and b (expression 0)."""
    pixels = np.zeros(SIZE, bool)
    pixels[1:3, 2:5] = True
    mask = encode(pixels)
    videos = {
        "a": {"frames": list(FRAMES), "expressions": {"0": {"exp": "x"}, "2": {"exp": "y"}}},
        "b": {"frames": list(FRAMES), "expressions": {"0": {"exp": "z"}}},
    }
    write_json(tmp_path / "valid" / "meta_expressions.json", {"videos": videos})
    write_json(
        tmp_path / "masks.json",
        {
            "a": {"0": [mask, None, mask], "2": [None, None, None]},
            "b": {"0": [mask, mask, mask]},
        },
    )
    return tmp_path


@pytest.fixture
def split(data):
    return read_split(data, "valid")


@pytest.fixture
def good(data, split):
    path = data / "out" / "submission.zip"
    assert pack(data / "masks.json", path, split) == 9
    return path


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in files.items():
            archive.writestr(name, value)
    return path


def png(pixels, mode="L"):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def test_pack_writes_every_expression_and_frame(good, split, data):
    files = contents(good)
    assert sorted(files) == sorted(
        f"{v}/{e}/{f}.png" for v, e in (("a", "0"), ("a", "2"), ("b", "0")) for f in FRAMES
    )
    masks = read_json(data / "masks.json")
    for name, value in files.items():
        with Image.open(io.BytesIO(value)) as image:
            assert image.mode == "L" and image.size == SIZE[::-1]
            pixels = np.asarray(image)
        video, expression_id, frame = name.removesuffix(".png").split("/")
        mask = masks[video][expression_id][FRAMES.index(frame)]
        expected = np.zeros(SIZE) if mask is None else 255 * decode(mask)
        np.testing.assert_array_equal(pixels, expected)
    assert check(good, split) == 9


def test_the_official_reader_gets_the_masks_back(good):
    """The official scorer reads with OpenCV as grey (MeViS tools/eval_mevis.py)."""
    value = contents(good)["a/0/00000.png"]
    pixels = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels.sum() == 255 * 6


def test_the_same_masks_give_the_same_file(good, data, split):
    again = data / "again.zip"
    pack(data / "masks.json", again, split)
    assert again.read_bytes() == good.read_bytes()


def test_pack_lists_what_is_missing_and_leaves_no_file(data, split):
    masks = read_json(data / "masks.json")
    del masks["a"]["2"]
    masks["b"]["0"].pop()
    write_json(data / "bad.json", masks)
    with pytest.raises(InputError, match="(?s)expression 2: no masks.*expected 3 masks.*got 2"):
        pack(data / "bad.json", data / "bad.zip", split)
    assert not list(data.glob("*.zip*")) and not list(data.glob(".*partial"))


def test_pack_checks_the_size_of_the_frames(data, split):
    folder = split.folder / "JPEGImages" / "b"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "00000.jpg")
    with pytest.raises(InputError, match="video b, expression 0, frame 00000: .*8 x 8.*got 4 x 6"):
        pack(data / "masks.json", data / "bad.zip", split)


@pytest.mark.parametrize("parent", ["Annotations", "out/Annotations"])
def test_parent_folder_zipped(good, split, parent):
    files = {f"{parent}/{name}": value for name, value in contents(good).items()}
    files["__MACOSX/._x"] = b""
    with pytest.raises(InputError, match=f"parent folder was zipped.*\n.*{parent}/.*zip -r"):
        check(rezip(good, files), split)


def test_names_as_other_tools_write_them(good, split):
    """`zip -r x.zip ./*` is sound; backslashes are not folders outside Windows."""
    files = contents(good)
    assert check(rezip(good, {f"./{name}": value for name, value in files.items()}), split) == 9
    with_backslashes = {name.replace("/", "\\"): value for name, value in files.items()}
    with pytest.raises(InputError, match=r"names with backslashes.*zip again.*\n.*a\\0\\00000"):
        check(rezip(good, with_backslashes), split)
    with pytest.raises(InputError, match=r"(?s)system added.*__MACOSX/a/x.png.*a/0/\._00000.png"):
        check(rezip(good, {**files, "a/0/._00000.png": b"", "__MACOSX/a/x.png": b""}), split)
    with pytest.raises(InputError, match=r"(?s)not part of the split.*\n *\.\./a/0/00000.png"):
        check(rezip(good, {**files, "../a/0/00000.png": b""}), split)


def test_missing_frames_expressions_and_videos(good, split):
    files = contents(good)
    del files["a/0/00003.png"], files["a/0/00007.png"]
    with pytest.raises(InputError, match="missing frames.*\n.*a/0: 2 of 3 frames, first 00003.png"):
        check(rezip(good, files), split)
    files = {name: value for name, value in files.items() if not name.startswith("a/2/")}
    with pytest.raises(InputError, match="missing expressions.*\n *a/2$"):
        check(rezip(good, {**files, **contents_of_a0(files)}), split)
    files = {name: value for name, value in files.items() if name.startswith("a/")}
    with pytest.raises(InputError, match=r"missing videos.*\n *b$"):
        check(rezip(good, files), split)


def contents_of_a0(files):
    return {f"a/0/{frame}.png": files["a/0/00000.png"] for frame in FRAMES}


def test_frames_named_otherwise(good, split):
    files = contents(good)
    renamed = {n.replace("a/2/0000", "a/2/frame_"): v for n, v in files.items()}
    with pytest.raises(
        InputError,
        match="(?s)missing expressions.*a/2: expected <frame>.png.*"
        "frame_0.png.*not part of the split",
    ):
        check(rezip(good, renamed), split)


def test_extra_files(good, split):
    files = {**contents(good), "a/.DS_Store": b"", "readme.txt": b"hello"}
    with pytest.raises(InputError) as error:
        check(rezip(good, files), split)
    assert "system added" in str(error.value) and "a/.DS_Store" in str(error.value)
    assert "not part of the split (1):\n  readme.txt" in str(error.value)


def test_a_file_twice(good, split):
    with zipfile.ZipFile(good, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/0/00000.png", b"")
    with pytest.raises(InputError, match="there twice.*\n.*a/0/00000.png"):
        check(good, split)


INSIDE = np.zeros(SIZE)
INSIDE[1, 1] = 255


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (png(INSIDE / 255), "got 1 .foreground is 255, not 1"),
        (png(INSIDE * 0 + 7), "expected values 0 and 255, got 7$"),
        (png(INSIDE, "RGB"), "single-channel 8-bit grey, got RGB colour with 8 bits"),
        (png(INSIDE, "P"), "got palette"),
        (png(INSIDE, "1"), "got grey with 1 bits"),
        (png(np.zeros((5, 6))), "expected 4 x 6 pixels .height x width., got 5 x 6"),
        (b"\xff\xd8\xff\xe0 a JPEG", "not a PNG file"),
        (png(INSIDE)[:45], "damaged PNG"),
    ],
)
def test_wrong_images(good, split, value, message):
    files = contents(good)
    files["a/2/00003.png"] = value
    with pytest.raises(InputError, match=f"(?m)a/2/00003.png: .*{message}"):
        check(rezip(good, files), split)


def test_sizes_are_those_of_the_frames(good, split):
    folder = split.folder / "JPEGImages" / "a"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "00000.jpg")
    with pytest.raises(InputError, match="a/0/00000.png: expected 8 x 8 pixels"):
        check(good, split)


def test_without_frames_the_size_is_that_of_most_images(good, split):
    files = contents(good)
    files["a/0/00000.png"] = b"\xff\xd8\xff\xe0 a JPEG"
    files["a/0/00003.png"] = png(np.zeros((5, 6)))
    with pytest.raises(InputError) as error:
        check(rezip(good, files), split)
    wrong = [line for line in str(error.value).splitlines() if ".png:" in line]
    assert len(wrong) == 2 and "not a PNG" in wrong[0] and "got 5 x 6" in wrong[1]


@pytest.mark.parametrize("kind", ["deflate", "encrypted"])
def test_images_that_cannot_be_unpacked(good, split, kind):
    files = contents(good)
    with zipfile.ZipFile(good, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in files.items():
            archive.writestr(name, value)
    with zipfile.ZipFile(good) as archive:
        info = archive.getinfo("a/2/00003.png")
    data = bytearray(good.read_bytes())
    if kind == "deflate":  # the first byte of the compressed data: no such kind of block
        data[info.header_offset + 30 + len(info.filename)] = 0xFF
    else:
        central = data.rindex(b"PK\x01\x02", 0, data.rindex(info.filename.encode()))
        data[central + 8] |= 1  # the flag of encryption, there and at the file itself
        data[info.header_offset + 6] |= 1
    good.write_bytes(data)
    wrong = "damaged" if kind == "deflate" else "encrypted"
    with pytest.raises(InputError, match=f"a/2/00003.png: {wrong}"):
        check(good, split)


def test_pack_refuses_masks_of_another_form(data, split):
    write_json(data / "masks.json", {"a": [1], "b": {"0": [None] * 3}})
    with pytest.raises(InputError, match="video a: expected {expression_id: masks}, got .1."):
        pack(data / "masks.json", data / "x.zip", split)


def test_a_frame_that_cannot_be_read(data, good, split):
    image = split.folder / "JPEGImages" / "a" / "00000.jpg"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    with pytest.raises(InputError, match="00000.jpg: cannot be read as an image"):
        check(good, split)


def test_not_a_zip(tmp_path, split):
    (tmp_path / "x.zip").write_bytes(b"nothing")
    with pytest.raises(InputError, match="x.zip: not a zip file"):
        check(tmp_path / "x.zip", split)
    with pytest.raises(InputError, match="y.zip: no such file"):
        check(tmp_path / "y.zip", split)


def test_command_line(data, capsys):
    where = ["--root", str(data), "--split", "valid"]
    target = data / "s.zip"
    assert main(["pack", str(data / "masks.json"), str(target), *where]) == 0
    assert "9 images of 3 expressions in 2 videos" in capsys.readouterr().out
    assert main(["check", str(target), *where]) == 0
    rezip(target, {f"top/{name}": value for name, value in contents(target).items()})
    assert main(["check", str(target), *where]) == 1
    assert "parent folder" in capsys.readouterr().err
    assert main(["pack", str(data / "nowhere"), str(target), *where]) == 1
    assert "no such file or folder" in capsys.readouterr().err
