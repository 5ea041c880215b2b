"""MeViS v2 as it is released: names of the file of expressions, frames in JPEGImages.tar."""

import gzip
import io
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import tarfile

import numpy as np
import pytest
from commands import command
from made_data import DAVIS
from made_mevis import EXPRESSIONS, FRAMES, MASKS, SIZE, write_frame, write_split
from PIL import Image
from test_clip import recipe
from test_mevis import write_palette
from torch.utils.data import DataLoader

from rvos import InputError
from rvos.data import archive
from rvos.data.archive import open_archive
from rvos.data.check import find_problems, without
from rvos.data.formats import open_checked, open_split, open_truth
from rvos.data.frames import FrameError, read_image
from rvos.data.mevis import METAS, Annotations, read_split
from rvos.data.split import merge_tracks
from rvos.report.strips import draw_strip
from rvos.report.submission import frame_size
from rvos.train.clips import ClipDataset

V2 = DAVIS.parent / "mevis_v2"
END = bytes(10240)  # what a tar ends with


@pytest.fixture(autouse=True)
def no_archive_is_known():
    archive._open.cache_clear()


def rename_meta(folder, *names):
    """meta_expressions.json under other names."""
    content = (folder / "meta_expressions.json").read_bytes()
    (folder / "meta_expressions.json").unlink()
    for name in names:
        packed = gzip.compress(content) if name.endswith(".gz") else content
        (folder / name).write_bytes(packed)


# ------------------------------------------------------------------------------- expressions


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", METAS)
def test_every_name_of_the_file_of_expressions_is_read(tmp_path, name, suffix):
    rename_meta(write_split(tmp_path) / "train", name + suffix)
    (video,) = read_split(tmp_path, "train").videos
    assert {e.expression_id: e.text for e in video.expressions} == {
        i: entry["exp"] for i, entry in EXPRESSIONS.items()
    }


def test_the_released_form_is_read():
    split = read_split(V2, "valid_u")
    expressions = [e for video in split.videos for e in video.expressions]
    # shared data's README: three videos, 15 expressions with one or several targets, 12 without
    assert [video.name for video in split.videos] == ["judo", "pigs", "blackswan"]
    assert [len(video.frames) for video in split.videos] == [34, 79, 50]
    without_target = [e for e in expressions if not e.annotation_ids]
    assert (len(expressions), len(without_target)) == (27, 12)
    assert all(e.labelled and e.object_ids == () for e in without_target)
    truth = Annotations(split)
    assert all(
        len(truth.track(i)) == 34 for e in split.videos[0].expressions for i in e.annotation_ids
    )
    assert (
        merge_tracks([truth.track(i) for i in without_target[0].annotation_ids], 34) == [None] * 34
    )


@pytest.mark.parametrize(
    "names",
    [
        ("meta_expressions.json", "meta_expressions_v2.json"),
        ("meta_expressions_release.json", "meta_expressions_text_release.json"),
        ("meta_expressions_v2.json", "meta_expressions_v2.json.gz"),
    ],
)
def test_files_that_differ_are_named_and_one_is_chosen(tmp_path, names):
    folder = write_split(tmp_path) / "train"
    rename_meta(folder, *names)
    assert len(read_split(tmp_path, "train").videos) == 1  # the same content twice
    other = json.dumps({"videos": {"cat": {"frames": FRAMES, "expressions": {"7": {"exp": "a"}}}}})
    packed = gzip.compress(other.encode()) if names[1].endswith(".gz") else other.encode()
    (folder / names[1]).write_bytes(packed)
    with pytest.raises(InputError, match=f"differ: {names[0]}, {names[1]}; .*data.meta={names[0]}"):
        read_split(tmp_path, "train")
    for name, count in zip(names, (4, 1), strict=True):
        chosen = open_split("mevis", tmp_path, "train", meta=name)
        assert len(chosen.videos[0].expressions) == count


@pytest.mark.parametrize(
    "meta, told",
    [
        ("meta_expressions_v3.json", "train/meta_expressions_v3.json: no such file"),
        ("../train/meta_expressions.json", "data.meta: expected the name of a file"),
        (2, "data.meta: expected the name of a file"),
    ],
)
def test_a_name_that_is_not_there_is_refused(tmp_path, meta, told):
    write_split(tmp_path)
    with pytest.raises(InputError, match=told):
        open_split("mevis", tmp_path, "train", meta=meta)


