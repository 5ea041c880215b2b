"""The same things under other names: packed, or a folder higher or lower than expected."""

import re
import shutil
import subprocess
import tarfile

import pytest
from made_data import DAVIS, davis_arguments, small_synthetic

from rvos.data.formats import open_checked, open_split, open_truth
from rvos.data.frames import FrameError
from rvos.data.verify import verify
from rvos.errors import FileError, InputError
from rvos.masks import TrackFiles, read_json, write_json


@pytest.fixture
def root(tmp_path):
    return small_synthetic(tmp_path / "data", num_videos={"valid_u": 1}, num_frames=3)


def pack(folder, form):
    """The folder packed beside itself and gone, as a dataset is handed out."""
    path = shutil.make_archive(folder, form, root_dir=folder.parent, base_dir=folder.name)
    shutil.rmtree(folder)
    return path


def command_in(message):
    """The command that a message ends with, which a user would paste."""
    return re.search(r"(unzip|tar) .*", message)[0].rstrip(".)")


@pytest.mark.parametrize("form", ["zip", "gztar", "bztar", "xztar"])
def test_packed_frames_are_named_with_the_command_that_unpacks_them(root, form):
    pack(root / "valid_u" / "JPEGImages", form)
    (report,) = verify(
        root, format="mevis", release="any", splits=["valid_u"], decode=False, workers=1
    )
    (problem,) = report.problems  # not one for each frame
    split = open_split("mevis", root, "valid_u")
    with pytest.raises(FrameError) as raised:
        split.open_frames(split.videos[0])
    assert command_in(problem) == command_in(str(raised.value))
    if form == "zip" and not shutil.which("unzip"):
        shutil.unpack_archive(root / "valid_u" / "JPEGImages.zip", root / "valid_u")
    else:
        subprocess.run(command_in(problem).split(), check=True)
    open_checked("mevis", root, "valid_u", with_truth=True, skip_bad=False)


def test_frames_a_folder_too_deep_are_named(root):
    """`unzip JPEGImages.zip -d JPEGImages`."""
    folder = root / "valid_u" / "JPEGImages"
    folder.rename(root / "frames")
    folder.mkdir()
    (root / "frames").rename(folder / "JPEGImages")
    with pytest.raises(InputError, match="JPEGImages/JPEGImages is there: move what it holds"):
        open_checked("mevis", root, "valid_u", with_truth=True, skip_bad=False)


def test_packed_annotations_are_named(tmp_path):
    meta = {"videos": {"v": {"frames": ["0"], "expressions": {"0": {"exp": "x", "obj_id": "1"}}}}}
    write_json(tmp_path / "meta_expressions" / "valid" / "meta_expressions.json", meta)
    (tmp_path / "valid").mkdir()
    with tarfile.open(tmp_path / "valid" / "Annotations.tar.gz", "w:gz"):
        pass
    split = open_split("ref_youtube_vos", tmp_path, "valid")
    with pytest.raises(InputError, match="Annotations.tar.gz is there: unpack it"):
        open_truth("ref_youtube_vos", split)


def test_packed_pictures_of_coco_are_named(tmp_path):
    (tmp_path / "refcoco").mkdir()
    (tmp_path / "train2014.zip").write_bytes(b"")
    with pytest.raises(InputError, match="train2014.zip is there: unpack it"):
        open_split("refcoco", tmp_path / "refcoco", "train")


def test_a_half_fetched_archive_is_not_proposed(root):
    shutil.rmtree(root / "valid_u" / "JPEGImages")
    (root / "valid_u" / "JPEGImages.zip.part").write_bytes(b"")
    split = open_split("mevis", root, "valid_u")
    with pytest.raises(FrameError, match="no such folder of frames$"):
        split.open_frames(split.videos[0])


@pytest.mark.parametrize("format", ["mevis", "ref_youtube_vos", "long_rvos"])
def test_a_root_a_folder_too_high_is_named(root, format):
    with pytest.raises(InputError, match=f"{root.parent} holds {root.name}$"):
        open_split(format, root.parent, "valid_u")


# ------------------------------------------------------------------------------------ coarse.path


@pytest.mark.parametrize("inner", ["Annotations", "refined"])
def test_the_folder_above_the_masks_is_read(tmp_path, run_eval, inner):
    """A submission is packed from above Annotations/; a run's masks lie in its refined/."""
    masks = read_json(DAVIS / "coarse.json.gz")
    for video, tracks in masks.items():
        write_json(tmp_path / "run" / inner / f"{video}.json", tracks)
    write_json(tmp_path / "run" / "metrics.json", {})
    assert sorted(TrackFiles(tmp_path / "run").videos()) == sorted(masks)
    scores = []
    for path in (DAVIS / "coarse.json.gz", tmp_path / "run"):
        out = tmp_path / f"out{len(scores)}"
        more = [f"coarse.path={path}", f"output_dir={out}", "refine=none"]
        status, told = run_eval([*davis_arguments(), *more])
        assert status == 0, told
        scores.append(read_json(out / "metrics.json")["J&F"])
    assert scores[0] == scores[1]


def test_a_zip_of_masks_is_named(tmp_path):
    (tmp_path / "masks").mkdir()
    path = shutil.make_archive(tmp_path / "submission", "zip", tmp_path / "masks")
    with pytest.raises(FileError, match="submission.zip: a zip file; unpack it"):
        TrackFiles(path)
