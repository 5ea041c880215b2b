"""Scores beside the masklets: written by a source with networks, aligned with its instances."""

import numpy as np
import pytest
import torch
from PIL import Image

from rvos import InputError, preset
from rvos.data.mevis import read_split
from rvos.masks import TrackFiles, read_json, write_json
from rvos.refine import DetectorScore
from rvos.score import Inputs
from rvos.settings import build
from rvos.stages.devices import OneDevice
from rvos.stages.store import Stores
from rvos.stages.work import CoarseFiles, Work
from rvos.tracking.detect import Boxes
from rvos.tracking.track import Step

BOXES = {  # x0, confidence; both nouns find the same box at x = 4
    "cat": [(4, 0.75), (30, 0.5)],
    "dog": [(4, 0.875)],
    "bird": [],
}


class FakeDetector:
    """The boxes of BOXES in every frame, best first."""

    def detect(self, frames, nouns, subjects=None):
        return [
            Boxes(
                np.array([[x, 4, x + 8, 12] for x, _ in BOXES[noun]], np.float32).reshape(-1, 4),
                np.array([confidence for _, confidence in BOXES[noun]], np.float32),
            )
            for noun in nouns
        ]


class FakeTracker:
    """Every object is its box in all frames; in frame t it is seen with 1 - t / 4."""

    image_size = 16

    def logits(self, frames, prompt_frame_idx, boxes_xyxy):
        for t in range(len(frames)):
            logits = torch.full((len(boxes_xyxy), 1, *frames.frames.size), -1.0)
            for i, (x0, y0, x1, y1) in enumerate(boxes_xyxy.int().tolist()):
                logits[i, 0, y0:y1, x0:x1] = 1
            yield Step(t, logits, torch.full((len(boxes_xyxy),), 1 - t / 4))


@pytest.fixture
def root(tmp_path):
    """One video of three frames; its expressions name a cat, a dog, cats and dogs, a bird."""
    names = [f"{t:05d}" for t in range(3)]
    folder = tmp_path / "valid_u" / "JPEGImages" / "a"
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (48, 32), (40, 80, 120)).save(folder / f"{name}.jpg")
    texts = ["the cat", "the dog", "moving", "the bird"]
    expressions = {str(i): {"exp": text, "anno_id": []} for i, text in enumerate(texts)}
    meta = {"videos": {"a": {"frames": names, "expressions": expressions}}}
    write_json(tmp_path / "valid_u" / "meta_expressions.json", meta)
    write_json(
        tmp_path / "nouns.json", {"a": {"0": "cat", "1": "dog", "2": "cat. dog", "3": "bird"}}
    )
    coarse = {"a": {key: [None] * 3 for key in expressions}}
    write_json(tmp_path / "coarse.json", coarse)
    return tmp_path


def run(root, monkeypatch, nouns="nouns.json", *, scored=True):

    from rvos.masklets import Sam2

    monkeypatch.setattr(Sam2, "weights_used", lambda self: {})
    monkeypatch.setattr(Sam2, "may_have_scores", scored)

    def prepare(self, place):
        self._detector, self._tracker = FakeDetector(), FakeTracker()

    monkeypatch.setattr(Sam2, "prepare", prepare)
    source = build(preset("masklets", "sam2") | {"nouns": str(root / nouns)}, "masklets")
    split = read_split(root, "valid_u")
    return split, source.tracks(
        Work(split, Stores(root / "stores", "made"), OneDevice()), CoarseFiles(None)
    )


def scores_of(found):
    path = found.tracks.folder_beside("masklet_scores")
    return read_json(path / "a.json.gz")


def test_one_score_per_instance_and_one_per_frame(root, monkeypatch):
    """The entry "cat. dog" has the cat's two tracks: the dog's is the first of them again."""
    _, found = run(root, monkeypatch)
    seen = [1.0, 0.75, 0.5]
    assert scores_of(found) == {
        "bird": {"detector": [], "object": []},
        "cat": {"detector": [0.75, 0.5], "object": [seen, seen]},
        "cat. dog": {"detector": [0.75, 0.5], "object": [seen, seen]},
        "dog": {"detector": [0.875], "object": [seen]},
    }
    masklets = found.tracks.read("a")
    for noun, of_noun in scores_of(found).items():
        assert len(masklets[noun]) == len(of_noun["detector"])


def test_presence_reads_the_highest_of_the_noun(root, monkeypatch):
    split, found = run(root, monkeypatch)
    files = (TrackFiles(root / "coarse.json"), found.tracks, found.nouns)
    video = Inputs(split, None, *files, needs=[DetectorScore(0.5)]).read_video(split.videos[0])
    values = {key: scores["detector_score"] for key, scores in video.confidence.items()}
    assert values == {"0": 0.75, "1": 0.875, "2": 0.75, "3": 0.0}


def test_a_store_without_scores_is_read_and_presence_by_it_is_one_error(root, monkeypatch):
    split, found = run(root, monkeypatch, scored=False)
    assert not (root / "stores" / "masklet_scores").exists()
    files = (TrackFiles(root / "coarse.json"), found.tracks, found.nouns)
    video = Inputs(split, None, *files, wants=[DetectorScore(0.5)]).read_video(split.videos[0])
    assert len(video.masklets["cat"]) == 2 and video.confidence["0"] == {}
    with pytest.raises(InputError, match=r"presence=detector_score reads .*masklets=sam2") as error:
        Inputs(split, None, *files, needs=[DetectorScore(0.5)]).read_video(split.videos[0])
    assert str(error.value).count("presence=") == 1


def test_a_noun_added_to_an_old_store_is_the_only_one_with_scores(root, monkeypatch):
    write_json(root / "old.json", {"a": {"0": "cat", "1": "cat", "2": "cat", "3": "bird"}})
    run(root, monkeypatch, "old.json", scored=False)
    split, found = run(root, monkeypatch)
    assert set(scores_of(found)) == {"dog"}
    assert len(found.tracks.read("a")["cat. dog"]) == 2
    files = (TrackFiles(root / "coarse.json"), found.tracks, found.nouns)
    with pytest.raises(InputError, match=r"a.json.gz: not the scores of these masks.*'cat'"):
        Inputs(split, None, *files, needs=[DetectorScore(0.5)]).read_video(split.videos[0])


def test_a_noun_added_later_keeps_the_scores_that_are_there(root, monkeypatch):
    write_json(root / "old.json", {"a": {"0": "cat", "1": "cat", "2": "cat", "3": "bird"}})
    run(root, monkeypatch, "old.json")
    _, found = run(root, monkeypatch)
    assert set(scores_of(found)) == {"bird", "cat", "cat. dog", "dog"}
