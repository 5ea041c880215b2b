"""Video -> frames: order, pixels, single decoding, and errors that name file and frame."""

import struct

import numpy as np
import pytest
from PIL import Image

from rvos.data.frames import FrameCache, FrameError, FrameFolder, VideoFile, open_frames

av = pytest.importorskip("av")


def grey_frame(level, size=(48, 64)):
    return np.full((*size, 3), level, np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Names whose order in the video is neither their alphabetical nor their numeric order."""
    for name, level in (("b", 10), ("a", 60), ("10", 110), ("9", 160)):
        Image.fromarray(grey_frame(level)).save(tmp_path / f"{name}.jpg", quality=95)
    return tmp_path


def write_video(path, levels, *, size=(48, 64)):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12, options={"qscale": "2"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for level in levels:
            image = grey_frame(level, size)
            image[: size[0] // 4] = 255  # a bright bar at the top
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        container.mux(stream.encode())
    return path


def test_folder_follows_the_given_names(folder):
    frames = FrameFolder(folder, ["b", "a", "10", "9"])
    assert (len(frames), frames.size, frames.names) == (4, (48, 64), ("b", "a", "10", "9"))
    read = list(frames)
    assert all(f.shape == (48, 64, 3) and f.dtype == np.uint8 for f in read)
    assert [round(f.mean(), -1) for f in read] == [10, 60, 110, 160]


def test_folder_lists_all_missing_frames(folder):
    with pytest.raises(FrameError, match=r"(?s)missing frames \(2\).*x1.jpg.*x2.jpg"):
        FrameFolder(folder, ["a", "x1", "x2"])


def test_broken_and_odd_sized_frames_are_named(folder):
    frames = FrameFolder(folder, ["b", "a"])
    (folder / "a.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    with pytest.raises(FrameError, match="a.jpg"):
        list(frames)
    Image.fromarray(grey_frame(0, (10, 20))).save(folder / "a.jpg")
    with pytest.raises(FrameError, match=r"a.jpg: expected 48 x 64 .* got 10 x 20"):
        list(frames)


def test_video_file(tmp_path):
    levels = list(range(20, 200, 15))
    frames = open_frames(write_video(tmp_path / "v.mp4", levels))
    assert isinstance(frames, VideoFile)
    assert (len(frames), frames.size, frames.fps) == (12, (48, 64), 12.0)
    assert frames.names[:2] == ("00000", "00001")
    for frame, level in zip(frames, levels, strict=True):
        assert abs(float(frame[24:].mean()) - level) < 6


def test_the_display_rotation_of_phones_is_applied(tmp_path):
    """A display matrix that turns clockwise moves the bright bar from the top to the right."""
    path = write_video(tmp_path / "v.mp4", [20, 20, 20])
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # ISO 14496-12, 8.3.2: the matrix of a version 0 box
    data[start : start + 24] = struct.pack(">6i", 0, 1 << 16, 0, -(1 << 16), 0, 0)
    path.write_bytes(data)
    frames = VideoFile(path)
    assert frames.size == (64, 48)
    first = next(iter(frames))
    assert first[:, -8:].mean() > 200 and first[:, :24].mean() < 60


def test_a_cut_file_gives_the_frames_that_are_whole(tmp_path):
    path = write_video(tmp_path / "v.avi", range(0, 250, 5))
    path.write_bytes(path.read_bytes()[:-2000])
    frames = list(VideoFile(path))
    assert 0 < len(frames) < 50


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.mp4", b"not a video at all", "cannot be opened as a video"),
        ("v.wav", None, "has no video stream"),
    ],
)
def test_what_is_no_video_is_an_error_naming_the_file(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    else:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000)
            sound = av.AudioFrame.from_ndarray(
                np.zeros((1, 800), np.int16), format="s16", layout="mono"
            )
            sound.sample_rate = 8000
            container.mux(stream.encode(sound))
    with pytest.raises(FrameError, match=f"{name}: {message}"):
        open_frames(path)


def test_a_video_that_does_not_exist(tmp_path):
    with pytest.raises(FrameError, match="no such video file or folder"):
        open_frames(tmp_path / "none.mp4")


def test_cached_frames_are_decoded_once_in_any_order(folder):
    real = FrameFolder(folder, ["b", "a", "10", "9"])
    decoded = []

    class Counting:
        source, names, size, fps = "counted", real.names, real.size, None

        def __len__(self):
            return len(real)

        def __iter__(self):
            for frame in real:
                decoded.append(1)
                yield frame

    expected = list(real)
    with FrameCache(Counting()) as frames:
        for frame_idx in (2, 0, 3, 1, 2, 3):
            assert np.array_equal(frames[frame_idx], expected[frame_idx])
        assert len(decoded) == 4
        with pytest.raises(IndexError):
            frames[4]


def test_a_folder_without_names_follows_the_numbers(tmp_path):
    """0, 1, ..., 11 in this order, 9b after 9; what the system added (hidden files) is left out."""
    for t, name in enumerate(["0", "1", "2", "9", "9b", "10", "11"]):
        Image.fromarray(grey_frame(20 * t)).save(tmp_path / f"{name}.png")
    (tmp_path / "._0.jpg").write_bytes(b"resource fork")
    (tmp_path / ".DS_Store").write_bytes(b"")
    frames = FrameFolder(tmp_path)
    assert frames.names == ("0", "1", "2", "9", "9b", "10", "11")
    assert [int(frame[0, 0, 0]) for frame in frames] == [20 * t for t in range(7)]


def test_two_images_of_one_name_are_refused(tmp_path):
    for name in ("00000.jpg", "00000.png", "00001.jpg", "00001.JPEG"):
        Image.fromarray(grey_frame(0)).save(tmp_path / name, format="PNG")
    with pytest.raises(FrameError, match=r"(?s)same name \(2\).*00000.jpg and 00000.png") as error:
        FrameFolder(tmp_path)
    assert "00001.JPEG and 00001.jpg" in str(error.value)
