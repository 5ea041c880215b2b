"""Video files as phones, browsers and broken downloads give them: turned, cut, with covers.

Every frame of a made video has its own grey, so that the frames that are read tell which they are.
"""

import math
import struct
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rvos import InputError
from rvos.data.frames import FrameError, VideoFile
from rvos.masks import encode, write_overlays

av = pytest.importorskip("av")

SIZE = (48, 64)
GREYS = range(20, 240, 4)  # of the frames of a made video: 55 of them


def grey(level, size=SIZE):
    return np.full((*size, 3), level, np.uint8)


def write(
    path,
    pictures,
    codec="libx264",
    rate=25,
    times=None,
    clock=1000,
    sound=0,
    options=None,
    faststart=False,
):
    """A video of pictures; `times`: of the frames, in units of 1/`clock` s; `sound` in seconds."""
    movflags = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", options=movflags) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 4_000_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, clock)
        audio = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for t, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[t], Fraction(1, clock)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            silence = np.zeros((1, 8000 * sound), np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def greys_of(frames):
    """Which of GREYS the frames show."""
    return [int(np.abs(np.array(GREYS) - frame.mean()).argmin()) for frame in frames]


def noisy():
    """Pictures of GREYS whose packets have some hundred bytes."""
    rng = np.random.default_rng(0)
    return [grey(level) + rng.integers(0, 4, (*SIZE, 3), np.uint8) for level in GREYS]


def opencv_frames(path):
    """What OpenCV's own FFmpeg decodes, as RGB."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(read[1][..., ::-1])
    return frames


# ----------------------------------------------------------------------------- which way up

# Greys of the four quarters, row by row, as a viewer shows 1 2 / 3 4 under the matrix (a, b, c, d):
# the pixel at (x, y) goes to (a x + c y, b x + d y), with x to the right and y down.
QUARTERS = {1: 40, 2: 100, 3: 160, 4: 220}
SHOWN = {
    (1, 0, 0, 1): "12 34",
    (-1, 0, 0, 1): "21 43",  # a selfie
    (-1, 0, 0, -1): "43 21",
    (1, 0, 0, -1): "34 12",
    (0, 1, 1, 0): "13 24",  # x and y change places
    (0, 1, -1, 0): "31 42",  # clockwise: the top is at the right
    (0, -1, -1, 0): "42 31",
    (0, -1, 1, 0): "24 13",
}


def quarters():
    picture = grey(0)
    for number, level in QUARTERS.items():
        row, column = divmod(number - 1, 2)
        picture[24 * row : 24 * row + 24, 32 * column : 32 * column + 32] = level
    return picture


def shown(frame):
    """The numbers of the quarters of a frame, as in SHOWN."""
    height, width = frame.shape[0] // 2, frame.shape[1] // 2
    numbers = []
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        level = frame[y * height : (y + 1) * height, x * width : (x + 1) * width].mean()
        numbers.append(str(min(QUARTERS, key=lambda n: abs(QUARTERS[n] - level))))
    return "".join(numbers[:2]) + " " + "".join(numbers[2:])


def with_matrix(path, matrix):
    """Sets the matrix of the track header (ISO 14496-12, 8.3.2, version 0; 16.16 fixed point)."""
    a, b, c, d = (round(value * (1 << 16)) for value in matrix)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 24] = struct.pack(">6i", a, b, 0, c, d, 0)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("matrix", SHOWN)
def test_frames_are_turned_and_mirrored_as_a_viewer_shows_them(tmp_path, matrix):
    frames = VideoFile(with_matrix(write(tmp_path / "v.mp4", [quarters()] * 3), matrix))
    first = next(iter(frames))
    assert first.shape[:2] == frames.size == ((64, 48) if matrix[0] == 0 else (48, 64))
    assert shown(first) == SHOWN[matrix]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        # A gimbal that was held 3 degrees off, mirrored: nearest is x and y exchanged.
        ((math.sin(0.05), math.cos(0.05), math.cos(0.05), -math.sin(0.05)), "13 24"),
        ((-2, 0, 0, 2), "21 43"),  # a size beside the mirroring
        ((0, 0, 0, 0), "12 34"),  # no matrix at all
    ],
)
def test_other_matrices_give_the_nearest_way_up(tmp_path, matrix, expected):
    frames = VideoFile(with_matrix(write(tmp_path / "v.mp4", [quarters()] * 3), matrix))
    assert shown(next(iter(frames))) == expected


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [("flip=horizontal", "21 43"), ("rotate=90", "24 13"), ("flip=vertical", "34 12")],
)
def test_a_video_stream_may_say_itself_how_it_is_shown(tmp_path, orientation, expected):
    """H.264's own message (display orientation SEI); its rotation is counterclockwise."""
    plain = write(tmp_path / "plain.mp4", [quarters()] * 3)
    options = f"h264_metadata=display_orientation=insert:{orientation}"
    with av.open(str(plain)) as source, av.open(str(tmp_path / "v.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        bits = av.BitStreamFilterContext(options, source.streams.video[0], stream)
        for packet in source.demux(video=0):
            for filtered in bits.filter(packet if packet.size else None):
                filtered.stream = stream
                target.mux(filtered)
    assert shown(next(iter(VideoFile(tmp_path / "v.mp4")))) == expected


def test_a_photo_as_the_video_is_turned(tmp_path):
    """Its frame has side data that PyAV 18 cannot name; EXIF 6: the top is at the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(quarters()).save(tmp_path / "photo.jpg", quality=95, exif=exif)
    frames = VideoFile(tmp_path / "photo.jpg")
    assert (len(frames), frames.size) == (1, (64, 48))
    assert shown(next(iter(frames))) == "31 42"


# ------------------------------------------------------------------------ cut and damaged files


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.name.startswith("rvos")]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
def test_a_stream_that_starts_between_key_frames_is_read_from_the_next_one(tmp_path, caplog, codec):
    """Cut at the packets of frame 5, with a key frame every 12 frames: 12 is the first to decode.

    MPEG-4 decoders would guess frames 5 to 11 from a grey picture.
    """
    options = {"g": "12", "bf": "0", "sc_threshold": "0" if codec == "libx264" else "1000000000"}
    path = write(tmp_path / "v.ts", [grey(level) for level in GREYS], codec, options=options)
    with av.open(str(path)) as container:
        start = [packet.pos for packet in container.demux(video=0) if packet.size][5]
    path.write_bytes(path.read_bytes()[start:])
    frames = VideoFile(path)
    assert greys_of(frames) == list(range(12, 55))
    assert len(frames) == 43
    VideoFile(path)  # says it once
    (message,) = warnings_of(caplog)
    assert message.startswith(f"{path}: 43 frames are read")
    assert "packets that do not decode: 7" in message


def test_half_a_file_is_read_and_named(tmp_path, caplog):
    path = write(tmp_path / "v.mkv", noisy())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = VideoFile(path)
    expected = opencv_frames(path)
    assert 5 < len(frames) == len(expected) < 55
    assert greys_of(frames) == greys_of(expected) == list(range(len(frames)))
    (message,) = warnings_of(caplog)
    assert f"the file announces 2.20 s and ends at {len(frames) / 25:.2f} s" in message  # 55 / 25


def test_a_cut_packet_costs_few_frames_before_it(tmp_path, caplog):
    """The decoder, with a thread per frame, loses at most a frame per thread; FFmpeg takes 16."""
    path = write(tmp_path / "v.mp4", noisy(), faststart=True)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: packets[30].pos + 8])
    frames = VideoFile(path)
    assert 14 <= len(frames) <= 30
    assert greys_of(frames) == list(range(len(frames)))
    (message,) = warnings_of(caplog)
    assert "announces 2.20 s" in message


def test_damage_in_the_middle_keeps_the_other_frames(tmp_path, caplog):
    path = write(tmp_path / "v.avi", [grey(level) for level in GREYS], "mjpeg")
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][20]
    data = bytearray(path.read_bytes())
    start = data.index(bytes(packet))
    data[start : start + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    frames = VideoFile(path)
    assert greys_of(frames) == [t for t in range(55) if t != 20]
    (message,) = warnings_of(caplog)
    assert "packets that do not decode: 1" in message


def test_packets_without_a_frame_are_no_damage(caplog):
    """A reference that is never shown has a packet of its own in VP8: 41 packets, 40 frames.

    ffmpeg -f lavfi -i testsrc2=s=64x48:r=25:d=1.6 -c:v libvpx -auto-alt-ref 1 -lag-in-frames 25
    -b:v 40k, in two passes.
    """
    path = Path(__file__).with_name("alt_ref.webm")
    frames = VideoFile(path)
    assert len(frames) == len(list(frames)) == len(opencv_frames(path)) == 40
    assert not warnings_of(caplog)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.mov", "v.ts"])
def test_sound_that_is_longer_than_the_pictures_is_no_damage(tmp_path, caplog, name):
    path = write(tmp_path / name, [grey(level) for level in GREYS], sound=5)
    assert greys_of(VideoFile(path)) == list(range(55))
    assert not warnings_of(caplog)


def test_a_file_of_which_no_frame_decodes_is_refused(tmp_path):
    path = write(tmp_path / "v.mp4", [grey(20)] * 5, faststart=True)
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    path.write_bytes(data[:start] + bytes(len(data) - start))
    with pytest.raises(FrameError, match="v.mp4: no frame can be decoded"):
        VideoFile(path)


def test_without_pyav_a_video_file_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "v.mp4", [grey(20)] * 5)
    for module in ("av", "av.stream"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"v.mp4: .* needs PyAV: pip install 'rvos\[video\]'"):
        VideoFile(path)


def test_a_file_that_shrinks_while_it_is_open_is_an_error(tmp_path):
    path = write(tmp_path / "v.mkv", [grey(level) for level in GREYS])
    frames = VideoFile(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FrameError, match="expected 55 frames as when it was opened, got"):
        list(frames)


# -------------------------------------------------------------------------- which stream


def write_two(path, first, second):
    """Two video streams, (pictures, codec) each, in this order."""
    with av.open(str(path), "w") as container:
        made = []
        for pictures, codec in (first, second):
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            made.append((stream, pictures))
        for stream, pictures in made:
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    "first",
    [
        ([grey(0, (96, 128))], "mjpeg"),  # a cover, larger than the video; the muxer's default
        ([grey(0)] * 10, "libx264"),  # a preview
    ],
)
def test_the_video_may_be_the_second_stream(tmp_path, caplog, first):
    path = write_two(tmp_path / "v.mp4", first, ([grey(level) for level in GREYS], "libx264"))
    frames = VideoFile(path)
    assert frames.size == SIZE
    assert greys_of(frames) == list(range(55))
    assert not warnings_of(caplog)


def test_of_streams_as_long_the_default_one_is_read(tmp_path, caplog):
    """An mp4 made here has its first video as the default one; that the other is larger is less."""
    large = [grey(0, (96, 128)) for _ in GREYS]
    path = write_two(
        tmp_path / "v.mp4", ([grey(level) for level in GREYS], "libx264"), (large, "libx264")
    )
    assert greys_of(VideoFile(path)) == list(range(55))
    (message,) = warnings_of(caplog)
    assert "has 2 videos, the streams 0, 1; 0 is read" in message and "-map 0:NUMBER" in message


def test_a_song_with_a_cover_has_no_video(tmp_path):
    cover = cv2.imencode(".jpg", grey(90))[1].tobytes()
    path = tmp_path / "song.mka"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        container.add_attachment("cover.jpg", "image/jpeg", cover)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(FrameError, match="song.mka: has no video stream"):
        VideoFile(path)


# ------------------------------------------------------------------------- frames per second


@pytest.mark.parametrize(
    ("rate", "times", "expected"),
    [
        # A browser: the rate is that of its clock. 54 steps are 2160 ms.
        (1000, [40 * t + 5 * (t % 6) for t in range(55)], 54 / 2.160),
        # Variable: 20 steps of 100 ms, 34 of 50 ms.
        (1000, [100 * t if t < 20 else 2000 + 50 * (t - 20) for t in range(55)], 54 / 3.7),
        # A recording that paused for an hour.
        (1000, [40 * t + 3_600_000 * (t > 30) for t in range(55)], 25),
        (25, [40 * t for t in range(55)], 25),
    ],
)
def test_the_rate_is_that_of_the_time_stamps(tmp_path, rate, times, expected):
    path = write(
        tmp_path / "v.mkv",
        [grey(level) for level in GREYS],
        "libvpx",
        rate=rate,
        times=times,
        options={"lag-in-frames": "0"},
    )
    frames = VideoFile(path)
    assert len(frames) == 55
    assert frames.fps == pytest.approx(expected, rel=1e-3)


def test_an_avi_with_every_other_frame_empty_has_half_its_rate(tmp_path):
    """AVI has no time stamps: 25 frames per second leave every other packet of 50 empty."""
    times = [2 * t for t in range(55)]
    path = write(tmp_path / "v.avi", noisy(), "mjpeg", rate=50, times=times, clock=50)
    frames = VideoFile(path)
    assert (len(frames), frames.fps) == (55, pytest.approx(25))


def test_an_announced_rate_is_kept_where_milliseconds_round_it(tmp_path):
    """30000/1001 per second: the time stamps of Matroska are 0, 33, 67, 100, ... ms."""
    path = write(tmp_path / "v.mkv", [grey(level) for level in GREYS], rate=Fraction(30000, 1001))
    assert VideoFile(path).fps == 30000 / 1001


def test_an_overlay_plays_as_long_as_its_video(tmp_path):
    times = [40 * t for t in range(55)]
    pictures = [grey(level) for level in GREYS]
    path = write(tmp_path / "v.mkv", pictures, "libvpx", rate=1000, times=times)
    frames = VideoFile(path)
    track = [encode(np.ones(SIZE, bool))] * len(frames)
    write_overlays(tmp_path / "overlay.mp4", frames, track, frames.fps)
    overlay = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    assert overlay.get(cv2.CAP_PROP_FPS) == pytest.approx(25)
    assert overlay.get(cv2.CAP_PROP_FRAME_COUNT) == 55
