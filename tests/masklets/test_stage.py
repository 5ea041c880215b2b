"""The masklet stage: plan, one file per video, resuming, processes, nouns by hand, errors."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from PIL import Image
from ranks import in_ranks

from rvos import CONFIG_DIR, InputError, preset
from rvos.data.formats import find_truth, open_split
from rvos.data.frames import FrameFolder
from rvos.data.mevis import read_split
from rvos.data.png_truth import object_numbers
from rvos.masklets import Flow, Oracle
from rvos.masks import area, decode, encode, write_json
from rvos.score import score_track
from rvos.settings import build
from rvos.stages.devices import OneDevice
from rvos.stages.records import raise_failures
from rvos.stages.store import Store, Stores
from rvos.stages.work import CoarseFiles, Work

SIZE = (40, 60)
NUM_FRAMES = 6


def square(x, size=14):
    mask = np.zeros(SIZE, np.uint8)
    mask[10 : 10 + size, x : x + size] = 1
    return encode(mask)


@pytest.fixture
def root(tmp_path):
    """Three videos of six frames; a cat that moves and a dog that does not."""
    texts = {"a": ["the cat", "the dog", "moving right"], "b": ["two cats"], "c": ["a dog", "cat"]}
    annotations = {"cat": "0", "dog": "1"}
    meta, tracks = {}, {}
    random = np.random.default_rng(0)
    for number, (video, of_video) in enumerate(texts.items()):
        names = [f"{i:05d}" for i in range(NUM_FRAMES)]
        expressions = {}
        for i, text in enumerate(of_video):
            kind = "dog" if "dog" in text else "cat"
            expressions[str(i)] = {
                "exp": text,
                "obj_id": [0],
                "anno_id": [10 * number + int(annotations[kind])],
            }
        meta[video] = {"frames": names, "expressions": expressions}
        tracks[str(10 * number)] = [square(4 + 6 * t) for t in range(NUM_FRAMES)]
        tracks[str(10 * number + 1)] = [square(30) if t != 2 else None for t in range(NUM_FRAMES)]
        folder = tmp_path / "data" / "valid_u" / "JPEGImages" / video
        folder.mkdir(parents=True)
        texture = random.integers(120, 255, (14, 14, 3), dtype=np.uint8)
        for t, name in enumerate(names):
            frame = np.full((*SIZE, 3), 60, np.uint8)
            frame[10:24, 4 + 6 * t : 18 + 6 * t] = texture
            Image.fromarray(frame).save(folder / f"{name}.jpg", quality=95)
    write_json(tmp_path / "data/valid_u/meta_expressions.json", {"videos": meta})
    write_json(tmp_path / "data/valid_u/mask_dict.json", tracks)
    return tmp_path


def source(name, *overrides):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("eval", [f"masklets={name}", *overrides, "output_dir=x"])
    return build(config.masklets, "masklets")


def run(root, name, *overrides, stores=None, devices=None, format="mevis"):
    split = open_split(format, root / "data", "valid_u")
    stores = Stores(stores or root / "stores", "made")
    work = Work(split, stores, devices or OneDevice(), find_truth(format, split))
    made = source(name, *overrides) if isinstance(name, str) else name
    made.check(work)
    files = made.tracks(work, CoarseFiles(None))
    raise_failures(files.failed)
    return files


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


# ------------------------------------------------------------------------------------ oracle


def test_oracle_gives_the_objects_of_the_nouns_expressions(root):
    found = run(root, "oracle")
    assert found.nouns["a"] == {"0": "cat", "1": "dog", "2": "cat. dog"}
    masklets = found.tracks.read("a")
    assert set(masklets) == {"cat", "dog", "cat. dog"}
    cat, dog = [square(4 + 6 * t) for t in range(6)], [square(30)] * 2 + [None] + [square(30)] * 3
    assert masklets["dog"] == [dog, cat]  # "moving right" is about the cat, its nouns are both
    assert masklets["cat"] == [cat]
    assert sorted(map(str, masklets["cat. dog"])) == sorted(map(str, [cat, dog]))


def test_oracle_errors_are_seeded_and_of_the_size_asked_for(root):
    split = read_split(root / "data", "valid_u")
    from rvos.data.mevis import Annotations

    truth = Annotations(split)
    make = lambda **k: Oracle(**({"drop": 0.0, "dilate": 0, "swap": 0.0, "seed": 0} | k)).tracks(  # noqa: E731
        split.videos[0], truth, ["0", "1"]
    )
    exact = make()
    assert make(drop=1.0) == [[None] * 6] * 2
    dropped = make(drop=0.5)
    assert dropped == make(drop=0.5) != make(drop=0.5, seed=1)
    assert 0 < sum(m is None for t in dropped for m in t) < 12
    grown = make(dilate=3, seed=3)
    assert grown != exact
    assert all(
        (score_track(two, one)[0] > 0.3).all() for one, two in zip(grown, exact, strict=True)
    )
    swapped = make(swap=1.0)
    assert [swapped[0][0], swapped[1][0]] == [exact[1][0], exact[0][0]]
    assert [swapped[0][1], swapped[1][1]] == [exact[0][1], exact[1][1]]
    with pytest.raises(InputError, match="^drop: expected .*got 2"):
        make(drop=2)


def test_missing_ground_truth_is_listed(root):
    path = root / "data/valid_u/mask_dict.json"
    tracks = json.loads(path.read_text())
    write_json(path, tracks | {"0": tracks["0"][:3]})
    with pytest.raises(InputError, match=r"(?s)annotation 0 \(video a\).*expected 6 masks"):
        run(root, "oracle")
    write_json(path, {id_: track for id_, track in tracks.items() if id_ != "1"})
    with pytest.raises(InputError, match=r"annotation 1 \(video a\): no such annotation"):
        run(root, "oracle")


# ------------------------------------------------------------------------------------- stage


def test_flow_finds_what_moves(root):
    masklets = run(root, "flow").tracks.read("b")
    assert set(masklets) == {"cat"}
    ious = [
        score_track([square(4 + 6 * t) for t in range(6)], track)[0].mean()
        for track in masklets["cat"]
    ]
    assert max(ious) > 0.5  # six frames make a poor background
    assert area(masklets["cat"][0][0]) == decode(masklets["cat"][0][0]).sum()


def test_plan_is_printed_and_a_second_run_does_nothing(root, capsys, caplog, monkeypatch):
    caplog.set_level("INFO")
    run(root, "oracle")
    out = capsys.readouterr().out
    assert "3 videos, 6 expressions, 5 (video, noun) runs, 18 frames" in out
    assert "cached: 0 runs; to do: 5 runs in 3 videos, 18 frames" in out
    before = files_of(root / "stores")
    monkeypatch.setattr(Oracle, "tracks", None)
    run(root, "oracle")
    assert "all 3 videos are in" in caplog.text
    assert files_of(root / "stores") == before


def test_any_number_of_processes_writes_the_same_files(root):
    """Every video exactly once, and byte for byte what one process writes."""
    run(root, "flow", stores=root / "one")
    split = read_split(root / "data", "valid_u")
    made = []
    original = Flow.make
    try:
        Flow.make = lambda self, task, frames: (
            made.append(task.video.name) or original(self, task, frames)
        )
        sources = [source("flow") for _ in range(4)]
        in_ranks(4, lambda d: run(root, sources[d.rank], stores=root / "four", devices=d))
    finally:
        Flow.make = original
    assert sorted(made) == [v.name for v in split.videos]
    assert files_of(root / "one") == files_of(root / "four")


def test_a_killed_run_goes_on_where_it_was(root, monkeypatch):
    original, seen = Flow.make, []

    def fails_at_the_second(self, task, frames):
        seen.append(task.video.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return original(self, task, frames)

    monkeypatch.setattr(Flow, "make", fails_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(root, "flow")
    first = list(seen)
    found = run(root, "flow")
    assert sorted(seen[2:]) == [v for v in ("a", "b", "c") if v != first[0]]
    assert sorted(found.tracks.videos()) == ["a", "b", "c"]


def test_a_noun_corrected_by_hand_makes_only_what_is_missing(root, monkeypatch):
    found = run(root, "flow")
    path = next((root / "stores/nouns").rglob("nouns.json"))
    nouns = json.loads(path.read_text())
    assert nouns == found.nouns
    nouns["b"]["0"] = "kitten"
    path.write_text(json.dumps(nouns))
    original, made = Flow.make, []
    monkeypatch.setattr(
        Flow,
        "make",
        lambda self, task, frames: (
            made.append((task.video.name, task.wanted)) or original(self, task, frames)
        ),
    )
    found = run(root, "flow")
    assert made == [("b", ("kitten",))]
    assert found.nouns["b"] == {"0": "kitten"} and set(found.tracks.read("b")) == {"cat", "kitten"}


def test_given_nouns_are_taken(root):
    nouns = {"a": {"0": "x", "1": "x", "2": "y"}, "b": {"0": "x"}, "c": {"0": "x", "1": "y"}}
    write_json(root / "mine.json", nouns)
    found = run(root, "oracle", f"masklets.nouns={root / 'mine.json'}")
    assert found.nouns == nouns and set(found.tracks.read("c")) == {"x", "y"}
    assert not (root / "stores/nouns").exists()


def test_other_settings_are_another_store(root, caplog):
    caplog.set_level("INFO", "rvos.stages.store")
    first = run(root, "flow").tracks.path
    assert "the nearest" not in caplog.text
    assert run(root, "flow", "masklets.flow.difference=30").tracks.path != first
    told = f"the nearest, {Path(first).name}, differs in flow.difference "
    assert told in caplog.text and "-> 30" in caplog.text
    assert run(root, "oracle").tracks.path != first
    with pytest.raises(ConfigCompositionException, match="oracle"):  # not of this choice
        run(root, "flow", "masklets.oracle.drop=0.5")


def test_files_are_taken_as_they_are(root):
    store = run(root, "oracle").tracks.path
    nouns = next((root / "stores/nouns").rglob("nouns.json"))
    given = run(root, "files", f"masklets.path={store}", f"masklets.nouns={nouns}")
    assert sorted(given.tracks.videos()) == ["a", "b", "c"]
    with pytest.raises(InputError, match="masklets.path: expected a file or folder"):
        run(root, "files")
    with pytest.raises(InputError, match="masklets.path: .*nowhere"):
        run(root, "files", "masklets.path=nowhere")


# ------------------------------------------------------------------------------------ errors


def test_missing_frames_of_all_videos_are_reported_before_the_work(root):
    shutil.rmtree(root / "data/valid_u/JPEGImages/b")
    (root / "data/valid_u/JPEGImages/c/00003.jpg").unlink()
    with pytest.raises(InputError, match=r"(?s)cannot be made \(2\).*b: no such.*00003.jpg"):
        run(root, "flow")
    assert not list((root / "stores/masklets").rglob("*.json.gz"))


def test_a_video_that_cannot_be_decoded_does_not_stop_the_others(root):
    (root / "data/valid_u/JPEGImages/a/00004.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"(?s)cannot be read; the other videos are done.*00004"):
        run(root, "flow")
    assert sorted(p.name for p in (root / "stores/masklets").rglob("*.json.gz")) == [
        "b.json.gz",
        "c.json.gz",
    ]


def test_nothing_found_is_an_empty_list_and_said(root, monkeypatch, caplog):
    monkeypatch.setattr(Flow, "make", lambda self, task, frames: {noun: [] for noun in task.wanted})
    found = run(root, "flow")
    assert found.tracks.read("b") == {"cat": []}
    assert "without any masklet" in caplog.text and "b, cat" in caplog.text


def test_a_choice_has_its_own_keys_only():
    common = {"_target_", "name", "noun", "nouns", "broader"}
    assert set(preset("masklets", "flow")) == common | {"flow"}
    assert set(preset("masklets", "oracle")) == common | {"oracle"}
    assert set(preset("masklets", "files")) == {"_target_", "name", "path", "nouns"}


def test_frames_are_decoded_once(root, monkeypatch):
    read = []
    original = FrameFolder.__iter__
    monkeypatch.setattr(
        FrameFolder, "__iter__", lambda self: (read.append(1) or frame for frame in original(self))
    )
    run(root, "flow")
    assert len(read) == 3 * NUM_FRAMES


def test_a_full_disk_is_one_error_and_what_is_finished_stays(root, monkeypatch):
    original, written = Store.write, []

    def write(self, video, value):
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(video)
        original(self, video, value)

    monkeypatch.setattr(Store, "write", write)
    with pytest.raises(InputError, match="No space left on device.*start again to continue"):
        run(root, "flow")
    monkeypatch.undo()
    assert [p.name for p in (root / "stores/masklets").rglob("*.json.gz")] == [
        f"{written[0]}.json.gz"
    ]
    run(root, "flow")
    assert len(list((root / "stores/masklets").rglob("*.json.gz"))) == 3


def test_oracle_of_a_dataset_with_palette_annotations(tmp_path):
    """Ref-DAVIS17's layout: object 1 on the left, 2 on the right; one expression each."""
    meta = {
        "videos": {
            "v": {
                "frames": ["00000", "00001"],
                "expressions": {
                    "0": {"exp": "the cat", "obj_id": "1"},
                    "1": {"exp": "the dog", "obj_id": "2"},
                },
            }
        }
    }
    write_json(tmp_path / "data/meta_expressions/valid_u/meta_expressions.json", meta)
    numbers = np.zeros((10, 20), np.uint8)
    numbers[2:6, 1:5], numbers[2:6, 12:18] = 1, 2
    folder = tmp_path / "data/valid_u/Annotations/v"
    folder.mkdir(parents=True)
    for name in ("00000", "00001"):
        Image.fromarray(numbers).save(folder / f"{name}.png")
    found = run(tmp_path, "oracle", format="ref_davis").tracks.read("v")
    assert found["cat"] == [[encode(numbers == 1)] * 2]
    assert found["dog"] == [[encode(numbers == 2)] * 2]
    (folder / "00000.png").unlink()
    object_numbers.cache_clear()
    with pytest.raises(InputError, match="00000.png"):
        run(tmp_path, "oracle", format="ref_davis", stores=tmp_path / "other")


