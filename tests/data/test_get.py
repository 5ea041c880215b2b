"""`python -m rvos data get`: licence, splits, archives left as they are, the check at the end."""

import tarfile

import pytest
from made_mevis import write_split
from stand_in_hub import Hub
from test_weights import FIRST, SECOND, Machine

from rvos.masks import read_json

REPO = "FudanCVL/MeViSv2"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two splits as MeViS v2 is released: frames in an archive, the file of expressions renamed."""
    root = tmp_path_factory.mktemp("mevis")
    for split in ("train", "valid_u"):
        write_split(root, split, videos=("cat",))
        folder = root / split
        (folder / "meta_expressions.json").rename(folder / "meta_expressions_v2.json")
        with tarfile.open(folder / "JPEGImages.tar", "w") as archive:
            archive.add(folder / "JPEGImages", "JPEGImages")
    names = ("meta_expressions_v2.json", "mask_dict.json", "JPEGImages.tar")
    return {
        f"{split}/{name}": (root / split / name).read_bytes()
        for split in ("train", "valid_u")
        for name in names
    } | {"README.md": b"x"}


@pytest.fixture
def machine(files, tmp_path):
    with Hub() as hub:
        hub.repos = {REPO: {FIRST: files}}
        machine = Machine(tmp_path, hub.address)
        machine.hub = hub
        yield machine


def get(machine, *words, **more):
    return machine.run("-m", "rvos", "data", "get", "mevis_v2", "root=mevis", *words, **more)


def test_the_licence_comes_first(machine):
    said = get(machine, status=1)
    assert "CC BY-NC-SA 4.0" in said and "creativecommons.org/licenses/by-nc-sa/4.0" in said
    assert "accept_licence=true" in said
    assert machine.hub.requests == [] and not (machine.folder / "mevis").exists()


def test_one_split_is_fetched_and_checked(machine, files):
    """The made split is not the published one: the check says so, and that is the exit status."""
    said = get(machine, "splits=[valid_u]", "accept_licence=true", status=1)
    assert "3 of 3 files" in said
    assert "expected 50 videos in MeViS v2, found 1" in said
    folder = machine.folder / "mevis"
    assert not (folder / "train").exists()
    for name in ("meta_expressions_v2.json", "mask_dict.json", "JPEGImages.tar"):
        assert (folder / "valid_u" / name).read_bytes() == files[f"valid_u/{name}"]
    assert not (folder / "valid_u" / "JPEGImages").exists()  # read in place
    record = read_json(folder / "rvos.json")
    assert (record["hub"], record["revision"]) == (REPO, FIRST)
    # again: nothing is fetched, and the commit of the first fetch is kept
    machine.hub.repos[REPO][SECOND] = {"test/other": b"x"}
    machine.hub.requests.clear()
    assert "0 of 3 files" in get(machine, "splits=[valid_u]", "accept_licence=true", status=1)
    assert len(machine.hub.requests) == 1
    # a file of the right size and wrong bytes is fetched again
    path = folder / "valid_u" / "mask_dict.json"
    path.write_bytes(b" " * len(files["valid_u/mask_dict.json"]))
    assert "1 of 3 files" in get(machine, "splits=[valid_u]", "accept_licence=true", status=1)
    assert path.read_bytes() == files["valid_u/mask_dict.json"]
    # another split joins it, from the same commit
    assert "3 of 6 files" in get(machine, "accept_licence=true", status=1)
    assert (folder / "train" / "JPEGImages.tar").is_file()


def test_what_is_not_there(machine):
    said = get(machine, "splits=[valid_x]", "accept_licence=true", status=1)
    assert "splits: valid_x: not in FudanCVL/MeViSv2; it has train, valid_u" in said
    said = get(machine, "accept_licence=maybe", status=1)
    assert "accept_licence: expected true or false" in said
    said = get(machine, "accept_licence=true", status=1, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in said and "Traceback" not in said
