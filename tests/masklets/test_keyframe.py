"""Key-frame masklets: which frame prompts SAM 2, what the files hold, and what they depend on."""

import json

import numpy as np
import pytest
import torch
from commands import command
from made_data import small_synthetic
from small_models import package_model, transformers_model

from rvos import InputError, SettingsError, preset
from rvos.coarse.several import FusedTracks
from rvos.data.mevis import read_split
from rvos.data.split import Expression, Video
from rvos.masklets.keyframe import key_frame
from rvos.masklets.source import coarse_of, frame_scores
from rvos.masks import TrackFiles, decode, encode, read_json, write_json
from rvos.settings import build
from rvos.stages.devices import OneDevice
from rvos.stages.records import raise_failures
from rvos.stages.store import Stores
from rvos.stages.work import CoarseFiles, Work
from rvos.tracking import sam2
from rvos.tracking.track import Step

main = command()

SIZE = (64, 96)


def square(side, x=0):
    mask = np.zeros(SIZE, np.uint8)
    mask[:side, x : x + side] = 1
    return encode(mask)


# ------------------------------------------------------------------------------ the key frame


@pytest.mark.parametrize(
    "sides, scores, expected",
    [
        ([4, 9, 2], [0.2, 0.3, 0.9], 2),  # the score counts, not the size
        ([4, 9, None], [0.2, 0.3, 0.9], 1),  # a frame without a mask does not
        ([4, 9, 9], [0.5, 0.5, 0.5], 1),  # the largest, the first of equals
        ([4, 3, 9], [0.5, 0.5, 0.1], 0),
        ([None, None, None], [0.5, 0.5, 0.1], None),
        ([0, 3, 0], [0.9, 0.1, 0.9], 1),  # an RLE of area 0 is no mask
    ],
)
def test_key_frame_by_hand(sides, scores, expected):
    track = [None if side is None else square(side) for side in sides]
    assert key_frame(track, np.array(scores)) == expected


def video_of(num_frames, *ids):
    expressions = tuple(Expression("v", id_, "a cat", ()) for id_ in ids)
    return Video("v", tuple(f"{t:05d}" for t in range(num_frames)), expressions)


def test_scores_are_those_of_the_chosen_query_in_each_sub_clip(tmp_path):
    """Sub-clips 0, 2, 4 and 1, 3 of five frames; query 1, then 0. With one choice for the whole
    video (query 0) the score is that query's in every sub-clip."""
    store = tmp_path / "coarse" / "made-x-1"
    write_json(store / "provenance.json", {})
    clips = [
        {"start": 0, "step": 2, "frames": 3, "scores": [0.2, 0.7], "query": 1},
        {"start": 1, "step": 2, "frames": 2, "scores": [0.6, 0.1], "query": 0},
    ]
    whole = {"start": 0, "step": 1, "frames": 5, "scores": [0.5, 0.4], "query": 0}
    content = {"per": {"clips": clips}, "long": {"clips": clips, "long_term": whole}}
    scores = tmp_path / "coarse_scores" / "made-x-1" / "v.json.gz"
    write_json(scores, {"protocol": {}, "expressions": content})
    write_json(store / "v.json.gz", {})
    found = frame_scores(TrackFiles(store), video_of(5, "per", "long"))
    assert found["per"].tolist() == [0.7, 0.6, 0.7, 0.6, 0.7]
    assert found["long"].tolist() == [0.2, 0.6, 0.2, 0.6, 0.2]
    for other in (video_of(5, "new"), video_of(4, "per")):  # of another release
        with pytest.raises(InputError, match=r"expected \d sound coarse masks"):
            coarse_of(TrackFiles(store), other)
    write_json(scores, {"expressions": []})
    with pytest.raises(InputError, match=r"v\.json\.gz: not as rvos writes it: .*the store again"):
        frame_scores(TrackFiles(store), video_of(5, "per"))
    fused = FusedTracks([TrackFiles(store)], "first")
    assert frame_scores(fused, video_of(5, "per"))["per"].tolist() == [0] * 5


def test_files_without_scores_and_their_identity(tmp_path):
    for name in ("one", "two", "other"):
        value = {"a": [None]} if name == "other" else {}
        write_json(tmp_path / name / "v.json", value)
        write_json(tmp_path / f"{name}.json", {"v": value})
    assert frame_scores(TrackFiles(tmp_path / "one"), video_of(2, "0"))["0"].tolist() == [0, 0]
    for suffix in ("", ".json"):
        one, two, other = (
            TrackFiles(tmp_path / f"{name}{suffix}").identity() for name in ("one", "two", "other")
        )
        assert one == two != other and len(one) == 64
    files = [TrackFiles(tmp_path / "one"), TrackFiles(tmp_path / "other")]
    fused = [FusedTracks(some, how).identity() for some in (files, files[::-1]) for how in "am"]
    assert len({json.dumps(identity) for identity in fused}) == 4