def test_oracle_needs_ground_truth(root):
    (root / "data/valid_u/mask_dict.json").unlink()
    with pytest.raises(InputError, match="masklets=oracle needs a split with ground truth"):
        run(root, "oracle")


# ------------------------------------------------------------------------------ broader words


class OnlyDogs(Flow):
    """Finds dogs, under this word alone; keeps what it was asked for."""

    def make(self, task, frames):
        self.asked = [*getattr(self, "asked", []), task.wanted]
        return {noun: [[square(3)] * NUM_FRAMES] if noun == "dog" else [] for noun in task.wanted}


@pytest.fixture
def puppies(root):
    nouns = {"a": {"0": "puppy", "1": "dog", "2": "rock"}, "b": {"0": "cat"}, "c": {"0": "rock"}}
    nouns["c"]["1"] = "puppy. rock"
    write_json(root / "nouns.json", nouns)
    return root


def only_dogs(root, broader):
    made = source("flow", f"masklets.nouns={root}/nouns.json", f"masklets.broader={broader}")
    return OnlyDogs(**{**vars(made)})


def test_a_noun_without_masklets_is_looked_for_once_by_a_broader_word(puppies):
    made = only_dogs(puppies, broader=True)
    found = run(puppies, made)
    # of a rock no broader word is known; nothing is asked twice
    of_videos = {"dog puppy rock", "cat", "puppy rock"}
    assert {" ".join(words) for words in made.asked[::2]} == of_videos
    assert sorted(made.asked[1::2]) == [("animal",), ("dog",), ("dog",)]
    counts = {v: {n: len(t) for n, t in found.tracks.read(v).items()} for v in "abc"}
    assert counts["a"] == {"dog": 1, "puppy": 1, "rock": 0}
    assert counts["b"] == {"cat": 0}
    assert counts["c"] == {"puppy": 1, "puppy. rock": 1, "rock": 0}


def test_without_the_setting_no_word_is_replaced_and_the_store_is_another(puppies):
    with_it = run(puppies, only_dogs(puppies, broader=True)).tracks.path
    made = only_dogs(puppies, broader=False)
    found = run(puppies, made)
    assert sorted(made.asked) == [("cat",), ("dog", "puppy", "rock"), ("puppy", "rock")]
    assert found.tracks.read("a")["puppy"] == [] and found.tracks.path != with_it
