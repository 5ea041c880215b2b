"""coarse=grounded on a synthetic video: exact boxes, phrases, tracks and scores; late objects."""

import subprocess

import pytest
from coloured import (
    NUM_FRAMES,
    GroundingStub,
    TrackingStub,
    box,
    grounding_processor,
    mask,
    track,
    write_split,
)
from fork_server import forked_python
from made_data import REPOSITORY
from small_models import package_model, transformers_model
from test_detect import small_detector

from rvos import InputError, SettingsError, preset
from rvos.coarse.grounded import Grounded
from rvos.coarse.sentences import choices, subjects_of
from rvos.data.frames import VideoFile
from rvos.data.mevis import read_split
from rvos.masks import read_json, union, write_json
from rvos.refine import CoarseScore
from rvos.settings import build
from rvos.stages.devices import OneDevice
from rvos.stages.store import Stores
from rvos.stages.work import Work
from rvos.tracking.detect import Detector, names

TEXTS = {
    "0": "the dog left of the cat",
    "1": "the cat",
    "2": "two dogs and a cat",  # nothing is called "dogs" here
    "3": "moving right",  # no subject: whatever has words of the sentence
    "4": "the cat",
    "5": "the dog left of the cat",
}
WORDS = ["dog", "cat", "bird", "the", "left", "of", "two", "dogs", "and", "a", "moving", "right"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs coarse=grounded with stubs: (tracks, scores file, stub of SAM 2, (model, processor))."""
    write_split(tmp_path, TEXTS)
    monkeypatch.setattr(Grounded, "weights_used", lambda self: {})

    def run(*, also=(), stores="stores", **detect):
        settings = preset("coarse", "grounded")
        settings["detect"] |= {"stride": 3} | detect
        source = build(settings, "coarse")
        processor, tracker = grounding_processor(WORDS), TrackingStub()
        model = GroundingStub(processor.tokenizer, also)

        def prepare(self, place):
            keys = ("box_threshold", "text_threshold", "nms_iou", "batch_size")
            options = {key: settings["detect"][key] for key in keys}
            self._detector = Detector(model, processor, device="cpu", **options)
            self._tracker = tracker

        monkeypatch.setattr(Grounded, "prepare", prepare)
        split = read_split(tmp_path, "valid_u")
        files = source.tracks(Work(split, Stores(tmp_path / stores, "made"), OneDevice())).tracks
        scores = read_json(
            files.path.parent.with_name("coarse_scores") / files.path.name / "a.json.gz"
        )
        return files.read("a"), scores, tracker, (model, processor)

    return run


def test_the_mask_is_the_union_of_the_subjects_tracks(run):
    tracks, scores, tracker, _ = run()
    dogs = [union([mask(0, t), mask(2, t)]) for t in range(NUM_FRAMES)]
    assert tracks["0"] == tracks["5"] == dogs
    assert tracks["1"] == tracks["4"] == track(1)
    assert tracks["2"] == tracks["3"] == [None] * NUM_FRAMES
    assert scores["protocol"]["subjects"] == {
        "0": "dog", "1": "cat", "2": "dogs", "3": None, "4": "cat", "5": "dog",
    }  # fmt: skip


def test_exact_boxes_are_tracked_and_what_is_covered_starts_no_track(run):
    """Prompts at 0, 3, 6. Frame 0: the dog and the cat; frame 3: the dog that enters there."""
    _, _, tracker, _ = run()
    assert all(abs(x - round(x)) < 1e-3 for _, boxes in tracker.prompts for b in boxes for x in b)
    assert [(t, [tuple(map(round, b)) for b in boxes]) for t, boxes in tracker.prompts] == [
        (0, [box(0, 0), box(1, 0)]),
        (3, [box(2, 3)]),
    ]


def test_the_first_frame_alone_misses_the_late_dog(run):
    tracks, _, _, _ = run(frames="first")
    assert tracks["0"] == track(0)


def test_the_whole_sentence_is_the_prompt(run):
    _, _, _, (model, processor) = run(frames="first")
    prompts = {processor.tokenizer.decode(ids, skip_special_tokens=True) for ids in model.prompts}
    assert prompts == {f"{text}." for text in TEXTS.values()}


def test_words_beside_the_subject_do_not_matter_and_alone_do_not_count(run):
    """Each box also has the phrase's "left": the dog's is "dog left", the cat's "left cat"."""
    tracks, _, _, _ = run(also=["left", "moving"], frames="first")
    assert tracks["0"] == track(0)
    # No subject: "moving" is in the phrase of every box.
    assert tracks["3"] == [union([mask(0, t), mask(1, t)]) for t in range(NUM_FRAMES)]


def test_scores_per_frame_are_those_of_the_surest_object(run):
    """Objects 0 and 2 have 0.9 and 0.8 by the detector; SAM 2 sees them with 1 - t / 16."""
    _, scores, _, _ = run()
    seen = [1 - t / 16 for t in range(NUM_FRAMES)]
    late = [0.0] * 3 + seen[3:]
    clips = scores["expressions"]["0"]["clips"]
    assert [clip["start"] for clip in clips] == list(range(NUM_FRAMES))
    assert {clip["step"] * clip["frames"] for clip in clips} == {1}
    for clip, a, b in zip(clips, seen, late, strict=True):
        assert clip["scores"] == pytest.approx([0.9 * a, 0.8 * b], abs=1e-4)
        assert clip["query"] == 0
    mean = sum(0.9 * score for score in seen) / NUM_FRAMES
    assert CoarseScore(0.5).confidence(scores["expressions"]["0"]) == pytest.approx(mean, abs=1e-4)
    assert CoarseScore(0.5).confidence(scores["expressions"]["2"]) == 0


def test_a_video_without_sentences_has_no_masks(run, tmp_path):
    meta = tmp_path / "valid_u" / "meta_expressions.json"
    content = read_json(meta)
    content["videos"]["b"] = content["videos"]["a"]
    content["videos"]["a"] = content["videos"]["a"] | {"expressions": {}}
    write_json(meta, content)
    folder = meta.parent / "JPEGImages"
    (folder / "b").symlink_to(folder / "a")
    tracks, scores, _, _ = run()
    assert tracks == scores["expressions"] == {}


def test_a_second_start_makes_nothing_and_other_settings_are_another_store(run):
    run()
    _, _, tracker, _ = run()
    assert tracker.prompts == []
    _, _, tracker, _ = run(box_threshold=0.87)
    assert [len(boxes) for _, boxes in tracker.prompts] == [1]  # 0.9 is above, 0.85 and 0.8 are not


def test_batches_and_thresholds_of_the_text(run):
    tracks, _, _, _ = run(batch_size=1)
    assert run(stores="other", batch_size=5)[0] == tracks
    # Words below 0.95 are no phrase: nothing has a subject.
    assert not any(map(any, run(text_threshold=0.95)[0].values()))


@pytest.mark.slow
def test_predict_of_a_thinned_film(tmp_path):
    """experiment=grounded with small random models: frames 0, 2, 4 of eight, no masklets."""
    write_split(tmp_path, TEXTS)
    for part in small_detector():
        part.save_pretrained(tmp_path / "dino")
    transformers_model(package_model()).save_pretrained(tmp_path / "sam2")
    arguments = [
        "experiment=grounded",
        f"coarse.detect.weights={tmp_path / 'dino'}",
        f"coarse.weights={tmp_path / 'sam2'}",
        "coarse.detect.box_threshold=0",
        "coarse.detect.text_threshold=0",
        "coarse.detect.stride=2",
        f"video={tmp_path / 'valid_u/JPEGImages/a'}",
        "expression=the cat",
        *("every=2", "max_frames=3", "device=cpu", f"output_dir={tmp_path / 'out'}"),
    ]
    command = [forked_python(), "predict.py", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    names = sorted(path.name for path in (out / "masks" / "0").iterdir())
    assert names == ["00000.png", "00002.png", "00004.png"]
    (track,) = read_json(out / "refined" / "a.json.gz").values()
    assert len(track) == 3 and any(track)
    assert sorted(path.name for path in (out / "stores").iterdir()) == ["coarse", "coarse_scores"]
    assert len(VideoFile(out / "overlay" / "0.mp4")) == 3


@pytest.mark.parametrize(
    ("phrase", "subject", "expected"),
    [
        ("the brown dog", "dog", True),
        ("dog", "dogs", False),
        ("hot dog", "dog", True),
        ("doghouse", "dog", False),
        ("fire - truck red", "fire-truck", True),
        ("truck fire", "fire-truck", False),
        ("cafe", "café", True),
        ("", "dog", False),
        ("", None, False),
        ("left", None, True),
    ],
)
def test_phrases_that_name_the_subject(phrase, subject, expected):
    assert names(phrase, subject) is expected


def test_subjects_are_those_of_the_noun_rules():
    subjects = subjects_of(["The bird flying over two cats", "running away"])
    assert subjects == {"The bird flying over two cats": "bird", "running away": None}


def test_choices_without_objects():
    assert choices([], [], 2) == [
        {"start": t, "step": 1, "frames": 1, "scores": [0.0], "query": 0} for t in range(2)
    ]


def test_a_sentence_with_empty_masks_has_a_remark(monkeypatch):
    """Also where there is a box, but the tracker never sees its object."""
    tracks = {"the dog": [[None, None]], "the cat": [], "the bird": [track(0)[:2]]}
    scores = {
        text: {"detector": [0.9] * len(found), "object": [[0.1, 0.1]] * len(found)}
        for text, found in tracks.items()
    }
    monkeypatch.setattr(Grounded, "instances", lambda *arguments: (tracks, scores))
    answers = build(preset("coarse", "grounded"), "coarse").answers([None] * 2, list(tracks))
    nowhere = "its subject was found nowhere"
    assert [answer.remark for answer in answers.values()] == [nowhere, nowhere, ""]


def test_errors_name_the_keys_of_coarse(tmp_path):
    settings = preset("coarse", "grounded")
    wrong = settings | {"tracker": "sam9"}
    with pytest.raises(SettingsError, match=r"^coarse.tracker: .*sam9"):
        build(wrong, "coarse")
    with pytest.raises(SettingsError, match=r"^coarse.detect.nms_iou"):
        build(settings | {"detect": settings["detect"] | {"nms_iou": 2}}, "coarse")
    write_split(tmp_path, TEXTS)
    settings["detect"]["weights"] = str(tmp_path / "none")
    with pytest.raises(InputError, match=r"coarse.detect.weights=.*no such weights"):
        build(settings, "coarse").check(read_split(tmp_path, "valid_u"))