# ------------------------------------------------------------------------------------ the stage


class FakeTracker:
    """Every object keeps its prompt's mask in all frames; `prompts` is what was asked for."""

    image_size = 32

    def __init__(self):
        self.prompts = []

    def logits(self, frames, prompt_frame_idx, prompts):
        self.prompts.append((prompt_frame_idx, prompts))
        for t in range(len(frames)):
            yield Step(t, torch.where(prompts, 1.0, -1.0)[:, None], torch.ones(len(prompts)))


@pytest.fixture
def data(tmp_path):
    """One synthetic video of 8 frames, the true masks of its expressions as coarse masks.

    They are a store with scores: expression 0 is surest in frames 4 to 7, where its masks are
    empty but in frame 6; the others have no preference.
    """
    small_synthetic(tmp_path / "data", num_videos={"train": 0, "valid_u": 1, "valid": 0})
    split = read_split(tmp_path / "data", "valid_u")
    (video,) = split.videos
    truth = read_json(tmp_path / "data/valid_u/mask_dict.json")
    coarse = {e.expression_id: truth[e.annotation_ids[0]] for e in video.expressions}
    coarse["0"] = [mask if t in (0, 6) else None for t, mask in enumerate(coarse["0"])]
    last = video.expressions[-1].expression_id
    coarse[last] = [None] * 8
    store = Stores(tmp_path / "stores", "made").open("coarse", split, settings={"model": "x"})
    store.write(video.name, coarse)
    halves = [
        {"start": start, "step": 1, "frames": 4, "scores": [score], "query": 0}
        for start, score in ((0, 0.3), (4, 0.8))
    ]
    flat = [{"start": 0, "step": 1, "frames": 8, "scores": [0.5], "query": 0}]
    scores = {key: {"clips": halves if key == "0" else flat} for key in coarse}
    store.beside("coarse_scores").write(video.name, {"protocol": {}, "expressions": scores})
    weights = tmp_path / "sam2"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"weights")
    return split, coarse, store, weights


def made(data, tmp_path, coarse=None, **changes):
    """(files, their content for the video, provenance)."""
    split, _, store, weights = data

    settings = preset("masklets", "keyframe") | {"weights": str(weights)} | changes
    source = build(settings, "masklets")
    stores = Stores(tmp_path / "stores", "made")
    work = Work(split, stores, OneDevice())
    source.check(work)
    files = coarse or TrackFiles(store.path)
    found = source.tracks(work, CoarseFiles(files))
    raise_failures(found.failed)
    assert found.by_expression
    provenance = read_json(found.tracks.path / "provenance.json")
    return found, found.tracks.read(split.videos[0].name), provenance


@pytest.fixture
def tracker(monkeypatch):
    fake = FakeTracker()
    monkeypatch.setattr(sam2, "load_tracker", lambda *names, **options: fake)
    return fake


def test_one_masklet_per_expression_with_a_coarse_mask(data, tmp_path, tracker, caplog):
    split, coarse, store, _ = data
    found, content, provenance = made(data, tmp_path)
    ids = [e.expression_id for e in split.videos[0].expressions]
    assert list(content) == ids and found.nouns == {}
    assert content[ids[-1]] == [] and f"video {split.videos[0].name}, {ids[-1]}" in caplog.text
    assert content["0"] == [[coarse["0"][6]] * 8]  # the surest frame that has a mask
    for key in ids[1:-1]:
        areas = [0 if mask is None else decode(mask).sum() for mask in coarse[key]]
        assert content[key] == [[coarse[key][int(np.argmax(areas))]] * 8]
    frames = [frame_idx for frame_idx, _ in tracker.prompts]
    assert frames == sorted(set(frames))  # one pass for each key frame
    assert sum(len(masks) for _, masks in tracker.prompts) == len(ids) - 1
    assert provenance["settings"]["coarse"] == store.path.name
    assert provenance["settings"]["with"] is None


