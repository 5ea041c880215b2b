"""What people bring: folders and films that other programs leave, texts as they are saved."""

import io
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rvos.data.decoding import _contents
from rvos.data.formats import open_checked, open_split, open_truth
from rvos.data.frames import FrameError, FrameFolder, VideoFile, fingerprint, in_order, open_frames
from rvos.data.split import own_split
from rvos.data.verify import verify
from rvos.errors import InputError
from rvos.masks import (
    FileError,
    TrackFiles,
    comment_of,
    encode,
    file_sha256,
    read_json,
    read_pixels,
    read_text,
    split_lines,
    write_overlays,
)

av = pytest.importorskip("av")


def picture(level, size=(8, 12)):
    return Image.fromarray(np.full((*size, 3), level, np.uint8))


# ------------------------------------------------------------------------------ folders of frames


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tif", ".ppm", ".gif", ".mpo"])
def test_every_format_of_pillow_is_a_frame(tmp_path, suffix):
    picture(0).save(tmp_path / "00000.png")
    picture(255).save(tmp_path / f"00001{suffix}")
    frames = FrameFolder(tmp_path)
    assert frames.names == ("00000", "00001")
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 255]


def test_what_is_no_frame_is_named(tmp_path, caplog):
    picture(0).save(tmp_path / "0.png")
    (tmp_path / "1.dng").write_bytes(b"raw")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "more").mkdir()
    assert FrameFolder(tmp_path).names == ("0",)
    assert "files that are no frames, left out (2)" in caplog.text
    assert "1.dng" in caplog.text and "notes.txt" in caplog.text


def test_a_folder_of_what_pillow_does_not_read_is_named(tmp_path, caplog):
    (tmp_path / "IMG_0001.heic").write_bytes(b"a phone's")
    with pytest.raises(FrameError, match="no frames; expected images such as .jpg or .png"):
        FrameFolder(tmp_path)
    assert "left out (1)" in caplog.text and "IMG_0001.heic" in caplog.text


def test_files_among_those_of_videos_that_are_none_are_named(tmp_path, caplog):
    """Their videos would be missing, and empty with score.missing=empty."""
    for name in ("a.json", "b.JSON", "c.json.xz", "provenance.json", ".a.json.failed"):
        (tmp_path / name).write_text('{"0": [null]}')
    assert TrackFiles(tmp_path).videos() == ["a"]
    assert "files that are no .json or .json.gz, left out (2)" in caplog.text
    assert "b.JSON" in caplog.text and "c.json.xz" in caplog.text


@pytest.mark.parametrize("suffix", [".webp", ".PNG", ".bmp"])
def test_masks_among_pngs_that_are_none_are_named(tmp_path, suffix):
    """They would be missing, and empty with score.missing=empty."""
    (tmp_path / "v" / "0").mkdir(parents=True)
    for t in range(2):
        Image.new("L", (4, 4), 255).save(tmp_path / "v" / "0" / f"{t}.png")
    for name in ("notes.txt", "overlay.jpg", "masks.h5"):  # of no frame: they do no harm
        (tmp_path / "v" / "0" / name).write_text("mine")
    assert [mask["size"] for mask in TrackFiles(tmp_path).read("v", "01")["0"]] == [[4, 4]] * 2
    (tmp_path / "v" / "0" / "1.png").rename(tmp_path / "v" / "0" / f"1{suffix}")
    with pytest.raises(FileError, match=rf"(?s)masks that are no \.png \(1\).*1\{suffix}"):
        TrackFiles(tmp_path).read("v", "01")


