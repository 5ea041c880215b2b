"""A stage's work: what runs beside what, what is left out, what is recorded, who waits for whom."""

import errno
import json
import os
import threading
from dataclasses import replace

import pytest
from made_mevis import write_split
from ranks import in_ranks

from rvos import InputError
from rvos.data.formats import open_split
from rvos.masks import read_json, write_json
from rvos.stages.devices import OneDevice
from rvos.stages.records import MAX_STARTS, Records, beside, raise_failures
from rvos.stages.runner import Stage, run_stage
from rvos.stages.sharding import Sharing
from rvos.stages.store import Stores


class Counting(Stage):
    """Counts the frames of each video; its networks load only while a video is being opened."""

    name = "counting"

    def __init__(self, store):
        self.store = store
        self.opening, self.loaded = threading.Event(), threading.Event()
        self.log = []

    def missing(self, video):
        return not self.store.has(video.name)

    def prepare(self, place):
        assert self.opening.wait(60), "the first video is opened meanwhile"
        self.log.append("prepare")
        self.loaded.set()

    def open(self, frames):
        self.opening.set()
        assert self.loaded.wait(60), "the networks are loaded meanwhile"
        return frames

    def make(self, video, content, advance):
        self.log.append(video.name)
        return {"0": [None] * len(content)}


@pytest.fixture
def split(tmp_path):
    videos = ("bird", "cat", "dog", "fish")
    write_split(tmp_path / "data", videos=videos)
    return open_split("mevis", tmp_path / "data", "train")


@pytest.fixture
def stage(split, tmp_path):
    return Counting(Stores(tmp_path / "stores", "test").open("counts", split, settings={}))


def names(split):
    return [video.name for video in split.videos]


def hidden(folder):
    return sorted(path.name for path in folder.rglob(".*"))


def test_networks_load_while_the_first_video_is_decoded(split, stage):
    assert run_stage(stage, split, OneDevice()) == {}
    assert stage.log[0] == "prepare" and sorted(stage.log[1:]) == names(split)
    assert hidden(stage.folder) == []


def test_nothing_loads_for_a_store_that_is_full(split, stage):
    for video in split.videos:
        write_json(stage.store.path / f"{video.name}.json.gz", {"0": []})
    run_stage(stage, split, OneDevice())
    assert stage.log == []


def test_runs_of_one_seed_go_different_ways(split, tmp_path):
    """Twenty runs of four videos: one common order would have a chance of 24 to the -19."""
    orders = set()
    for i in range(20):
        store = Stores(tmp_path / f"stores{i}", "test").open("counts", split, settings={})
        stage = Counting(store)
        run_stage(stage, split, OneDevice())
        orders.add(tuple(stage.log))
    assert len(orders) > 1


def test_what_another_run_has_made_meanwhile_is_not_made_again(split, stage):
    """The other run makes everything while this one makes its first video (and reads a second)."""
    original = stage.make

    def make(video, content, advance):
        for other in split.videos:
            stage.store.write(other.name, {"0": []})
        return original(video, content, advance)

    stage.make = make
    run_stage(stage, split, OneDevice())
    assert len(stage.log) <= 3


def test_a_failure_is_returned_recorded_and_tried_again(split, stage):
    original = stage.make

    def make(video, content, advance):
        if video.name == "cat":
            raise InputError("it scratches")
        return original(video, content, advance)

    stage.make = make
    failed = run_stage(stage, split, OneDevice())
    kind = "counting: videos that cannot be made; the other videos are done, a second start does "
    assert failed == {"cat": {f"{kind}these": ["video cat: it scratches"]}}
    assert sorted(stage.log[1:]) == ["bird", "dog", "fish"]
    assert hidden(stage.folder) == [".cat.failed"]
    with pytest.raises(InputError, match=r"second start does these \(1\):\n  video cat"):
        raise_failures(failed)
    stage.make = original
    assert run_stage(stage, split, OneDevice(), leave_out=failed) == {}
    assert not stage.store.has("cat")
    assert run_stage(stage, split, OneDevice()) == {} and stage.store.has("cat")
    assert hidden(stage.folder) == []


def test_a_video_that_killed_two_processes_has_failed_until_it_is_asked_for_again(split, stage):
    for _ in range(MAX_STARTS):
        Records(stage.folder).begin("cat")  # and the process is killed: nobody ends it
    failed = run_stage(stage, split, OneDevice())
    (texts,) = failed["cat"].values()
    assert texts == ["video cat: 2 processes that made it were killed, or hung"]
    assert not stage.store.has("cat") and len(stage.log) == 4
    assert run_stage(stage, split, OneDevice()) == {} and stage.store.has("cat")


def test_what_two_processes_are_making_has_not_failed(split, stage):
    """The process that began last, here the parent of this one, is there."""
    for _ in range(MAX_STARTS):
        Records(stage.folder).begin("cat")
    mark = beside(stage.folder, "cat", "started")
    write_json(mark, read_json(mark) | {"pid": os.getppid()})
    assert run_stage(stage, split, OneDevice()) == {} and stage.store.has("cat")