def test_a_second_run_does_nothing_and_other_coarse_masks_are_another_store(
    data, tmp_path, tracker
):
    split, coarse, store, _ = data
    first, content, _ = made(data, tmp_path)
    tracker.prompts.clear()
    assert made(data, tmp_path)[0].tracks.path == first.tracks.path and not tracker.prompts
    write_json(tmp_path / "coarse.json", {split.videos[0].name: coarse})
    second, _, provenance = made(data, tmp_path, TrackFiles(tmp_path / "coarse.json"))
    assert second.tracks.path != first.tracks.path and tracker.prompts
    assert len(provenance["settings"]["coarse"]) == 64  # a hash of the file's content
    # Without scores expression 0 takes its largest mask.
    largest = max((0, 6), key=lambda t: decode(coarse["0"][t]).sum())
    assert second.tracks.read(split.videos[0].name)["0"] == [[coarse["0"][largest]] * 8]


def test_one_more_after_those_of_the_noun(data, tmp_path, tracker):
    alone = made(data, tmp_path)[1]
    found, content, provenance = made(data, tmp_path, **{"beside": "flow"})
    video = data[0].videos[0].name
    name = provenance["settings"]["with"]["store"]
    by_noun = read_json(tmp_path / "stores" / "masklets" / name / f"{video}.json.gz")
    assert any(by_noun.values())
    for key, tracks in content.items():
        assert tracks == by_noun[found.nouns[video][key]] + alone[key]
    nouns = {video: {key: "object" for key in content}}
    write_json(tmp_path / "nouns.json", nouns)
    other = made(data, tmp_path, **{"beside": "flow", "nouns": str(tmp_path / "nouns.json")})
    assert other[0].tracks.path != found.tracks.path and other[0].nouns == nouns


def test_settings_and_files_that_are_wrong(data, tmp_path, tracker):
    split, coarse, _, _ = data
    with pytest.raises(SettingsError, match="masklets.beside: expected sam2 or flow, or null"):
        made(data, tmp_path, **{"beside": "oracle"})
    with pytest.raises(InputError, match="masklets.broader: keyframe looks for nouns with"):
        made(data, tmp_path, broader=True)
    with pytest.raises(InputError, match="masklets.weights"):
        made(data, tmp_path, weights=str(tmp_path / "nowhere.pt"))
    with pytest.raises(InputError, match="masklets.detect.weights"):
        detect = preset("masklets", "sam2")["detect"] | {"weights": "nowhere.pth"}
        made(data, tmp_path, **{"beside": "sam2", "detect": detect})
    video = split.videos[0].name
    write_json(tmp_path / "bad.json", {video: coarse | {"1": coarse["1"][:3]}})
    with pytest.raises(InputError, match=r"expression 1: expected 8 sound coarse masks"):
        made(data, tmp_path, TrackFiles(tmp_path / "bad.json"))
    write_json(
        tmp_path / "small.json", {video: {key: [encode(np.ones((2, 3)))] * 8 for key in coarse}}
    )
    with pytest.raises(InputError, match=r"masks of the frames' size \(64, 96\), got \[2, 3\]"):
        made(data, tmp_path, TrackFiles(tmp_path / "small.json"))


# ------------------------------------------------------------------------------------- eval.py


def test_eval_refines_with_them_and_ask_shows_them(data, tmp_path, run_eval):
    """With SAM 2 of random weights: the key frame's mask comes back, the rest means nothing."""
    split, coarse, store, weights = data
    model = transformers_model(package_model())
    model.save_pretrained(tmp_path / "tiny")
    video = split.videos[0].name
    arguments = [
        *("data=synthetic", f"data.root={tmp_path / 'data'}", "report=none", "score.workers=1"),
        *("coarse=files", f"coarse.path={store.path}", "masklets=keyframe"),
        *(f"masklets.weights={tmp_path / 'tiny'}", "masklets.precision=fp32"),
        *(f"paths.stores={tmp_path / 'stores'}", f"output_dir={tmp_path / 'run'}"),
        *("trainer.accelerator=cpu", "masklets.beside=flow"),
    ]
    status, errors = run_eval(arguments)
    assert status == 0, errors
    record = read_json(tmp_path / "run" / "masklets.json")
    assert record["by_expression"]
    masklets = TrackFiles(tmp_path / "run" / record["path"]).read(video)
    found, asked = decode(masklets["0"][-1][6]), decode(coarse["0"][6])
    assert (found & asked).sum() / (found | asked).sum() > 0.5
    decisions = read_json(tmp_path / "run" / "decisions" / f"{video}.json")
    assert all(decision["noun"] for decision in decisions.values())
    assert main(["ask", str(tmp_path / "run"), "--frames", "1"]) == 0
    lines = (tmp_path / "run/ask/questions.jsonl").read_text().splitlines()
    asked = {line["expression_id"]: line for line in map(json.loads, lines)}
    assert {key: len(line["candidates"]) for key, line in asked.items()} == {
        key: len(tracks) for key, tracks in masklets.items()
    }