def test_names_that_are_no_text_are_named(tmp_path, caplog):
    """A frame's name stands in results; what else lies beside the frames does not."""
    picture(0).save(tmp_path / "0.png")
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("mine")
    assert FrameFolder(tmp_path).names == ("0",)
    all_files, images = fingerprint(tmp_path), fingerprint(tmp_path, images=True)
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("more")
    assert fingerprint(tmp_path) != all_files and fingerprint(tmp_path, images=True) == images
    assert "caf\\udce9.txt" in caplog.text  # as a log file can hold it
    picture(0).save(tmp_path / "1.png")
    os.rename(tmp_path / "1.png", tmp_path / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(FrameError, match=r"(?s)cannot be written as UTF-8.*'caf\\udce9\.png'"):
        FrameFolder(tmp_path)


def test_links_to_nothing(tmp_path):
    """An editor's lock is no frame; a frame that is not there is named."""
    picture(0).save(tmp_path / "0.png")
    os.symlink("user@host.1234", tmp_path / ".#notes.txt")
    assert FrameFolder(tmp_path).names == ("0",)
    fingerprint(tmp_path)
    os.symlink(".git/annex/objects/none", tmp_path / "1.png")
    os.mkfifo(tmp_path / "2.png")  # as one of no file does, it must not be waited for
    with pytest.raises(FrameError, match=r"(?s)links to nothing.*1\.png.*2\.png"):
        FrameFolder(tmp_path)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
ANNEX = b"/annex/objects/SHA256E-s3--0.png\n"  # as `git annex unlock` leaves what is not here


@pytest.mark.parametrize(("content", "command"), [(LFS, "git lfs pull"), (ANNEX, "git annex get")])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.json", read_json),
        ("a.json.gz", read_json),
        ("a.json", TrackFiles),
        ("a.txt", read_text),  # not three sentences
        ("a.png", read_pixels),
        ("a.png", lambda path: FrameFolder(path.parent)),
        ("a.mp4", open_frames),
    ],
)
def test_a_pointer_to_what_was_not_fetched(tmp_path, name, read, content, command):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: a pointer of .*`{command}`$"):
        read(tmp_path / name)


@pytest.mark.parametrize("read", [read_json, read_text, TrackFiles, file_sha256, open_frames])
def test_a_pipe_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(InputError, match="a pipe, which may never end|no such"):
        read(tmp_path / "a")


def test_linked_folders_of_masks_are_read_and_rings_of_links_end(tmp_path):
    """Another content has another identity, else what was made from it would be used again."""
    (tmp_path / "elsewhere" / "0").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "elsewhere" / "0" / "00000.png")
    (tmp_path / "masks").mkdir()
    os.symlink("../elsewhere", tmp_path / "masks" / "v")
    os.symlink(".", tmp_path / "elsewhere" / "self")
    files = TrackFiles(tmp_path / "masks")
    assert files.videos() == ["v"]
    before = files.identity(), files.stamp("v")
    Image.new("L", (4, 4), 1).save(tmp_path / "elsewhere" / "0" / "00000.png")
    assert files.identity() != before[0] and files.stamp("v") != before[1]


def test_masks_beside_an_editors_lock(tmp_path):
    (tmp_path / "v" / "0").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "v" / "0" / "00000.png")
    os.symlink("user@host.1234", tmp_path / "v" / ".#notes")
    assert [name for name, *_ in TrackFiles(tmp_path).stamp("v")] == ["0/00000.png"]


@pytest.mark.parametrize(
    "names",
    [
        ["0", "2", "9", "9b", "10"],
        ["0.04", "0.08", "0.12", "0.2", "1.0"],
        ["clip_0.5", "clip_1.05", "clip_1.5", "clip_2.25"],
        ["1.8", "1.9", "1.10"],  # parts that are counted: 1.1 comes twice as a decimal
        ["1.1", "1.9", "1.10", "2.1"],
        ["1.25", "1.50", "2.00"],
        ["frame-1", "frame-2", "frame-10"],
        ["1700000000.123456", "1700000000.223456", "1700000001.000001"],
        ["a1", "b0", "b1"],
        ["0.04_cam1", "0.08_cam1", "0.2_cam1"],
        ["0.04s", "0.08s", "0.2s"],
        ["a0.04", "a0.2", "b0.1"],
        ["0,04", "0,08", "0,2"],
        ["1.2.9", "1.2.12"],  # versions
        ["2024-01-05", "2024-01-12"],
        ["s1e2", "s1e10", "s2e1"],
        ["img9", "IMG10", "img11"],
        ["2_of_20", "10_of_20"],
    ],
)
def test_order_of_names(tmp_path, names):
    given = [tmp_path / f"{name}.png" for name in names]
    assert [file.stem for file in in_order(given[::-1])] == names