def test_one_start_that_was_killed_is_no_failure(split, stage):
    Records(stage.folder).begin("cat")
    assert run_stage(stage, split, OneDevice()) == {} and hidden(stage.folder) == []


def test_a_process_that_ends_in_order_leaves_no_start(split, stage):
    def stopped(video, content, advance):
        assert beside(stage.folder, video.name, "started").is_file()
        raise KeyboardInterrupt

    stage.make = stopped
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage, split, OneDevice())
    assert hidden(stage.folder) == []


def test_a_full_disk_ends_the_work(split, stage):
    def full(video, made):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stage.write = full
    with pytest.raises(InputError, match="No space left on device.*start again to continue"):
        run_stage(stage, split, OneDevice())
    assert hidden(stage.folder) == []


# ------------------------------------------------------------------------------ several processes


@pytest.mark.parametrize("world_size", [2, 6])  # more than there are videos
def test_processes_of_a_run_make_each_video_once(split, tmp_path, world_size):
    store = Stores(tmp_path / "stores", "test").open("counts", split, settings={})
    stages = [Counting(store) for _ in range(world_size)]
    failed = in_ranks(world_size, lambda d: run_stage(stages[d.rank], split, d))
    assert failed == [{}] * world_size
    made = [name for stage in stages for name in stage.log if name != "prepare"]
    assert sorted(made) == names(split)


def test_all_processes_know_what_failed_in_one(split, tmp_path):
    store = Stores(tmp_path / "stores", "test").open("counts", split, settings={})
    stages = [Counting(store) for _ in range(2)]

    def fail(video, content, advance):
        raise InputError("not today")

    for stage in stages:
        stage.make = fail
    one, two = in_ranks(2, lambda d: run_stage(stages[d.rank], split, d))
    assert one == two and list(one) == names(split)


# ----------------------------------------------------------------------------------------- shards


def test_shards_are_parts_of_nearly_equal_work():
    from rvos.data.split import Expression, Video

    def video(name, frames):
        return Video(name, ("0",) * frames, (Expression(name, "0", "x", ()),))

    videos = [video("a", 2), video("b", 2), video("c", 2), video("d", 6)]
    parts = [Sharing(f"{i}/2").part(videos) for i in range(2)]
    assert [[v.name for v in part] for part in parts] == [["d"], ["a", "b", "c"]]  # 6 and 6 frames
    assert Sharing(1, 2).part(videos) == parts[1] and Sharing().part(videos) == videos
    assert Sharing("3/5").part(videos) and not Sharing("4/5").part(videos)


@pytest.mark.parametrize(
    "settings, message",
    [
        (("2/2",), "shard: expected a whole number from 0 to 1, i/n, or null, got 2"),
        ((0, None), "shard: expected both shard and shards"),
        ((None, 3), "shard: expected both shard and shards"),
        (("x", 2), "got 'x'"),
        (("1/2", 3), "got '1/2'"),
        (("0/0",), "got '0/0'"),
        ((0, 0), "shards: expected a whole number >= 1"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(InputError) as error:
        Sharing(*settings)
    assert message in str(error.value)


def test_a_record_says_who_began(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    with Records(tmp_path) as records:
        records.begin("a/b")
        content = read_json(tmp_path / "a" / ".b.started")
        assert content["starts"] == 1 and content["job"] == "7_3" and content["pid"] == os.getpid()
        for key, value in (("host", "\ud800"), ("starts", 1.0), ("pid", True)):
            (tmp_path / "a" / ".b.started").write_text(json.dumps(content | {key: value}))
            assert records.start("a/b") is None


@pytest.mark.parametrize(
    "alike", [("Cat", "cat"), ("Stra\u00dfe", "STRASSE"), ("\u00e9", "e\u0301")]
)
def test_a_disk_that_takes_two_names_for_one(tmp_path, alike):
    """exFAT, NTFS or a Mac's: the second video would overwrite the first, or count as done."""
    write_split(tmp_path / "data", videos=alike)
    split = open_split("mevis", tmp_path / "data", "train")
    stage = Counting(Stores(tmp_path / "stores", "test").open("counts", split, settings={}))
    as_on_such_a_disk = stage.folder.with_name(stage.folder.name.swapcase())
    as_on_such_a_disk.mkdir()
    with pytest.raises(InputError, match=f"one file for the videos {alike[0]}, {alike[1]}"):
        run_stage(stage, split, OneDevice())
    as_on_such_a_disk.rmdir()
    assert run_stage(stage, split, OneDevice()) == {}
    assert all(map(stage.store.has, alike))
    stage.store = replace(stage.store, path=tmp_path / "2026-11")  # no letter
    assert run_stage(stage, split, OneDevice()) == {}
