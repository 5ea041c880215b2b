"""A stage's work in one process: what runs beside what, and what is left out."""

import threading

import pytest
from made_mevis import write_split

from rvos.data.formats import open_split
from rvos.masks import write_json
from rvos.stages.devices import OneDevice
from rvos.stages.runner import Stage, run_stage
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

    def make(self, video, frames, advance):
        self.log.append(video.name)
        return {"0": [None] * len(frames)}


@pytest.fixture
def split(tmp_path):
    videos = ("cat", "dog")
    write_split(tmp_path / "data", videos=videos)
    return open_split("mevis", tmp_path / "data", "train")


def test_networks_load_while_the_first_video_is_decoded(split, tmp_path):
    stage = Counting(Stores(tmp_path / "stores", "test").open("counts", split, settings={}))
    run_stage(stage, split, OneDevice())
    assert stage.log == ["prepare", *(video.name for video in split.videos)]


def test_nothing_loads_for_a_store_that_is_full(split, tmp_path):
    stage = Counting(Stores(tmp_path / "stores", "test").open("counts", split, settings={}))
    for video in split.videos:
        write_json(stage.store.path / f"{video.name}.json.gz", {"0": []})
    run_stage(stage, split, OneDevice())
    assert stage.log == []