@pytest.mark.parametrize(
    "names",
    [
        ["t-2", "t-1", "t+0"],
        ["-1", "-2", "0", "1"],
        ["-3", "-2", "-1"],
        ["t-1_cam1", "t-2_cam1", "t0_cam1"],
        ["1.5", "1.12"],
        ["0.5", "0.25", "1"],
        ["0.04", "0.2", "mean"],
        ["12:30:59.5", "12:30:59.25", "12:31:00.0"],
        ["1e-3", "1e-2", "1e-1"],
    ],
)
def test_two_orders_that_make_sense_are_refused(tmp_path, names):
    with pytest.raises(FrameError, match="two orders of the frames make sense: is "):
        in_order([tmp_path / f"{name}.png" for name in names])


@pytest.mark.parametrize("name", ["stack.tif", "film.webp", "film.png", "film.avif"])
def test_several_pictures_in_a_file_are_said(tmp_path, name):
    pictures = [picture(level) for level in (0, 80, 160, 240)]
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
    with pytest.raises(FrameError, match="it has 4 pictures, expected one"):
        FrameFolder(tmp_path)
    if name != "film.png":
        return
    with pytest.raises(FileError, match="it has 4 pictures, expected one"):
        read_pixels(tmp_path / name)


@pytest.mark.parametrize("name", ["stack.tif", "film.webp", "film.avif"])
def test_a_stack_as_the_video_is_said(tmp_path, name):
    """FFmpeg reads the first picture, or none."""
    pages = [picture(level) for level in (0, 80, 160)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(FrameError, match="it has 3 pictures"):
        open_frames(tmp_path / name)


@pytest.mark.parametrize("name", ["film.gif", "film.png"])
def test_an_animation_as_the_video_is_read_whole(tmp_path, name):
    pages = [picture(level) for level in (0, 80, 160)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    assert [int(frame[0, 0, 0]) for frame in open_frames(tmp_path / name)] == [0, 80, 160]


# ------------------------------------------------------------------------------------------ films


def write_film(path, count, *, size=(32, 48), rate=10):
    with av.open(f"file:{path}", "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for t in range(count):
            pixels = np.full((*size, 3), 5 * t % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_only_the_frames_that_are_asked_for_are_decoded(tmp_path, monkeypatch):
    path = write_film(tmp_path / "long.mp4", 300)
    decoded = []
    from rvos.data import decoding

    scan = decoding._scan

    def counted(*arguments):
        result = scan(*arguments)
        decoded.append(result.num_frames)
        return result

    monkeypatch.setattr(decoding, "_scan", counted)
    _contents.cache_clear()
    split = own_split(path, ["a cat"], every=2, max_frames=3)
    assert split.videos[0].frames == ("00000", "00002", "00004")
    assert decoded == [5]
    frames = list(split.open_frames(split.videos[0]))
    whole = list(VideoFile(path))
    assert all(np.array_equal(frames[i], whole[2 * i]) for i in range(3)) and len(whole) == 300


@pytest.mark.parametrize(
    "name",
    ["10:30.mp4", "concat:a.mp4", "pipe:0", "http:a.mp4", "a?b#c.mp4", "-i.mp4", "f%d.mp4", "a\\b"],
)
def test_a_name_that_looks_like_an_address(tmp_path, monkeypatch, name):
    """It is read, and written to, as the overlay of a run in such a folder is."""
    os.rename(write_film(tmp_path / "a.mp4", 3), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    frames = open_frames(name)
    assert len(frames) == len(list(frames)) == 3
    track = [encode(np.ones(frames.size, bool))] * 3
    write_overlays(Path(f"{name}.out.mp4"), frames, track, 10, comment="mine")
    assert comment_of(tmp_path / f"{name}.out.mp4") == "mine"


@pytest.mark.parametrize("name", ["f%03d.png", "f*.png"])
def test_a_picture_whose_name_is_a_pattern_is_that_picture(tmp_path, name):
    for level in (0, 1, 2):
        picture(50 * level).save(tmp_path / f"f{level:03d}.png")
    os.rename(tmp_path / "f002.png", tmp_path / name)
    assert [int(frame[0, 0, 0]) for frame in open_frames(tmp_path / name)] == [100]


@pytest.mark.parametrize("address", ["https://host/a.mp4", "rtsp://host/a", "s3://bucket/a.mp4"])
def test_addresses_are_not_read(address):
    with pytest.raises(FrameError, match=f"{address}: addresses are not read; download the video"):
        open_frames(address)


def test_a_size_that_changes_names_the_frame_and_the_remedy(tmp_path):
    """Two recordings in one stream, as a recorder that is turned leaves them."""
    joined = tmp_path / "joined.mjpeg"
    with open(joined, "wb") as file:
        for size in [(32, 48)] * 3 + [(48, 32)] * 3:
            picture(90, size).save(file, format="jpeg")
    with pytest.raises(
        FrameError, match=r"frame 3: expected 32 x 48 .* ffmpeg -i VIDEO -vf scale=48:32 EQUAL"
    ):
        list(VideoFile(joined))
    split = own_split(joined, ["a cat"], max_frames=3)  # the first recording alone
    frames = list(split.open_frames(split.videos[0]))
    assert [frame.shape for frame in frames] == [(32, 48, 3)] * 3


def test_a_film_that_shrinks_and_a_picture_of_another_size(tmp_path):
    """The second recording has half the size; among own pictures one is held upright."""
    joined = tmp_path / "joined.mjpeg"
    with open(joined, "wb") as file:
        for size in [(32, 48)] * 2 + [(16, 24)] * 2:
            picture(90, size).save(file, format="jpeg")
    with pytest.raises(FrameError, match=r"frame 2: expected 32 x 48 .*, got 16 x 24\. .*ffmpeg"):
        list(VideoFile(joined))
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture(90, (32, 48)).save(folder / "0.png")
    picture(90, (48, 32)).save(folder / "1.png")
    with pytest.raises(FrameError, match=r"1\.png: expected 32 x 48 .*mogrify -resize 48x32! "):
        list(open_frames(folder))


def joined_films(path, parts):
    """Films of H.264 behind each other, (size, pixel format) each, three frames each."""
    with open(path, "wb") as file:
        for size, pix_fmt in parts:
            part = io.BytesIO()
            with av.open(part, "w", format="mpegts") as container:
                stream = container.add_stream("libx264", rate=10)
                stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
                for t in range(3):
                    pixels = np.full((*size, 3), 60 + 40 * t, np.uint8)
                    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
            file.write(part.getvalue())
    return path


def test_joined_films_of_one_size_are_read_and_of_two_sizes_refused(tmp_path):
    """A camera that was set anew: other pixels of the same size are no obstacle."""
    parts = [((32, 48), "yuv420p"), ((32, 48), "yuv444p")]
    frames = list(VideoFile(joined_films(tmp_path / "same.ts", parts)))
    assert [frame.shape for frame in frames] == [(32, 48, 3)] * 6
    means = [60, 100, 140] * 2
    assert np.allclose([frame.mean() for frame in frames], means, atol=4)
    turned = joined_films(tmp_path / "turned.ts", [parts[0], ((48, 32), "yuv420p")])
    with pytest.raises(FrameError, match=r"frame 3: expected 32 x 48 .*, got 48 x 32\. .*ffmpeg"):
        list(VideoFile(turned))


def test_a_picture_that_its_camera_held_upright(tmp_path):
    """EXIF 6: stored as 32 x 48, shown as 48 x 32."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(90, (32, 48)).save(tmp_path / "0.jpg")
    picture(90, (48, 32)).save(tmp_path / "1.jpg", exif=exif)
    assert [frame.shape[:2] for frame in FrameFolder(tmp_path)] == [(32, 48)] * 2
    picture(90, (32, 48)).save(tmp_path / "2.jpg", exif=exif)
    with pytest.raises(FrameError, match=r"2\.jpg: expected 32 x 48 .*, got 48 x 32.*mogrify"):
        list(FrameFolder(tmp_path))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pictures_of_numbers_are_refused(tmp_path, kind):
    """Their values would be cut off at 255: those of 0 to 1 would be black."""
    Image.fromarray(np.full((8, 12), 0.5 if kind is np.float32 else 70_000, kind)).save(
        tmp_path / "0.tif"
    )
    with pytest.raises(FrameError, match=r"0\.tif: has 32 bits per channel; rvos reads 8"):
        FrameFolder(tmp_path)


def test_a_long_film_takes_no_more_memory_than_a_short_one(tmp_path):
    """600 frames of 96 x 128 pixels are 22 MB."""
    frames = VideoFile(write_film(tmp_path / "long.mp4", 600, size=(96, 128)))
    tracemalloc.start()
    assert sum(1 for _ in frames) == 600
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6


@pytest.mark.parametrize("name", ["long.mp4", "long.mjpeg"])  # a raw stream announces no length
def test_a_long_film_shows_how_far_it_is_read(tmp_path, monkeypatch, name):
    from rvos.data import decoding

    shown = []

    class Bar:
        def __init__(self, **_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_task(self, text, total):
            shown.append((text, total))

        def update(self, task, completed):
            shown.append(completed)

    monkeypatch.setattr(decoding, "LONG", 10)
    monkeypatch.setattr(decoding, "Progress", Bar)
    path = tmp_path / name
    if name == "long.mp4":
        write_film(path, 12)
    else:
        with open(path, "wb") as file:
            for t in range(12):
                picture(10 * t, (32, 48)).save(file, format="jpeg")
    assert len(open_frames(path)) == 12
    assert shown[0] == (f"Reading {name}", 12 if name == "long.mp4" else None)
    assert shown[1:] == sorted(shown[1:]) and shown[-1] == 12
    shown.clear()
    assert len(open_frames(path, at_most=9)) == 9 and not shown  # a short way


# ------------------------------------------------------------------------------------------ texts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_texts_are_read_as_their_mark_says(tmp_path, encoding):
    path = tmp_path / "sentences.txt"
    path.write_bytes("the café\r\nthe dog\u2028that barks\rthe \x85 end".encode(encoding))
    lines = split_lines(read_text(path))
    assert lines == ["the café", "the dog\u2028that barks", "the \x85 end"]


def test_marks_of_files_that_were_joined_are_no_letters(tmp_path):
    path = tmp_path / "sentences.txt"
    path.write_bytes("the cat\n".encode("utf-8-sig") + "the dog\n".encode("utf-8-sig"))
    assert split_lines(read_text(path)) == ["the cat", "the dog", ""]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "latin-1", "gbk"])
def test_texts_of_unknown_encoding_are_refused(tmp_path, encoding):
    path = tmp_path / "sentences.txt"
    path.write_bytes("the café".encode(encoding))
    with pytest.raises(FileError, match="Save it as UTF-8"):
        read_text(path)


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-32", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-be"]
)
def test_json_that_a_shell_has_written(tmp_path, encoding):
    path = tmp_path / "coarse.json"
    path.write_bytes(json.dumps({"é": {"0": [None]}}, ensure_ascii=False).encode(encoding))
    assert read_json(path) == {"é": {"0": [None]}}
    assert TrackFiles(path).read("é") == {"0": [None]}


@pytest.mark.parametrize("read", [read_json, TrackFiles])
@pytest.mark.parametrize(
    ("name", "encoding"), [("é", "latin-1"), ("红猫", "gbk"), ("猫", "shift-jis")]
)
def test_json_of_another_encoding_is_refused(tmp_path, read, name, encoding):
    path = tmp_path / "coarse.json"
    path.write_bytes(json.dumps({name: {"0": [None]}}, ensure_ascii=False).encode(encoding))
    with pytest.raises(FileError, match=r"coarse\.json: cannot be read as text\. Save it as UTF-8"):
        read(path)


@pytest.mark.parametrize("where", ["expression", "video", "frame"])
@pytest.mark.parametrize(
    ("name", "fits"), [("n" * 240, True), ("n" * 241, False), ("é" * 121, False)]
)
def test_names_that_are_too_long_for_files_are_said_at_the_start(tmp_path, where, name, fits):
    """Of 241 bytes and more: results add endings, and a file system takes 255."""
    names = {name: "x" for name in ("expression", "video", "frame")} | {where: name}
    expressions = {names["expression"]: {"exp": "the cat", "anno_id": []}}
    videos = {names["video"]: {"frames": [names["frame"]], "expressions": expressions}}
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    if fits:
        assert open_split("mevis", tmp_path, "s").videos[0].name == names["video"]
        return
    with pytest.raises(InputError, match="of at most 240 bytes"):
        open_split("mevis", tmp_path, "s")


PLACES = ("expression", "video", "frame", "anno_id", "obj_id")


@pytest.mark.parametrize("where", PLACES)
def test_texts_that_cannot_be_written_are_said_at_the_start(tmp_path, where):
    text = dict.fromkeys(PLACES, "x") | {where: "the \ud83d disc"}
    expressions = {
        "0": {"exp": text["expression"], "anno_id": [text["anno_id"]], "obj_id": [text["obj_id"]]}
    }
    videos = {text["video"]: {"frames": [text["frame"]], "expressions": expressions}}
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    with pytest.raises(InputError, match=r"UTF-8|expected a name"):
        open_split("mevis", tmp_path, "s")


def test_a_film_whose_name_is_no_text_is_said_at_the_start(tmp_path):
    path = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.mp4")
    os.rename(write_film(tmp_path / "a.mp4", 3), path)
    with pytest.raises(InputError, match="cannot be written as UTF-8; rename it"):
        own_split(path, ["a cat"])


# --------------------------------------------------------------------------------------- datasets


def made_ytvos(root, levels, *, obj_id="1", second=None):
    """A Ref-YouTube-VOS split of one video; `levels`: the labels of each frame's left, right."""
    metas, folder = root / "meta_expressions" / "valid", root / "valid"
    frames = [f"{t:05d}" for t in range(len(levels))]
    expressions = {"0": {"exp": "the cat", "obj_id": obj_id}}
    if second:
        expressions["1"] = {"exp": "the dog", "obj_id": second}
    metas.mkdir(parents=True)
    video = {"frames": frames, "expressions": expressions}
    (metas / "meta_expressions.json").write_text(json.dumps({"videos": {"v": video}}))
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind / "v").mkdir(parents=True)
    for frame, (left, right) in zip(frames, levels, strict=True):
        labels = np.full((8, 12), right, np.uint8)
        labels[:, :6] = left
        Image.fromarray(labels).save(folder / "Annotations" / "v" / f"{frame}.png")
        picture(90).save(folder / "JPEGImages" / "v" / f"{frame}.jpg")
    return root


@pytest.mark.parametrize("label", [38, 255])
def test_labels_that_no_expression_is_about(tmp_path, label):
    made_ytvos(tmp_path, [(0, label), (0, label)])
    text = f"object 1 is in no frame; the labels there are 0, {label}, and no expression is about"
    truth = open_truth("ref_youtube_vos", open_split("ref_youtube_vos", tmp_path, "valid"))
    with pytest.raises(FileError, match=text):
        truth.track("v/1")
    (report,) = verify(
        tmp_path, format="ref_youtube_vos", release="any", splits=["valid"], decode=True, workers=1
    )
    assert [text in problem for problem in report.problems] == [True]


def test_a_frame_of_several_pictures_is_found_by_verify(tmp_path):
    """A .gif that was renamed; nobody has to decode it."""
    made_ytvos(tmp_path, [(0, 1), (0, 1)])
    pages = [picture(level) for level in (0, 80, 160)]
    path = tmp_path / "valid" / "JPEGImages" / "v" / "00001.jpg"
    pages[0].save(path, format="gif", save_all=True, append_images=pages[1:])
    settings = {"format": "ref_youtube_vos", "release": "any", "splits": ["valid"], "workers": 1}
    (report,) = verify(tmp_path, decode=False, **settings)
    assert ["00001.jpg: it has 3 pictures" in problem for problem in report.problems] == [True]


@pytest.mark.parametrize(
    "levels", [[(0, 0), (0, 1)], [(2, 0), (2, 2)], [(0, 0), (0, 0)], [(2, 255), (2, 2)]]
)
def test_an_object_that_hides_is_no_mistake(tmp_path, levels):
    made_ytvos(tmp_path, levels, second="2")
    truth = open_truth("ref_youtube_vos", open_split("ref_youtube_vos", tmp_path, "valid"))
    assert len(truth.track("v/1")) == 2


def test_objects_that_are_not_counted_from_1_are_named(tmp_path, caplog):
    """DAVIS' protocols count 1 and 2 as objects that are right without any mask."""
    made_ytvos(tmp_path, [(0, 3), (0, 3)], obj_id="3")
    split = open_split("ref_youtube_vos", tmp_path, "valid")
    tracks, _ = open_truth("ref_youtube_vos", split).objects(split.videos[0])
    assert [any(track) for track in tracks] == [False, False, True]
    assert "of the objects 1 to 3, 1, 2 are in no frame" in caplog.text


@pytest.mark.parametrize("first", [(0, 0), (0, 255)])
def test_a_first_frame_without_objects_is_named(tmp_path, first):
    split = open_split("ref_youtube_vos", made_ytvos(tmp_path, [first, (0, 1)]), "valid")
    truth = open_truth("ref_youtube_vos", split)
    for read in (truth.objects, truth.num_objects):
        with pytest.raises(FileError, match=r"00000\.png: the first frame shows no object"):
            read(split.videos[0])


@pytest.mark.parametrize("polygons", [[[10, 5, 30, 25]], [], [[5, 5, 5, 5, 5, 5]]])
def test_polygons_that_enclose_nothing_are_listed_and_counted(tmp_path, polygons, caplog):
    pytest.importorskip("torch")
    import made_refcoco as made

    made.write_pictures(tmp_path / "train2014")
    folder = tmp_path / "refcoco"
    folder.mkdir()
    content = made.converted()
    content["annotations"][-1]["segmentation"] = polygons
    (folder / "instances_refcoco_train.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"expected a mask with pixels, got one without"):
        open_split("refcoco", folder, "train")
    kept, _ = open_checked("refcoco", folder, "train", with_truth=True, skip_bad=True)
    assert [video.name for video in kept.videos] == [made.FIRST]
    assert "left out 1 of 2 videos and 0 more expressions" in caplog.text


@pytest.mark.parametrize(("name", "expected"), [(".cat.mp4", "cat"), (".mp4", "mp4"), ("..", "")])
def test_a_video_whose_name_begins_with_a_dot(tmp_path, name, expected):
    """Hidden files are no results, so a video is not called like one."""
    if expected:
        split = own_split(write_film(tmp_path / name, 3), ["a cat"])
        assert split.videos[0].name == expected
    videos = {name: {"frames": ["0"], "expressions": {"0": {"exp": "a cat", "anno_id": []}}}}
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    with pytest.raises(InputError, match="without a dot in front"):
        open_split("mevis", tmp_path, "s")
