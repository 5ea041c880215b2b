"""Video -> frames: order, pixels, single decoding, and errors that name file and frame."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from rvos.data.frames import (
    FrameCache,
    FrameError,
    FrameFolder,
    Thinned,
    VideoFile,
    open_frames,
    read_image,
)
from rvos.data.split import own_split

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


@pytest.mark.parametrize(
    ("every", "most", "expected"),
    [(1, None, range(7)), (3, None, (0, 3, 6)), (2, 2, (0, 2)), (1, 3, (0, 1, 2)), (9, 5, (0,))],
)
def test_a_thinned_film_keeps_names_and_speed(tmp_path, every, most, expected):
    """Seven frames at 12 per second, brighter by 30 each."""
    path = write_video(tmp_path / "v.mp4", range(20, 230, 30))
    frames = Thinned(open_frames(path), every, most)
    assert frames.names == tuple(f"{t:05d}" for t in expected)
    assert len(frames) == len(expected) and frames.fps == pytest.approx(12 / every)
    shown = [round((frame[24:].mean() - 20) / 30) for frame in frames]
    assert shown == list(expected) == [round((f[24:].mean() - 20) / 30) for f in frames]


def test_a_thinned_film_is_another_split(tmp_path):
    path = write_video(tmp_path / "v.mp4", range(20, 230, 30))
    whole, thin = own_split(path, ["a dog"]), own_split(path, ["a dog"], every=2, max_frames=3)
    assert thin.videos[0].frames == ("00000", "00002", "00004")
    assert len(list(thin.open_frames(thin.videos[0]))) == 3
    assert whole.meta_sha256 != thin.meta_sha256


def test_other_pictures_of_the_same_names_and_sizes_are_another_split(tmp_path):
    """As of a second recording, not compressed; what lies beside the pictures does not count."""

    def identity(level):
        for t in range(3):
            Image.new("RGB", (8, 8), (level, t, 0)).save(tmp_path / f"{t}.bmp")
        return own_split(tmp_path, ["a dog"]).meta_sha256

    first = identity(0)
    assert identity(1) != first
    (tmp_path / "notes.txt").write_text("mine")
    assert identity(0) == first


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


# ------------------------------------------------------- images that say more than their pixels


def quarters():
    """40 and 100 above 160 and 220."""
    return np.kron(np.array([[40, 100], [160, 220]], np.uint8), np.ones((16, 24), np.uint8))


def with_orientation(path, orientation, pixels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_own_images_are_shown_as_exif_says(tmp_path, suffix, orientation):
    path = tmp_path / f"0.{suffix}"
    with_orientation(path, orientation, np.dstack([quarters()] * 3))
    frames = FrameFolder(tmp_path)
    (frame,) = frames
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    assert frames.size == expected.shape[:2] == ((32, 48) if orientation < 5 else (48, 32))
    assert np.array_equal(frame, expected)


def test_an_image_held_upright_has_its_top_at_the_right_of_the_pixels(tmp_path):
    with_orientation(tmp_path / "0.png", 6, quarters())
    (frame,) = FrameFolder(tmp_path)
    assert [[frame[0, 0, 0], frame[0, -1, 0]], [frame[-1, 0, 0], frame[-1, -1, 0]]] == [
        [160, 40],
        [220, 100],
    ]


def test_images_of_a_data_set_stay_as_its_loaders_read_them(tmp_path):
    with_orientation(tmp_path / "0.jpg", 6, quarters())
    frames = FrameFolder(tmp_path, ["0"])
    (frame,) = frames
    assert frame.shape[:2] == frames.size == (32, 48)
    assert np.array_equal(frame, np.asarray(Image.open(tmp_path / "0.jpg").convert("RGB")))


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 3), (2, 2, 4)])
def test_images_of_16_bits_are_refused(tmp_path, shape):
    """Pillow would keep the upper or the lower 8 bits. Beside images of 8 bits they are named."""
    cv2.imwrite(str(tmp_path / "0.png"), np.ones(shape, np.uint8))
    cv2.imwrite(str(tmp_path / "1.png"), np.ones(shape, np.uint16))
    with pytest.raises(FrameError, match="1.png: has 16 bits per channel; .*mogrify -depth 8"):
        list(FrameFolder(tmp_path))
    (tmp_path / "0.png").unlink()
    with pytest.raises(FrameError, match="1.png: has 16 bits per channel"):
        FrameFolder(tmp_path)


def test_palettes_cmyk_and_transparency_are_read_as_colours(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "p.png", transparency=1)
    Image.new("RGBA", (2, 1), (10, 20, 30, 0)).save(tmp_path / "a.png")
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=95)
    assert read_image(tmp_path / "p.png")[0].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [10, 20, 30]
    assert np.abs(read_image(tmp_path / "c.jpg")[0, 0].astype(int) - [255, 0, 0]).max() < 4