def test_without_any_the_names_are_told(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match=r"train/meta_expressions.json: no such file .*v2_release"):
        read_split(tmp_path, "train")


def test_a_damaged_copy_beside_it_is_named(tmp_path):
    folder = write_split(tmp_path) / "train"
    whole = gzip.compress((folder / "meta_expressions.json").read_bytes())
    (folder / "meta_expressions_v2.json.gz").write_bytes(whole[:-20])
    with pytest.raises(InputError, match=r"meta_expressions_v2.json.gz: cannot be read"):
        read_split(tmp_path, "train")


def test_a_reader_without_the_key_says_so(tmp_path, monkeypatch):
    (tmp_path / "my_v2").mkdir()
    (tmp_path / "my_v2" / "reader.py").write_text(
        "def read_split(root, split, bad=None): ...\ndef read_truth(split): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="data.meta: expected null, my_v2.reader has one"):
        open_split("my_v2.reader", tmp_path, "train", meta="a.json")


# ------------------------------------------------------------------------------------ archives


def pack(folder, prefix="JPEGImages/", *, format=tarfile.GNU_FORMAT, extra=()):
    """JPEGImages/ -> JPEGImages.tar; returns the frames' files as they were, by video and name."""
    images = folder / "JPEGImages"
    files = {p.relative_to(images): p.read_bytes() for p in sorted(images.rglob("*.jpg"))}
    with tarfile.open(folder / "JPEGImages.tar", "w", format=format) as tar:
        for member in extra:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
        for name, content in files.items():
            member = tarfile.TarInfo(f"{prefix}{name.as_posix()}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    shutil.rmtree(images)
    return {(name.parent.as_posix(), name.stem): content for name, content in files.items()}


def member(name, type=tarfile.REGTYPE, size=0, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = type, size, link
    return info


def assert_pixels(split, files):
    """All frames of a split as Pillow decodes the files that were packed."""
    for video in split.videos:
        frames = split.open_frames(video)
        assert frames.names == video.frames and frames.size == SIZE
        for name, pixels in zip(frames.names, frames, strict=True):
            with Image.open(io.BytesIO(files[video.name, name])) as image:
                np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize(
    "prefix", ["JPEGImages/", "./JPEGImages/", "", "./", "MeViS_release/train/JPEGImages/"]
)
def test_frames_in_an_archive_are_those_that_were_packed(tmp_path, prefix, format):
    folder = write_split(tmp_path, videos=("cat", "a dög", "x" * 90)) / "train"
    files = pack(folder, prefix, format=format)
    assert_pixels(read_split(tmp_path, "train"), files)
    made = {"JPEGImages.tar", "meta_expressions.json", "mask_dict.json", ".rvos_index"}
    assert {path.name for path in folder.iterdir()} == made  # nothing was unpacked
    assert [path.name for path in (folder / ".rvos_index").iterdir()] == ["frames_tar.npz"]


def test_videos_in_folders_are_found(tmp_path):
    folder = write_split(tmp_path, videos=("a/b/cat", "a/cat")) / "train"
    files = pack(folder)
    assert_pixels(read_split(tmp_path, "train"), files)


@pytest.mark.parametrize("arguments", [["JPEGImages"], ["./JPEGImages"], ["-C", "JPEGImages", "."]])
def test_what_gnu_tar_packs_is_read(tmp_path, arguments):
    folder = write_split(tmp_path, videos=("cat", "dog")) / "train"
    images = folder / "JPEGImages"
    files = {(p.parent.name, p.stem): p.read_bytes() for p in images.rglob("*.jpg")}
    subprocess.run(["tar", "-cf", "JPEGImages.tar", *arguments], cwd=folder, check=True)
    shutil.rmtree(images)
    assert_pixels(read_split(tmp_path, "train"), files)


def test_a_folder_counts_before_an_archive(tmp_path):
    folder = write_split(tmp_path) / "train"
    pack(folder)
    for t, name in enumerate(FRAMES):
        write_frame(folder / "JPEGImages" / "cat" / f"{name}.jpg", 7 - t)
    split = read_split(tmp_path, "train")
    levels = [int(frame[0, 0, 0]) for frame in split.open_frames(split.videos[0])]
    assert levels == pytest.approx([30 * (7 - t) for t in range(7)], abs=2)


def test_palette_data_sets_are_read_from_archives_too(tmp_path):
    files = pack(write_palette(tmp_path) / "train")
    split = open_split("ref_youtube_vos", tmp_path, "train")
    assert_pixels(split, files)
    assert find_problems(split, open_truth("ref_youtube_vos", split), decode=True) == []


def test_what_is_no_frame_is_not_used(tmp_path):
    """Links, devices, names that leave the folder, AppleDouble files, folders, sparse files."""
    folder = write_split(tmp_path) / "train"
    frame = f"JPEGImages/evil/{FRAMES[0]}.jpg"
    extra = [
        member("JPEGImages", tarfile.DIRTYPE),
        member("JPEGImages/evil", tarfile.DIRTYPE),
        member(frame, tarfile.SYMTYPE, link="/etc/passwd"),
        member(frame, tarfile.LNKTYPE, link="../../x"),
        member(frame, tarfile.CHRTYPE),
        member(frame, tarfile.BLKTYPE),
        member(frame, tarfile.FIFOTYPE),
        member(f"../{frame}", size=9),
        member(f"JPEGImages/../{frame}", size=9),
        member(f"JPEGImages/evil/../evil/{FRAMES[0]}.jpg", size=9),
        member(f"/{frame}", size=9),
        member(f"deeper/evil/{FRAMES[0]}.jpg", size=9),
        member(f"JPEGImages/{FRAMES[0]}.jpg", size=9),
        member(f"JPEGImages/cat/._{FRAMES[0]}.jpg", size=9),
        member(f"JPEGImages/evil/{'x' * 5000}.jpg", size=9),
        member("JPEGImages/cat/notes.txt", size=9),
    ]
    files = pack(folder, extra=extra)
    (tmp_path / "evil").mkdir()
    split = read_split(tmp_path, "train")
    assert_pixels(split, files)
    known = open_archive(folder / "JPEGImages.tar")
    assert [name.decode() for name in known._names] == sorted(f"cat/{name}.jpg" for name in FRAMES)
    assert not split.frame_path("evil", FRAMES[0]).is_file()
    assert not (split.images / "evil").is_dir()
    with pytest.raises(FrameError, match=r"evil/00009.jpg: cannot be read.*no such file"):
        read_image(split.frame_path("evil", FRAMES[0]))


def test_the_last_of_several_members_with_one_name_counts(tmp_path):
    folder = write_split(tmp_path) / "train"
    files = pack(folder, extra=[member(f"JPEGImages/cat/{name}.jpg", size=9) for name in FRAMES])
    assert_pixels(read_split(tmp_path, "train"), files)


# ------------------------------------------------------------------------------------- damage


def spoil_checksum(data):
    """The header of the third frame."""
    at = data.index(f"JPEGImages/cat/{sorted(FRAMES)[2]}.jpg".encode())
    return data[:at] + b"X" + data[at + 1 :]


def spoil_size(data):
    """A negative size in the third header (base 256), with the right checksum: a circle."""
    at = data.index(f"JPEGImages/cat/{sorted(FRAMES)[2]}.jpg".encode())
    header = bytearray(data[at : at + 512])
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return data[:at] + bytes(header) + data[at + 512 :]


def body(data):
    """Without the blocks that end a tar."""
    return data.rstrip(b"\0")


DAMAGE = {
    "cut in a file": lambda data: data[: len(body(data)) - 100],
    "cut in the middle": lambda data: data[: len(data) // 2],
    "cut in a header": lambda data: data[: data.rindex(b"JPEGImages/cat") + 200],
    "cut at the end of a member": lambda data: data[: data.rindex(b"JPEGImages/cat")],
    "without its end": lambda data: data[: -(-len(body(data)) // 512) * 512],
    "space set aside for the rest": lambda data: data[: len(data) // 2] + bytes(2**21),
    "only space set aside": lambda data: bytes(2**21),
    "a bad checksum": spoil_checksum,
    "a circle": spoil_size,
    "empty": lambda data: b"",
    "not a tar": lambda data: b"<html>404</html>" * 100,
    "a pointer of Git LFS": lambda data: b"version https://git-lfs.github.com/spec/v1\n",
    "compressed": gzip.compress,
    "without frames": lambda data: END,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_archive_that_is_not_whole_is_named_when_the_split_is_opened(tmp_path, damage):
    folder = write_split(tmp_path) / "train"
    pack(folder)
    path = folder / "JPEGImages.tar"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    told = "expected .*it is empty" if damage == "without frames" else "tar archive"
    with pytest.raises(InputError, match=rf"train/JPEGImages.tar: .*{told}"):
        read_split(tmp_path, "train")
    assert not list(folder.rglob("*.npz"))
    with pytest.raises(InputError, match=r"JPEGImages.tar"):
        open_checked("mevis", tmp_path, "train", with_truth=True, skip_bad=True)


def test_an_archive_of_other_things_shows_what_it_holds(tmp_path):
    folder = write_split(tmp_path) / "train"
    pack(folder, "train/images/")
    with pytest.raises(InputError, match=r"expected \[JPEGImages/\]<video>/.* 'train/images/cat"):
        read_split(tmp_path, "train")


def test_missing_frames_are_named_as_those_of_a_folder(tmp_path):
    folder = write_split(tmp_path, videos=("cat", "dog")) / "train"
    for name in (FRAMES[1], FRAMES[4]):
        (folder / "JPEGImages" / "cat" / f"{name}.jpg").unlink()
    shutil.rmtree(folder / "JPEGImages" / "dog")
    pack(folder)
    split = read_split(tmp_path, "train")
    cat, dog = split.videos
    missing = rf"JPEGImages.tar/cat: missing frames \(2\):\n  {FRAMES[1]}.jpg\n  {FRAMES[4]}.jpg"
    with pytest.raises(FrameError, match=missing):
        split.open_frames(cat)
    with pytest.raises(FrameError, match="JPEGImages.tar/dog: no such folder of frames"):
        split.open_frames(dog)
    problems = [str(problem) for problem in find_problems(split, None)]
    assert len(problems) == 2 + 1 and problems[2].endswith("dog: no such folder")
    assert f"frame {FRAMES[1]}" in problems[0] and "no such file" in problems[0]


def test_a_damaged_frame_in_an_archive_is_found_and_left_out(tmp_path):
    folder = write_split(tmp_path, videos=("cat", "dog", "cow")) / "train"
    broken = folder / "JPEGImages" / "cat" / f"{FRAMES[3]}.jpg"
    broken.write_bytes(broken.read_bytes()[:-300])
    write_frame(folder / "JPEGImages" / "dog" / f"{FRAMES[5]}.jpg", 1, size=(24, 32))
    pack(folder)
    split = read_split(tmp_path, "train")
    problems = find_problems(split, Annotations(split))
    assert [(p.video, p.text.split(":")[0]) for p in problems] == [
        ("cat", f"frame {FRAMES[3]}"),
        ("dog", f"frame {FRAMES[5]}"),
    ]
    assert [video.name for video in without(split, problems).videos] == ["cow"]


def test_what_a_check_saw_holds_until_the_archive_changes(tmp_path, monkeypatch):
    folder = write_split(tmp_path) / "train"
    pack(folder)
    assert find_problems(read_split(tmp_path, "train"), None) == []
    with monkeypatch.context() as patch:
        patch.setattr("rvos.data.check._check_video", lambda *args: pytest.fail("checked again"))
        assert find_problems(read_split(tmp_path, "train"), None) == []
    write_split(tmp_path)
    (folder / "JPEGImages" / "cat" / f"{FRAMES[0]}.jpg").write_bytes(b"")
    pack(folder)
    (problem,) = find_problems(read_split(tmp_path, "train"), None)
    assert f"frame {FRAMES[0]}" in problem.text


def test_an_archive_that_changes_while_it_is_read_is_named(tmp_path):
    folder = write_split(tmp_path) / "train"
    pack(folder)
    split = read_split(tmp_path, "train")
    frames = iter(split.open_frames(split.videos[0]))
    next(frames)
    os.utime(folder / "JPEGImages.tar", ns=(1, 1))
    with pytest.raises(FrameError, match=r"cat/00010.jpg: .*has changed since it was opened"):
        next(frames)


def test_verify_counts_what_an_archive_holds(tmp_path, capsys):
    folder = write_split(tmp_path) / "valid_u"
    shutil.move(tmp_path / "train", folder)
    rename_meta(folder, "meta_expressions_v2.json", "meta_expressions_v2_release.json")
    pack(folder)
    arguments = ["verify", f"data.root={tmp_path}", "splits=[valid_u]"]
    assert command("data")(arguments) == 0
    assert "valid_u │      1 │           4 │" in capsys.readouterr().out.replace("┃", "│")
    assert command("data")([*arguments, "data.release=v2"]) == 1
    text = capsys.readouterr().out
    assert "expected 50 videos in MeViS v2, found 1" in text
    assert "expected 907 expressions in MeViS v2, found 4" in text
    (folder / "meta_expressions_v2.json").write_text('{"videos": {}}')
    assert command("data")(arguments) == 1
    assert "files of expressions that differ" in capsys.readouterr().out
    assert command("data")([*arguments, "data.meta=meta_expressions_v2_release.json"]) == 0


# --------------------------------------------------------------------- the index, and processes


def test_headers_are_read_once_and_again_when_the_archive_changes(tmp_path, monkeypatch):
    folder = write_split(tmp_path) / "train"
    files = pack(folder)
    read_split(tmp_path, "train")
    archive._open.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(archive, "_read_headers", lambda *args, **more: pytest.fail("read again"))
        assert_pixels(read_split(tmp_path, "train"), files)
    for damaged in (b"", b"PK\3\4 no index"):
        archive._open.cache_clear()
        (folder / ".rvos_index" / "frames_tar.npz").write_bytes(damaged)
        assert_pixels(read_split(tmp_path, "train"), files)
    write_split(tmp_path, frames=FRAMES[::-1])
    files = pack(folder, "")
    assert_pixels(read_split(tmp_path, "train"), files)


def test_read_only_data_is_indexed_in_the_stores(tmp_path, monkeypatch):
    folder = write_split(tmp_path / "data") / "train"
    pack(folder)
    monkeypatch.setenv("RVOS_STORES", str(tmp_path / "stores"))
    writable = os.access
    monkeypatch.setattr(  # not by chmod: root can write anywhere
        os, "access", lambda path, mode: folder not in path.parents and writable(path, mode)
    )
    read_split(tmp_path / "data", "train")
    assert list((tmp_path / "stores").rglob("frames_tar.npz"))
    assert not list(folder.rglob("*.npz"))


def test_an_archive_travels_as_its_path(tmp_path):
    pack(write_split(tmp_path) / "train")
    split = read_split(tmp_path, "train")
    sent = pickle.dumps(split.images)
    assert len(sent) < 1000
    assert pickle.loads(sent) == split.images
    path = split.frame_path("cat", FRAMES[0])
    assert (path.name, path.parent.name, str(path.parent / path.name)) == (
        f"{FRAMES[0]}.jpg",
        "cat",
        f"{tmp_path}/train/JPEGImages.tar/cat/{FRAMES[0]}.jpg",
    )


def clips_of(root, **loading):
    split = read_split(root, "train")
    data = ClipDataset(split, open_truth("mevis", split), recipe(), seed=0, skip_bad=False)
    return list(DataLoader(data, batch_size=None, **loading))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_the_same_clips_from_an_archive(tmp_path, start):
    folder = write_split(tmp_path, videos=("cat", "dog")) / "train"
    from_folder = clips_of(tmp_path)
    pack(folder)
    context = multiprocessing.get_context(start)
    from_archive = clips_of(tmp_path, num_workers=2, multiprocessing_context=context)
    assert len(from_folder) == len(from_archive) > 4
    for one, other in zip(from_folder, from_archive, strict=True):
        assert one.identity == other.identity
        assert one.frames.equal(other.frames) and one.masks.equal(other.masks)


def test_pictures_and_sizes_come_from_an_archive_too(tmp_path):
    pack(write_split(tmp_path) / "train")
    split = read_split(tmp_path, "train")
    assert frame_size(split, split.videos[0]) == SIZE
    image = split.frame_path("cat", FRAMES[6])  # its red is 180
    strip = draw_strip({"truth": [None], "coarse": [None]}, [0], [image], width=SIZE[1])
    assert strip.rows["coarse"].reshape(-1, 3).mean(0) == pytest.approx([180, 0, 0], abs=3)


def test_masks_of_an_archived_split_are_as_ever(tmp_path):
    pack(write_split(tmp_path) / "train")
    split, truth = open_checked("mevis", tmp_path, "train", with_truth=True, skip_bad=False)
    assert [truth.track(i) for i in MASKS] == list(MASKS.values())
    no_target = split.videos[0].expressions[2]
    assert no_target.annotation_ids == ()
    assert merge_tracks([truth.track(i) for i in no_target.annotation_ids], 7) == [None] * 7
